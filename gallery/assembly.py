"""Settings become a Gallery: the only place where the parts meet.

Parts are built when they are first used, so that listing identities does not load a network.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from gallery.backup import BackupInfo, Progress, back_up, quietly
from gallery.config import Settings, load_settings
from gallery.encoders.opening import DEFAULT, Spec, read_spec
from gallery.errors import (
    CannotReencode,
    EncoderChanged,
    FaceNotFound,
    HeadUnusable,
    HomeError,
    ThumbnailNotFound,
)
from gallery.forget import Eraser, finish_erasing
from gallery.moments import moment
from gallery.names import printable
from gallery.store import (
    audit,
    calibrations,
    encoders,
    faces,
    identities,
    merging,
    pictures,
    plans,
    reencoding,
    sorting,
    thumbnails,
)
from gallery.store.database import open_home
from gallery.store.encoders import EncoderState
from gallery.store.opening import open_database
from gallery.store.records import (
    CalibrationRecord,
    FaceRecord,
    IdentityRecord,
    Merged,
    MergeRecord,
    Receipt,
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
    from gallery.encoders.protocol import Traits
    from gallery.enroll import Enroller
    from gallery.identify import Identifier
    from gallery.judge import Judge
    from gallery.photo import PhotoReader
    from gallery.projection import Projection
    from gallery.reencode import Reencoder
    from gallery.seeing import Eye, PhotoSource
    from gallery.traced import Looked, Tracing

_MOST_READERS = 8
DATABASE_FILE, INDEX_FILE = "gallery.db", "faces.index"
T = TypeVar("T")


class Gallery:
    """A gallery of known people in one folder.

    Open it with `Gallery.open`; close it, or use it in a `with` block. What a user can mend is
    raised as a kind of GalleryError whose name and message tell what it is.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        home = open_home(settings.home)
        self.database = open_database(settings, home / DATABASE_FILE)
        self._turn = RLock()
        self._heads_seen: tuple[tuple[str, int, int], ...] = ()
        self._check_encoder()
        self.index = self._copy_of(self._encoder_now() or DLIB_RESNET.sha256)
        # An erasure that was cut short is finished now. What still hinders it must not hinder
        # queries; `check` says that it is not done.
        with contextlib.suppress(HomeError):
            finish_erasing(self.database, self.index, home)
            self._prune()

    @classmethod
    def open(cls, home: str | Path | None = None, **settings: object) -> Self:
        """The gallery in this folder, made when there is none.

        home : None is GALLERY_HOME, else the platform's data folder.
        settings : fields of gallery.config.Settings.
        """
        return cls(load_settings(home=home, **settings))

    def _check_encoder(self) -> None:
        """What can be told without loading an encoder. Raises EncoderChanged or SettingInvalid."""
        spec = self.spec
        if spec.kind == DEFAULT:
            with self.database.reading() as session:
                encoders.check_current(session, DEFAULT, DLIB_RESNET.sha256, None)
            return
        with self.database.reading() as session:
            now = encoders.current(session)
            if now is not None and now.name != spec.kind:
                encoders.check_current(session, spec.kind, "", str(spec))

    def _copy_of(self, encoder_sha256: str) -> IndexCopy:
        file = self.settings.home / INDEX_FILE
        return IndexCopy(
            self.database,
            file,
            engine=DEFAULT_ENGINE,
            encoder=encoder_sha256,
            # The file is not encrypted. Building the index anew takes a second for 100,000 faces.
            kept=self.settings.key_file is None,
        )

    @property
    def spec(self) -> Spec:
        """The encoder that the settings name, else the gallery's own, else the default."""
        if self.settings.encoder is not None:
            return read_spec(self.settings.encoder)
        with self.database.reading() as session:
            now = encoders.current(session)
        return read_spec(DEFAULT if now is None else now.spec or now.name)

    def _encoder_now(self) -> str | None:
        with self.database.reading() as session:
            now = encoders.current(session)
        return None if now is None else now.weights_sha256

    def _follow(self) -> str | None:
        """Have the parts for the encoder and the head that the gallery has now: another process may
        have changed them. Returns the encoder's SHA-256; None while nothing was ever enrolled.
        """
        if "_judge" in self.__dict__ and self._heads() != self._heads_seen:
            with self._turn:  # trained anew, or dropped because it knew somebody who was erased
                for part in ("_judge", "_identifier", "_enroller", "_comparer"):
                    self.__dict__.pop(part, None)
        now = self._encoder_now()
        if now is None or now == self.index.encoder:
            return now
        with self._turn:
            if now != self.index.encoder:
                self.index.close()
                self.index = self._copy_of(now)
                built = self.__dict__.get("eye")
                stale = ["_identifier", "_enroller", "_eraser"]
                if built is not None and built.encoder.weights_sha256 != now:
                    stale += ["eye", "_judge", "_comparer"]
                for part in stale:
                    self.__dict__.pop(part, None)
        return now

    def _heads(self) -> tuple[tuple[str, int, int], ...]:
        """The head files that could be in use, and their state."""
        named = [] if self.settings.head is None else [self.settings.head]
        states = []
        for file in (*named, *sorted(self.settings.home.glob("head*.safetensors"))):
            with contextlib.suppress(OSError):
                found = file.stat()
                states.append((file.name, found.st_mtime_ns, found.st_ino))
        return tuple(states)

    def _steady(self, ask: Callable[[], T]) -> T:
        """An answer during which the gallery's encoder did not change."""
        while True:
            before = self._follow()
            try:
                answer = ask()
            except EncoderChanged:
                if self._encoder_now() == before:
                    raise
                continue
            if before is None or self._encoder_now() == before:
                return answer

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

    def upkeep(self) -> list[Receipt]:
        """Finish what was half erased, erase everyone who is due, prune the audit trail."""
        finish_erasing(self.database, self.index, self.settings.home)
        self._prune()
        return self.expire()

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
        return self._steady(lambda: self.identifier.query(photo, several=several))

    def query_all(self, photo: PhotoSource) -> list[Decision]:
        """Who is each face of this photo? See Identifier.query_all."""
        return self._steady(lambda: self.identifier.query_all(photo))

    def compare(
        self, first: PhotoSource, second: PhotoSource, *, several: Several = Several.REFUSE
    ) -> Comparison:
        """Are two photos of the same person? See Comparer.compare."""
        return self._steady(lambda: self._comparer.compare(first, second, several=several))

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
        return self._steady(
            lambda: self._enroller.enroll(name, photo, several=several, force=force)
        )

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
        expires: str | None = None,
        first: Callable[[IdentityRecord, list[FaceRecord]], None] = lambda _who, _faces: None,
    ) -> IdentityRecord:
        """Set an identity's name, external id, details and expiry; all of it or nothing.

        expires : when `expire` may erase it, see gallery.moments; empty: never.
        first : is shown whom it is before anything is changed; what it raises stops it.
        Raises IdentityNotFound, InvalidName, IdentityExists or SettingInvalid.
        """
        due = moment(expires) if expires else None
        with self.database.writing() as session:
            record = identities.get(session, name_or_id)
            first(record, faces.records(session, identity_id=record.id))
            if new_name is not None:
                identities.rename(session, record.id, new_name)
            if expires is not None:
                identities.expire_at(session, record.id, due)
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

    def forget(self, who: str | int) -> Receipt:
        """Erase a person, by name or id; there is no undo. See gallery.forget."""
        return self._eraser.identity(who)

    def forget_faces(self, face_ids: Sequence[int]) -> list[Receipt]:
        """Erase some faces of people who have others. See gallery.forget."""
        return self._eraser.faces(face_ids)

    def faces_from(self, photo: str | Path) -> list[int]:
        """The faces that were enrolled from this photo: a file, or a file's SHA-256.

        Raises FaceNotFound, PhotoUnreadable or PhotoTooLarge.
        """
        sha256 = str(photo).lower()
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            sha256 = hashlib.sha256(build_reader(self.settings).content(photo)).hexdigest()
        with self.database.reading() as session:
            found = faces.of_photo(session, sha256)
        if not found:
            raise FaceNotFound(f"no face was enrolled from {photo}")
        return found

    def expired(self) -> list[IdentityRecord]:
        """Who is due to be erased, the longest overdue first."""
        with self.database.reading() as session:
            return [identities.get(session, one) for one in identities.expired(session)]

    def expire(self) -> list[Receipt]:
        """Erase everyone who is due."""
        return self._eraser.everyone([record.id for record in self.expired()], "expire")

    # The promise, on one's own people

    def calibrations(self) -> list[CalibrationRecord]:
        """Every calibration of the operating point that was kept, the oldest first."""
        with self.database.reading() as session:
            return calibrations.list_all(session)

    def keep_calibration(
        self, adjustment: dict[str, Any], report: dict[str, Any], evidence: dict[str, Any]
    ) -> int:
        """Keep a calibration of the head in use and use it; returns its number."""
        with self.database.writing() as session:
            audit.record(session, "calibrate")
            return calibrations.add(session, self.judge.head.sha256, adjustment, report, evidence)

    def use_calibration(self, number: int) -> None:
        """Use a kept calibration, or none with 0. Raises CalibrationNotFound."""
        with self.database.writing() as session:
            calibrations.use(session, self.judge.head.sha256, number)
            audit.record(session, "use calibration")

    # Elsewhere

    def back_up(self, file: Path, progress: Progress = quietly) -> BackupInfo:
        """Everything in one file, also while others write. See gallery.backup."""
        return back_up(self.database, self.settings, file, progress)

    def export(self, file: Path) -> int:
        """Every face with its encoding to a NumPy archive. See gallery.portable."""
        from gallery.portable import export_faces

        return export_faces(self.database, file)

    def import_from(self, file: Path, progress: Progress = quietly) -> tuple[int, int]:
        """Faces of such an archive: how many were added, and were there. See gallery.portable."""
        from gallery.portable import import_faces

        encoder = DLIB_RESNET.name, DLIB_RESNET.sha256
        if self.spec.kind != DEFAULT:
            seeing = self.eye.encoder
            encoder = seeing.name, seeing.weights_sha256
            with self.database.writing() as session:  # what opens it is known, too
                faces.encoder_id(session, *encoder, seeing.network.traits.spec)
        return import_faces(self.database, file, encoder, progress)

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
                min(_MOST_READERS, os.cpu_count() or 1),
                partial(build_eye, self.settings, self.spec),
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
        from gallery.dedupe.confirming import confirmed
        from gallery.dedupe.reports import findings_of

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

    def check(self, *, repair: bool = False) -> list[Finding]:
        """The state of everything, in words.

        repair : mend first what can be mended; nobody is dropped by it.
        """
        from gallery.check import check
        from gallery.repair import mended

        done = mended(self.settings, self.database, self.index) if repair else []
        found = check(self.settings, self.database, self.index, lambda: self.judge)
        return done + found

    def traces(self, who: str, photos: Sequence[PhotoSource] = ()) -> Tracing:
        """Where a person, here or gone, can be found in the gallery's files.

        who : a name or an id.  photos : of someone who is gone, to look for their encodings.
        """
        from gallery.traced import traced

        return traced(self.settings, self.database, self.index, who, self._views_of(photos))

    def _views_of(self, photos: Sequence[PhotoSource]) -> list[Looked]:
        from gallery.traced import look

        both = {self.settings.views_query, self.settings.views_enrolled}
        return [look(self.eye, photo, sorted(both)) for photo in photos]

    # Another encoder

    def encoder_eye(self, spec: Spec) -> Eye:
        """What sees with another encoder than the gallery's, and has a head to be judged with.

        Raises WeightsError or HeadUnusable.
        """
        from gallery.head import load_head
        from gallery.heads import find_head

        settings = self.settings
        if settings.head is not None and spec.kind != self.spec.kind:
            settings = settings.model_copy(update={"head": None})  # it is the gallery's encoder's
        eye = build_eye(settings, spec)
        traits, encoder = eye.encoder.network.traits, eye.encoder
        head = find_head(settings, traits)
        load_head(head, encoder.name, encoder.weights_sha256, traits.spec)
        return eye

    def reencoder(self, eye: Eye, photos: Path | None = None) -> Reencoder:
        """What encodes this gallery's faces with that encoder. See gallery.reencode."""
        from gallery.reencode import Reencoder

        traits, encoder = eye.encoder.network.traits, eye.encoder
        with self.database.writing() as session:
            record = encoders.make(session, encoder.name, encoder.weights_sha256, traits.spec)
        return Reencoder(self.database, eye.reader, record, photos)

    def previous_encoder(self) -> Spec:
        """The one that there is a way back to. Raises CannotReencode."""
        with self.database.reading() as session:
            record = encoders.in_state(session, EncoderState.PREVIOUS)
        if record is None:
            raise CannotReencode("no encodings of an earlier encoder are kept to go back to")
        return read_spec(record.spec or record.name)

    def switched(self) -> None:
        """Build the index of the encoder that is in use now."""
        self._follow()
        self.index.rebuild()

    def finish_reencoding(self) -> int:
        """Erase the previous encoder's encodings, and those of a re-encoding that was not ended.

        Returns how many there were.
        """
        with self.database.writing() as session:
            dropped = reencoding.finish(session)
            audit.record(session, "re-encode finished")
        finish_erasing(self.database, self.index, self.settings.home)
        return dropped

    def drop_pictures(self) -> int:
        """Erase what is kept to encode faces again; returns of how many."""
        with self.database.writing() as session:
            dropped = pictures.drop_all(session)
            audit.record(session, "drop pictures")
        finish_erasing(self.database, self.index, self.settings.home)
        return dropped

    # Parts

    @cached_property
    def eye(self) -> Eye:
        """Photo to encodings. Raises WeightsError, HeadUnusable or EncoderChanged."""
        import torch

        if self.settings.threads:
            torch.set_num_threads(self.settings.threads)
        eye = build_eye(self.settings, self.spec)
        traits, encoder = eye.encoder.network.traits, eye.encoder
        with self.database.reading() as session:
            encoders.check_current(session, encoder.name, encoder.weights_sha256, traits.spec)
            now = encoders.current(session)
        if now is not None and now.spec != traits.spec and traits.name != DEFAULT:
            with self.database.writing() as session:  # its file lies elsewhere now
                encoders.note_spec(session, now.id, traits.spec)
        return eye

    def projection_in_use(self, traits: Traits) -> Projection | None:
        """This network's projection, if encodings of the gallery were made with it."""
        from gallery.encoder import encoder_sha256
        from gallery.head import load_projection
        from gallery.heads import find_head

        try:
            file = find_head(self.settings, traits)
            projection = load_projection(file, traits.sha256, traits.spec)
        except HeadUnusable:
            return None
        with self.database.reading() as session:
            kept = {record.weights_sha256 for record in encoders.kept(session)}
        return projection if encoder_sha256(traits.sha256, projection) in kept else None

    @property
    def judge(self) -> Judge:
        """The head: the one named in the settings, else the home's own, else the shipped one."""
        self._follow()
        return self._judge

    @cached_property
    def _judge(self) -> Judge:
        from gallery.head import load_head
        from gallery.heads import find_head
        from gallery.judge import Judge

        if self.spec.kind == DEFAULT:  # a head can be looked at without loading its encoder
            from gallery.encoders.in_torch import DLIB_TRAITS as traits

            sha256 = DLIB_RESNET.sha256
        else:
            traits, sha256 = self.eye.encoder.network.traits, self.eye.encoder.weights_sha256
        self._heads_seen = self._heads()
        head = load_head(find_head(self.settings, traits), traits.name, sha256, traits.spec)
        rate = self.settings.false_positive_identification_rate
        return Judge(head, self.database, rate=rate)

    @property
    def identifier(self) -> Identifier:
        """The walk."""
        self._follow()
        return self._identifier

    @cached_property
    def _identifier(self) -> Identifier:
        from gallery.candidates import CandidateFinder
        from gallery.identify import Identifier

        candidates = CandidateFinder(self.database, self.index, identities=self.settings.candidates)
        return Identifier(self.eye, candidates, self._judge, views=self.settings.views_query)

    @cached_property
    def _eraser(self) -> Eraser:
        return Eraser(
            self.database,
            self.index,
            lambda: self.judge,
            home=self.settings.home,
            cache=self.settings.cache,
        )

    @cached_property
    def _enroller(self) -> Enroller:
        from gallery.enroll import Enroller

        return Enroller(
            self.eye,
            self._identifier,
            self._judge,
            self.database,
            views=self.settings.views_enrolled,
            pictures=self.settings.thumbnails,
            keep=self.settings.keep,
        )

    @cached_property
    def _comparer(self) -> Comparer:
        from gallery.compare import Comparer

        return Comparer(self.eye, self._judge, views=self.settings.views_query)


def build_reader(settings: Settings) -> PhotoReader:
    """What opens photos with these settings."""
    from gallery.photo import PhotoReader

    return PhotoReader(
        max_bytes=settings.max_photo_bytes,
        max_pixels=settings.max_photo_pixels,
        working_side=settings.working_side,
    )


def build_eye(settings: Settings, spec: Spec | None = None, *, native: bool = False) -> Eye:
    """What sees with these settings; worker processes build one each.

    spec : the encoder; None is the default.
    native : with the encoder's network alone, to learn a head and a projection from.
    """
    from gallery.encoder import Encoder, pick_device
    from gallery.encoders.opening import open_network
    from gallery.faces import FaceFinder
    from gallery.heads import find_head, fitted_out
    from gallery.seeing import Eye
    from gallery.types import DIMENSION

    device = pick_device(settings.device)
    finder = FaceFinder(
        min_face=settings.min_face,
        min_probability=settings.min_face_probability,
        device=device,
    )
    network = open_network(spec or read_spec(DEFAULT), settings.cache, device, settings.threads)
    if native or network.traits.dimension <= DIMENSION:
        encoder = Encoder(network)
    else:
        encoder = fitted_out(network, find_head(settings, network.traits))
    return Eye(build_reader(settings), finder, encoder, max_faces=settings.max_faces)
