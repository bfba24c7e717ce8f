"""A Gallery: what can be done with one, each use a few lines over its parts."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from gallery.admin.backup import BackupInfo, Progress, back_up, quietly
from gallery.config import load_settings
from gallery.encoders.registry import DEFAULT, Spec, read_spec
from gallery.encoders.weights import DLIB_RESNET
from gallery.erasure.erase import finish_erasing
from gallery.errors import (
    CannotReencode,
    FaceNotFound,
    PlanUnusable,
    ThumbnailNotFound,
)
from gallery.factory import build_pipeline, build_reader
from gallery.names import moment, printable
from gallery.runtime import Parts
from gallery.store import (
    audit,
    calibrations,
    corrections,
    encoders,
    faces,
    identities,
    kept_images,
    plans,
    reencoding,
)
from gallery.store import merges as merging
from gallery.store.encoders import EncoderRecord, EncoderState
from gallery.store.records import (
    CalibrationRecord,
    FaceRecord,
    IdentityRecord,
    Merged,
    MergeRecord,
    Receipt,
    StoredEncodings,
)
from gallery.types import Comparison, Decision, Enrolment, Several
from indexer.whole_file import written_whole

if TYPE_CHECKING:
    from gallery.admin.check import Finding
    from gallery.dedupe.findings import Findings, GalleryFindings
    from gallery.dedupe.plan.apply import Applied
    from gallery.erasure.report import Looked, TraceReport
    from gallery.reencode import Reencoder
    from gallery.vision.pipeline import FacePipeline, PhotoSource

_MOST_READERS = 8


class Gallery(Parts):
    """A gallery of known people in one folder.

    Open it with `Gallery.open`; close it, or use it in a `with` block. What a user can mend is
    raised as a kind of GalleryError whose name and message tell what it is.
    """

    @classmethod
    def open(cls, home: str | Path | None = None, **settings: object) -> Self:
        """The gallery in this folder, made when there is none.

        home : None is GALLERY_HOME, else the platform's data folder.
        settings : fields of gallery.config.Settings.
        """
        return cls(load_settings(home=home, **settings))

    def upkeep(self) -> list[Receipt]:
        """Finish what was half erased, erase everyone who is due, prune the audit trail."""
        finish_erasing(self.database, self.index, self.settings.home)
        self._prune()
        return self.expire()

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

    def move_face(self, face_id: int, to: str | int) -> IdentityRecord:
        """Put a face under another identity, whose name it should have; the identity.

        Raises FaceNotFound, IdentityNotFound, LastFace for the only face of its identity (merge
        the two), FaceThere when the other has a face of the same photo. Moving it back undoes it.
        """
        with self.database.writing() as session:
            owner = corrections.owner_of(session, face_id)
            if owner is None:
                raise FaceNotFound(f"no face {face_id}")
            here, there = identities.get(session, owner), identities.get(session, to)
            if there.id != here.id:
                corrections.refuse_move(session, face_id, here, there)
                corrections.move(session, face_id, there.id)
                audit.record(session, "move face", identity_id=there.id)
        return self.identity(there.id)[0]

    def call_right(self, face_id: int, *, right: bool = True) -> None:
        """Remember that a face is under the right name, so that `dedupe` does not doubt it; or
        forget it. Raises FaceNotFound.
        """
        with self.database.writing() as session:
            owner = corrections.owner_of(session, face_id)
            if owner is None:
                raise FaceNotFound(f"no face {face_id}")
            audit.record(session, "call right" if right else "doubt again", identity_id=owner)
            if right:
                corrections.call_right(session, face_id, owner)
            else:
                corrections.uncall_right(session, face_id)

    def forget(self, who: str | int) -> Receipt:
        """Erase a person, by name or id; there is no undo. See gallery.erasure.erase."""
        return self._eraser.identity(who)

    def forget_faces(self, face_ids: Sequence[int]) -> list[Receipt]:
        """Erase some faces of people who have others. See gallery.erasure.erase."""
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
        head = self.scorer.head.sha256  # before the write lock: a head may have to be read
        with self.database.writing() as session:
            audit.record(session, "calibrate")
            return calibrations.add(session, head, adjustment, report, evidence)

    def use_calibration(self, number: int) -> None:
        """Use a kept calibration, or none with 0. Raises CalibrationNotFound."""
        head = self.scorer.head.sha256
        with self.database.writing() as session:
            calibrations.use(session, head, number)
            audit.record(session, "use calibration")

    # Elsewhere

    def back_up(self, file: Path, progress: Progress = quietly) -> BackupInfo:
        """Everything in one file, also while others write. See gallery.admin.backup."""
        return back_up(self.database, self.settings, file, progress)

    def export(self, file: Path) -> int:
        """Every face with its encoding to a NumPy archive. See gallery.admin.npz."""
        from gallery.admin.npz import export_faces

        return export_faces(self.database, file)

    def import_from(self, file: Path, progress: Progress = quietly) -> tuple[int, int]:
        """Faces of such an archive: how many were added, and were there. See gallery.admin.npz."""
        from gallery.admin.npz import import_faces

        encoder = DLIB_RESNET.name, DLIB_RESNET.sha256
        if self.spec.kind != DEFAULT:
            seeing = self.pipeline.encoder
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
        from gallery.dedupe.clustering.operating_point import DEFAULT_PRECISION
        from gallery.dedupe.folder import Wanted, dedupe_folder
        from gallery.dedupe.scan import Readers

        wanted = Wanted(DEFAULT_PRECISION if precision is None else precision, people)
        return dedupe_folder(
            folder,
            self.pipeline,
            self.scorer,
            self.database,
            views=self.settings.views_query,
            wanted=wanted,
            readers=Readers(
                min(_MOST_READERS, os.cpu_count() or 1),
                partial(build_pipeline, self.settings, self.spec),
            ),
            progress=progress,
        )

    def dedupe(
        self, progress: Callable[[int, int], None] = lambda _done, _total: None
    ) -> GalleryFindings:
        """Identities that seem to be one person, faces enrolled twice or under a wrong name."""
        from gallery.dedupe.gallery import dedupe_gallery

        return self._steady(lambda: dedupe_gallery(self.database, self.scorer, progress))

    def findings(
        self, progress: Callable[[int, int], None] = lambda _done, _total: None
    ) -> Findings:
        """What `dedupe` found, copies confirmed on the photos where these are still there."""
        from gallery.dedupe.duplicate_photos import confirmed
        from gallery.dedupe.findings import findings_of

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
        forgotten, unless they were moved. Raises PlanOutdated when the gallery changed since it
        was compared, PlanUnusable for findings in it that do not say when that was; OSError.
        """
        from gallery.dedupe.plan.apply import refuse_if_changed
        from gallery.dedupe.plan.files import CSV_FILE, JSON_FILE, PAGE_FILE, as_csv, as_json
        from gallery.dedupe.plan.model import plan_of
        from gallery.dedupe.plan.report import page

        if folder is None and found.state is None:
            raise PlanUnusable(
                "findings of the gallery without the state that they were made in; take those of"
                " Gallery.findings()"
            )
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
            state = None if folder is not None else found.state
            if state is not None:
                refuse_if_changed(session, state, "it was compared", "run `gallery dedupe` again")
            plans.add(session, plan.id, state, [str(file.resolve()) for file in contents])
            for file, content in contents.items():
                with written_whole(file) as target:
                    target.write(printable(content).encode())
        # Of one time, so that it can be told which of them was changed.
        written = time.time_ns()
        for file in contents:
            os.utime(file, ns=(written, written))
        return list(contents)

    def _kept_thumbnail(self, face_id: int) -> bytes | None:
        with self.database.reading() as session:
            try:
                return kept_images.thumbnail(session, face_id)
            except ThumbnailNotFound:
                return None

    def apply_plan(
        self, file: Path, *, accept_over: float | None = None, dry_run: bool = False
    ) -> Applied:
        """Do what was accepted in a plan. See gallery.dedupe.plan.apply."""
        from gallery.dedupe.plan.apply import apply_plan
        from gallery.dedupe.plan.files import read_plan

        plan = read_plan(file)
        return apply_plan(self.database, plan, accept_over=accept_over, dry_run=dry_run)

    def applied_plans(self) -> list[tuple[int, int, int]]:
        """Number, steps and steps that can be undone of each applied plan, the newest first."""
        with self.database.reading() as session:
            return corrections.applied(session)

    def undo_plan(self, number: int | None = None) -> tuple[int, list[str]]:
        """Take back what a plan did, the last one's without a number. Raises UndoImpossible."""
        from gallery.dedupe.plan.undo import undo_plan

        return undo_plan(self.database, number)

    def check(self, *, repair: bool = False) -> list[Finding]:
        """The state of everything, in words.

        repair : mend first what can be mended; nobody is dropped by it.
        """
        from gallery.admin.check import check
        from gallery.admin.repair import mended

        done = mended(self.settings, self.database, self.index) if repair else []
        found = check(self.settings, self.database, self.index, lambda: self.scorer)
        return done + found

    def traces(self, who: str, photos: Sequence[PhotoSource] = ()) -> TraceReport:
        """Where a person, here or gone, can be found in the gallery's files.

        who : a name or an id.  photos : of someone who is gone, to look for their encodings.
        """
        from gallery.erasure.report import trace_report

        return trace_report(self.settings, self.database, self.index, who, self._views_of(photos))

    def _views_of(self, photos: Sequence[PhotoSource]) -> list[Looked]:
        from gallery.erasure.report import look

        both = {self.settings.views_query, self.settings.views_enrolled}
        return [look(self.pipeline, photo, sorted(both)) for photo in photos]

    # Another encoder

    def encoder_pipeline(self, spec: Spec) -> FacePipeline:
        """What sees with another encoder than the gallery's, and has a head to be judged with.

        Raises WeightsError or HeadUnusable.
        """
        from gallery.matching.head import load_head
        from gallery.matching.head_files import find_head

        eye = build_pipeline(self.settings, spec)
        traits, encoder = eye.encoder.network.traits, eye.encoder
        head = find_head(self.settings, traits)
        load_head(head, encoder.name, encoder.weights_sha256, traits.spec)
        return eye

    def encoder_record(self, eye: FacePipeline) -> EncoderRecord:
        """What the gallery knows of the encoder that this sees with, made when it knows nothing."""
        traits, encoder = eye.encoder.network.traits, eye.encoder
        with self.database.writing() as session:
            return encoders.make(session, encoder.name, encoder.weights_sha256, traits.spec)

    def recorded_pipeline(self, record: EncoderRecord) -> FacePipeline:
        """What sees with this very encoder.

        Raises CannotReencode when another one opens in its place; else as encoder_eye.
        """
        eye = self.encoder_pipeline(read_spec(record.spec or record.name))
        encoder = eye.encoder
        if (encoder.name, encoder.weights_sha256) != (record.name, record.weights_sha256):
            raise CannotReencode(
                f"what opens now is {encoder.name} ({encoder.weights_sha256[:12]}), not {record},"
                " and some faces are still to be encoded with that: put back the model, the TOML"
                " and the head with the projection that it had, or name the other one with"
                " --encoder"
            )
        return eye

    def reencoder(self, record: EncoderRecord, photos: Path | None = None) -> Reencoder:
        """What encodes this gallery's faces with that encoder. See gallery.reencode."""
        from gallery.reencode import Reencoder

        return Reencoder(self.database, build_reader(self.settings), record, photos)

    def previous_encoder(self) -> EncoderRecord:
        """The one that there is a way back to. Raises CannotReencode."""
        with self.database.reading() as session:
            record = encoders.in_state(session, EncoderState.PREVIOUS)
        if record is None:
            raise CannotReencode("no encodings of an earlier encoder are kept to go back to")
        return record

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
            dropped = kept_images.drop_all(session)
            audit.record(session, "drop pictures")
        finish_erasing(self.database, self.index, self.settings.home)
        return dropped
