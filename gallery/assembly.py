"""Settings become a Gallery: the only place where the parts meet.

Parts are built when they are first used, so that listing identities does not load a network.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from gallery.config import Settings, load_settings
from gallery.errors import HomeError, ThumbnailNotFound
from gallery.forget import finish_erasing, forget
from gallery.names import printable
from gallery.shipped import shipped_file
from gallery.store import (
    audit,
    calibrations,
    faces,
    identities,
    merging,
    plans,
    sorting,
    thumbnails,
)
from gallery.store.database import Database, open_home
from gallery.store.records import (
    CalibrationRecord,
    FaceRecord,
    Forgotten,
    IdentityRecord,
    Merged,
    MergeRecord,
    StoredEncodings,
)
from gallery.sync import IndexCopy
from gallery.types import Comparison, Decision, Enrolment, Several
from gallery.weights.sources import DLIB_RESNET
from indexer import DEFAULT_ENGINE
from indexer.whole_file import written_whole

if TYPE_CHECKING:
    from gallery.check import Finding
    from gallery.compare import Comparer
    from gallery.dedupe.applying import Applied
    from gallery.dedupe.findings import Findings
    from gallery.dedupe.reports import GalleryReport
    from gallery.enroll import Enroller
    from gallery.identify import Identifier
    from gallery.judge import Judge
    from gallery.photo import PhotoReader
    from gallery.seeing import Eye, PhotoSource

_MOST_READERS = 8
DATABASE_FILE, INDEX_FILE, HEAD_FILE = "gallery.db", "faces.index", "head.safetensors"


class Gallery:
    """A gallery of known people in one folder.

    Open it with `Gallery.open`; close it, or use it in a `with` block. What a user can mend is
    raised as a kind of GalleryError whose name and message tell what it is.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        home = open_home(settings.home)
        self.database = Database(home / DATABASE_FILE, busy_timeout=settings.busy_timeout)
        with self.database.reading() as session:
            faces.check_encoder(session, DLIB_RESNET.name, DLIB_RESNET.sha256)
        self.index = IndexCopy(
            self.database, home / INDEX_FILE, engine=DEFAULT_ENGINE, encoder=DLIB_RESNET.sha256
        )
        # An erasure that was cut short is finished now. What still hinders it must not hinder
        # queries; `check` says that it is not done.
        with contextlib.suppress(HomeError):
            finish_erasing(self.database, self.index)
            self._prune()

    @classmethod
    def open(cls, home: str | Path | None = None, **settings: object) -> Self:
        """The gallery in this folder, made when there is none.

        home : None is GALLERY_HOME, else the platform's data folder.
        settings : fields of gallery.config.Settings.
        """
        return cls(load_settings(home=home, **settings))

    def close(self) -> None:
        """Save the index, if it was used, and let go of everything."""
        try:
            if self.index.opened:
                self.index.save()
        finally:
            self.index.close()
            self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:  # the error that is on its way must not be hidden by another one
            self.index.close()
            self.database.close()

    def _prune(self) -> None:
        """Drop what the audit trail has no need of any more."""
        days = self.settings.audit_days
        with self.database.reading() as session:
            due = audit.due(session, days)
        if due:
            with self.database.writing() as session:
                audit.prune(session, days)

    # Asking

    def query(self, photo: PhotoSource, *, several: Several = Several.REFUSE) -> Decision:
        """Who is the one face of this photo (a path, or a file's bytes)? See Identifier.query."""
        return self.identifier.query(photo, several=several)

    def query_all(self, photo: PhotoSource) -> list[Decision]:
        """Who is each face of this photo? See Identifier.query_all."""
        return self.identifier.query_all(photo)

    def compare(
        self, first: PhotoSource, second: PhotoSource, *, several: Several = Several.REFUSE
    ) -> Comparison:
        """Are two photos of the same person? See Comparer.compare."""
        return self._comparer.compare(first, second, several=several)

    # Keeping

    def enroll(
        self,
        name: str,
        photo: PhotoSource,
        *,
        several: Several = Several.REFUSE,
        force: bool = False,
    ) -> Enrolment:
        """Enrol one photo of a person. See Enroller.enroll."""
        return self._enroller.enroll(name, photo, several=several, force=force)

    def identities(self) -> list[IdentityRecord]:
        """Everyone enrolled, by name."""
        with self.database.reading() as session:
            return identities.list_all(session)

    def identity(self, name_or_id: str | int) -> tuple[IdentityRecord, list[FaceRecord]]:
        """One identity and its faces. Raises IdentityNotFound."""
        with self.database.reading() as session:
            record = identities.get(session, name_or_id)
            return record, faces.records(session, identity_id=record.id)

    def faces(self) -> list[FaceRecord]:
        """Every enrolled face."""
        with self.database.reading() as session:
            return faces.records(session)

    def encodings(self) -> StoredEncodings:
        """Every enrolled face's encoding."""
        with self.database.reading() as session:
            return faces.encodings_of(session, identities.ids(session))

    def rename(self, name_or_id: str | int, new_name: str) -> IdentityRecord:
        """Raises IdentityNotFound, InvalidName or IdentityExists."""
        with self.database.writing() as session:
            record = identities.rename(session, name_or_id, new_name)
            audit.record(session, "rename", identity_id=record.id)
            return record

    def describe(
        self,
        name_or_id: str | int,
        *,
        new_name: str | None = None,
        external_id: str | None = None,
        details: dict[str, str],
        first: Callable[[IdentityRecord, list[FaceRecord]], None] = lambda _who, _faces: None,
    ) -> IdentityRecord:
        """Set an identity's name, external id and details; all of it or nothing.

        first : is shown whom it is before anything is changed; what it raises stops it.
        Raises IdentityNotFound, InvalidName or IdentityExists.
        """
        with self.database.writing() as session:
            record = identities.get(session, name_or_id)
            first(record, faces.records(session, identity_id=record.id))
            if new_name is not None:
                identities.rename(session, record.id, new_name)
            audit.record(session, "describe", identity_id=record.id)
            return identities.describe(session, record.id, external_id, details)

    def merge(self, keep: str | int, others: Sequence[str | int]) -> Merged:
        """Give the faces of others to one identity. Raises IdentityNotFound or MergeEmpty."""
        with self.database.writing() as session:
            merged = merging.merge(session, keep, others)
            audit.record(session, "merge", identity_id=merged.identity.id)
            return merged

    def merges(self) -> list[MergeRecord]:
        """Every merge that can be undone, the newest first."""
        with self.database.reading() as session:
            return merging.list_merges(session)

    def undo_merge(self, merge_id: int) -> list[IdentityRecord]:
        """Whom it is now, the one that was kept first.

        Raises MergeNotFound, MergeTooOld, or IdentityExists when a name was taken meanwhile.
        """
        with self.database.writing() as session:
            back = merging.undo(session, merge_id)
            audit.record(session, "undo merge", identity_id=back[0].id)
            return back

    def keep_distinct(self, one: str | int, other: str | int, *, distinct: bool = True) -> None:
        """Remember that these are two people, so that `dedupe` does not name them; or forget it.

        Raises IdentityNotFound.
        """
        with self.database.writing() as session:
            ids = [identities.get(session, who).id for who in (one, other)]
            audit.record(session, "tell apart" if distinct else "compare again", identity_id=ids[0])
            if distinct:
                merging.keep_distinct(session, ids[0], ids[1:])
            else:
                merging.forget_distinct(session, *ids)

    def forget(self, who: str | int) -> Forgotten:
        """Erase a person, by name or id; there is no undo. See gallery.forget."""
        return forget(self.database, self.index, who)

    # The promise, on one's own people

    def calibrations(self) -> list[CalibrationRecord]:
        """Every calibration of the operating point that was kept, the oldest first."""
        with self.database.reading() as session:
            return calibrations.list_all(session)

    def keep_calibration(self, adjustment: dict[str, Any], report: dict[str, Any]) -> int:
        """Keep a calibration of the head in use and use it; returns its number."""
        with self.database.writing() as session:
            audit.record(session, "calibrate")
            return calibrations.add(session, self.judge.head.sha256, adjustment, report)

    def use_calibration(self, number: int) -> None:
        """Use a kept calibration, or none with 0. Raises CalibrationNotFound."""
        with self.database.writing() as session:
            calibrations.use(session, self.judge.head.sha256, number)
            audit.record(session, "use calibration")

    # Cleaning and checking

    def dedupe_folder(
        self,
        folder: Path,
        *,
        precision: float | None = None,
        people: bool | None = None,
        progress: Callable[[str, int, int], None] = lambda _what, _done, _all: None,
    ) -> Findings:
        """Copies, people and wrong names in a folder of photos. See gallery.dedupe.folder.

        precision : the wanted share of right pairs among those put together; None: 0.99.
        people : whether the folders right inside are people by name; None: it is found out.
        """
        from gallery.dedupe.folder import Wanted, dedupe_folder
        from gallery.dedupe.precision import DEFAULT_PRECISION
        from gallery.dedupe.reading import Readers

        wanted = Wanted(DEFAULT_PRECISION if precision is None else precision, people)
        return dedupe_folder(
            folder,
            self.eye,
            self.judge,
            self.database,
            views=self.settings.views_query,
            wanted=wanted,
            readers=Readers(
                min(_MOST_READERS, os.cpu_count() or 1), partial(build_eye, self.settings)
            ),
            progress=progress,
        )

    def dedupe(
        self, progress: Callable[[int, int], None] = lambda _done, _total: None
    ) -> GalleryReport:
        """Identities that seem to be one person, faces enrolled twice or under a wrong name."""
        from gallery.dedupe.enrolled import dedupe_gallery

        return dedupe_gallery(self.database, self.judge, progress)

    def findings(
        self, progress: Callable[[int, int], None] = lambda _done, _total: None
    ) -> Findings:
        """What `dedupe` found, copies confirmed on the photos where these are still there."""
        from gallery.dedupe.reports import confirmed, findings_of

        return findings_of(confirmed(self.dedupe(progress), build_reader(self.settings)))

    def write_plan(
        self,
        found: Findings,
        folder: Path | None,
        out: Path,
        progress: Callable[[int, int], None] = lambda _done, _all: None,
    ) -> list[Path]:
        """Write plan.json, plan.csv and report.html of what was found; returns the files.

        folder : what was looked at; None for the gallery. The files are removed when anyone is
        forgotten, unless they were moved. Raises OSError.
        """
        from gallery.dedupe.page import page
        from gallery.dedupe.plan import CSV_FILE, JSON_FILE, PAGE_FILE, as_csv, as_json, plan_of

        plan = plan_of(found, plans.new_id())
        text = page(
            found, plan, folder, build_reader(self.settings), self._kept_thumbnail, progress
        )
        contents = {
            out / JSON_FILE: json.dumps(as_json(plan), indent=1),
            out / CSV_FILE: as_csv(plan),
            out / PAGE_FILE: text,
        }
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.database.writing() as session:
            state = None if folder is not None else plans.state_of(session)
            plans.add(session, plan.id, state, [str(file.resolve()) for file in contents])
            for file, content in contents.items():
                with written_whole(file) as target:
                    target.write(printable(content).encode())
        return list(contents)

    def _kept_thumbnail(self, face_id: int) -> bytes | None:
        with self.database.reading() as session:
            try:
                return thumbnails.get(session, face_id)
            except ThumbnailNotFound:
                return None

    def apply_plan(
        self, file: Path, *, accept_over: float | None = None, dry_run: bool = False
    ) -> Applied:
        """Do what was accepted in a plan. See gallery.dedupe.applying."""
        from gallery.dedupe.applying import apply_plan
        from gallery.dedupe.plan import read_plan

        plan = read_plan(file)
        return apply_plan(self.database, plan, accept_over=accept_over, dry_run=dry_run)

    def applied_plans(self) -> list[tuple[int, int, int]]:
        """Number, steps and steps that can be undone of each applied plan, the newest first."""
        with self.database.reading() as session:
            return sorting.applied(session)

    def undo_plan(self, number: int | None = None) -> tuple[int, list[str]]:
        """Take back what a plan did, the last one's without a number. Raises UndoImpossible."""
        from gallery.dedupe.applying import undo_plan

        return undo_plan(self.database, number)

    def check(self) -> list[Finding]:
        """The state of everything, in words."""
        from gallery.check import check

        return check(self.settings.home, self.database, self.index, lambda: self.judge)

    # Parts

    @cached_property
    def eye(self) -> Eye:
        """Photo to encodings."""
        import torch

        if self.settings.threads:
            torch.set_num_threads(self.settings.threads)
        return build_eye(self.settings)

    @cached_property
    def judge(self) -> Judge:
        """The head: the one named in the settings, else the home's own, else the shipped one."""
        from gallery.head import load_head
        from gallery.judge import Judge

        own = self.settings.home / HEAD_FILE
        if self.settings.head is not None:
            file = self.settings.head
        else:
            file = own if own.exists() else shipped_file(HEAD_FILE)
        head = load_head(file, DLIB_RESNET.name, DLIB_RESNET.sha256)
        rate = self.settings.false_positive_identification_rate
        return Judge(head, self.database, rate=rate)

    @cached_property
    def identifier(self) -> Identifier:
        """The walk."""
        from gallery.candidates import CandidateFinder
        from gallery.identify import Identifier

        candidates = CandidateFinder(self.database, self.index, identities=self.settings.candidates)
        return Identifier(self.eye, candidates, self.judge, views=self.settings.views_query)

    @cached_property
    def _enroller(self) -> Enroller:
        from gallery.enroll import Enroller

        return Enroller(
            self.eye,
            self.identifier,
            self.judge,
            self.database,
            views=self.settings.views_enrolled,
            pictures=self.settings.thumbnails,
        )

    @cached_property
    def _comparer(self) -> Comparer:
        from gallery.compare import Comparer

        return Comparer(self.eye, self.judge, views=self.settings.views_query)


def build_eye(settings: Settings) -> Eye:
    """What sees with these settings; worker processes build one each."""
    from gallery.encoder import Encoder, pick_device
    from gallery.faces import FaceFinder
    from gallery.seeing import Eye

    device = pick_device(settings.device)
    reader = build_reader(settings)
    finder = FaceFinder(
        min_face=settings.min_face,
        min_probability=settings.min_face_probability,
        device=device,
    )
    return Eye(reader, finder, Encoder(settings.cache, device), max_faces=settings.max_faces)


def build_reader(settings: Settings) -> PhotoReader:
    """What opens photos with these settings."""
    from gallery.photo import PhotoReader

    return PhotoReader(
        max_bytes=settings.max_photo_bytes,
        max_pixels=settings.max_photo_pixels,
        working_side=settings.working_side,
    )
