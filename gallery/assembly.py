"""Settings become a Gallery: the only place where the parts meet.

Parts are built when they are first used, so that listing identities does not load a network.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from gallery.backup import BackupInfo, Progress, back_up, quietly
from gallery.config import Settings, load_settings
from gallery.errors import FaceNotFound, HomeError
from gallery.forget import Eraser, finish_erasing
from gallery.moments import moment
from gallery.shipped import HEAD_FILE, shipped_file
from gallery.store import audit, calibrations, faces, identities, merging
from gallery.store.database import open_home
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

if TYPE_CHECKING:
    from gallery.check import Finding
    from gallery.compare import Comparer
    from gallery.dedupe.folder import FolderReport
    from gallery.dedupe.reports import GalleryReport
    from gallery.enroll import Enroller
    from gallery.identify import Identifier
    from gallery.judge import Judge
    from gallery.photo import PhotoReader
    from gallery.seeing import Eye, PhotoSource
    from gallery.traced import Looked, Tracing

DATABASE_FILE, INDEX_FILE = "gallery.db", "faces.index"


class Gallery:
    """A gallery of known people in one folder.

    Open it with `Gallery.open`; close it, or use it in a `with` block. What a user can mend is
    raised as a kind of GalleryError whose name and message tell what it is.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        home = open_home(settings.home)
        self.database = open_database(settings, home / DATABASE_FILE)
        with self.database.reading() as session:
            faces.check_encoder(session, DLIB_RESNET.name, DLIB_RESNET.sha256)
        self.index = IndexCopy(
            self.database,
            home / INDEX_FILE,
            engine=DEFAULT_ENGINE,
            encoder=DLIB_RESNET.sha256,
            # The file is not encrypted. Building the index anew takes a second for 100,000 faces.
            kept=settings.key_file is None,
        )
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
            sha256 = hashlib.sha256(_reader(self.settings).content(photo)).hexdigest()
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
        return import_faces(self.database, file, encoder, progress)

    # Cleaning and checking

    def dedupe_folder(
        self, folder: Path, progress: Callable[[int, int], None] = lambda _done, _total: None
    ) -> FolderReport:
        """Copies and people in a folder of photos. See gallery.dedupe.folder."""
        from gallery.dedupe.folder import dedupe_folder

        views = self.settings.views_query
        return dedupe_folder(folder, self.eye, self.judge, views=views, progress=progress)

    def dedupe(
        self, progress: Callable[[int, int], None] = lambda _done, _total: None
    ) -> GalleryReport:
        """Identities that seem to be one person, and faces enrolled twice."""
        from gallery.dedupe.enrolled import dedupe_gallery

        return dedupe_gallery(self.database, self.judge, progress)

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


def _reader(settings: Settings) -> PhotoReader:
    from gallery.photo import PhotoReader

    return PhotoReader(
        max_bytes=settings.max_photo_bytes,
        max_pixels=settings.max_photo_pixels,
        working_side=settings.working_side,
    )


def build_eye(settings: Settings) -> Eye:
    """What sees with these settings; worker processes build one each."""
    from gallery.encoder import Encoder, pick_device
    from gallery.faces import FaceFinder
    from gallery.seeing import Eye

    device = pick_device(settings.device)
    finder = FaceFinder(
        min_face=settings.min_face,
        min_probability=settings.min_face_probability,
        device=device,
    )
    encoder = Encoder(settings.cache, device)
    return Eye(_reader(settings), finder, encoder, max_faces=settings.max_faces)
