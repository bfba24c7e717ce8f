"""Erasing people and faces, on request or when they expire, and searching for traces."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gallery.erasure.erase import Eraser
from gallery.errors import FaceNotFound
from gallery.factory import build_reader
from gallery.gallery.base import OpenGallery
from gallery.matching.photo_quality import judged
from gallery.progress import Progress, no_progress
from gallery.store import faces, identities
from gallery.store.database import Session
from gallery.store.records import FaceRecord, IdentityRecord, Receipt

if TYPE_CHECKING:
    from gallery.erasure.report import EncodedPhoto, TraceReport
    from gallery.vision.photo_source import PhotoSource


_USUAL_VIEWS = (2, 10)
"""Numbers of views that faces were ever encoded with, unless settings named others."""


class Erasure(OpenGallery):
    """Erasing people. There is no undo."""

    def forget(
        self,
        name_or_id: str | int,
        *,
        first: Callable[[IdentityRecord, list[FaceRecord]], None] | None = None,
    ) -> Receipt:
        """Erase a person, by exact name or id, with no undo. Returns the receipt.

        first : called with the identity before anything is erased; what it raises stops that.
        Raises IdentityNotFound and what gallery.erasure.erase does.

        >>> gallery.forget("Grace Hopper").faces
        1
        """

        def check(session: Session, identity_id: int) -> None:
            if first is not None:
                record = identities.get(session, identity_id)
                first(record, judged(session, faces.records(session, identity_id=identity_id)))

        receipt = self._eraser().erase_identity(name_or_id, check)
        self._forget_cached()
        return receipt

    def forget_faces(self, face_ids: Sequence[int]) -> list[Receipt]:
        """Erase single faces of people who have others. See gallery.erasure.erase."""
        receipts = self._eraser().erase_faces(face_ids)
        self._forget_cached()
        return receipts

    def faces_from(self, photo: str | Path) -> list[int]:
        """List the faces that were enrolled from this photo: a file, or a file's SHA-256.

        Raises FaceNotFound, PhotoUnreadable or PhotoTooLarge.
        """
        sha256 = str(photo).lower()
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            sha256 = hashlib.sha256(build_reader(self.settings).content(photo)).hexdigest()
        with self.database.reading() as session:
            face_ids = faces.ids_of_photo(session, sha256)
        if not face_ids:
            raise FaceNotFound(f"no face was enrolled from {photo}")
        return face_ids

    def expired(self) -> list[IdentityRecord]:
        """List the identities that are due to be erased, the longest overdue first."""
        with self.database.reading() as session:
            return [
                identities.get(session, identity_id)
                for identity_id in identities.expired_ids(session)
            ]

    def expire(self, progress: Progress = no_progress) -> list[Receipt]:
        """Erase every identity that is due. See gallery.erasure.erase."""
        with self.database.reading() as session:
            due = identities.expired_ids(session)
        try:
            # Somebody's date may be moved while others are erased.
            check = identities.require_expired
            return self._eraser().erase_identities(due, "expire", progress, check)
        finally:
            if due:
                self._forget_cached()

    def _forget_cached(self) -> None:
        """Drop what this process has in memory of enrolled people beside the index."""
        scorer = self._runtime.parts().scorer.built
        if scorer is not None:
            scorer.forget()

    def _eraser(self) -> Eraser:
        settings = self.settings
        index = self._runtime.parts().index
        return Eraser(
            self.database, index, lambda: self.scorer, home=settings.home, cache=settings.cache
        )

    def upkeep(self) -> list[Receipt]:
        """Finish interrupted erasures, erase expired identities, prune the audit trail."""
        self._finish_erasing()
        self._prune_audit_trail()
        return self.expire()

    def traces(self, who: str, photos: Sequence[PhotoSource] = ()) -> TraceReport:
        """Search the gallery's files for a person, enrolled or erased.

        who : a name or an id.
        photos : photos of an erased person, to search for their encodings.
        """
        from gallery.erasure.report import trace_report

        views = self._views_of(photos)
        return trace_report(self.settings, self.database, self.index, who, views)

    def _views_of(self, photos: Sequence[PhotoSource]) -> list[EncodedPhoto]:
        from gallery.erasure.report import encode_photo

        views = self.pipeline.views
        counts = sorted({views.probe, views.enrolled, *_USUAL_VIEWS})
        return [encode_photo(self.pipeline, photo, counts) for photo in photos]
