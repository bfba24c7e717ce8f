"""Identities and their faces: listed, named, merged, told apart, moved."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gallery.dates import checked_date
from gallery.errors import FaceNotFound
from gallery.gallery.base import OpenGallery
from gallery.matching.photo_quality import judged
from gallery.names import moment
from gallery.store import audit, corrections, faces, identities, merges
from gallery.store.database import Session
from gallery.store.records import (
    FaceRecord,
    IdentityPage,
    IdentityRecord,
    MergeRecord,
    MergeResult,
    StoredEncodings,
)


class Identities(OpenGallery):
    """Listing and changing who is enrolled."""

    def identities(self, search: str = "") -> list[IdentityRecord]:
        """List everyone enrolled, by name; case and accents count neither there nor for `search`.

        search : part of the name. Empty for everyone. Of a large gallery, see `identity_page`.

        >>> [(record.name, record.faces) for record in gallery.identities("hopper")]
        [('Grace Hopper', 1)]
        """
        with self.database.reading() as session:
            return identities.list_all(session, search)

    def identity_page(
        self,
        search: str = "",
        *,
        near: str | None = None,
        after: tuple[str, int] | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> IdentityPage:
        """List at most `limit` of those that `identities` lists, however many are enrolled.

        near : only those that `near` lists.
        after : name and id of the last identity of the page before. Unlike `offset`, the number of
        identities to skip, it leaves nobody out when others are added or removed meanwhile.
        Raises InvalidName for `near`.
        """
        with self.database.reading() as session:
            return identities.page(
                session, search, near=near, after=after, limit=limit, offset=offset
            )

    def near(self, name: str) -> list[IdentityRecord]:
        """List the identities whose names are this one but for case, accents and spacing.

        Raises InvalidName.
        """
        with self.database.reading() as session:
            return identities.near(session, name)

    def identity(self, name_or_id: str | int) -> tuple[IdentityRecord, list[FaceRecord]]:
        """Return one identity and its faces. Raises IdentityNotFound or NameAmbiguous.

        Here and below, a name also finds the only identity whose name differs from it in nothing
        but case, accents, spaces, hyphens and underscores. Merging and erasing need the exact one.
        """
        with self.database.reading() as session:
            record = identities.get(session, name_or_id)
            return record, judged(session, faces.records(session, identity_id=record.id))

    def faces(self) -> list[FaceRecord]:
        """List every enrolled face."""
        with self.database.reading() as session:
            return judged(session, faces.records(session))

    def encodings(self) -> StoredEncodings:
        """Return every enrolled face's encoding, float32 (n, 128)."""
        with self.database.reading() as session:
            return faces.encodings_of(session, identities.ids(session))

    def rename(self, name_or_id: str | int, new_name: str, *, new: bool = False) -> IdentityRecord:
        """Rename an identity.

        new : also if another identity has a name that differs only in case, accents or spacing.
        Raises IdentityNotFound, NameAmbiguous, InvalidName or IdentityExists.
        """
        with self.database.writing() as session:
            record = identities.rename(session, name_or_id, new_name, new=new)
            audit.record(session, "rename", identity_id=record.id)
            return record

    def describe(
        self,
        name_or_id: str | int,
        *,
        new_name: str | None = None,
        new: bool = False,
        external_id: str | None = None,
        details: dict[str, str] | None = None,
        expires: str | None = None,
        first: Callable[[IdentityRecord, list[FaceRecord]], None] = lambda _record, _faces: None,
    ) -> IdentityRecord:
        """Set an identity's name, external id, details and expiry, all of them or none.

        new : see `rename`.
        expires : when `expire` may erase the identity, see gallery.names.moment; empty for never.
        first : called with the identity before anything changes; what it raises stops the change.
        Raises IdentityNotFound, InvalidName, DetailsInvalid, IdentityExists or SettingInvalid.
        """
        due = moment(expires) if expires else None
        with self.database.writing() as session:
            record = identities.get(session, name_or_id)
            first(record, judged(session, faces.records(session, identity_id=record.id)))
            if new_name is not None:
                identities.rename(session, record.id, new_name, new=new)
            if expires is not None:
                identities.set_expiry(session, record.id, due)
            audit.record(session, "describe", identity_id=record.id)
            return identities.describe(session, record.id, external_id, details or {})

    def expire_at(self, name_or_id: str | int, when: str) -> IdentityRecord:
        """Set when to erase an identity: a date, a time, or days from now as `90d`; empty: never.

        Raises IdentityNotFound, NameAmbiguous or SettingInvalid.
        """
        return self.describe(name_or_id, expires=when)

    def merge(self, keep: str | int, others: Sequence[str | int]) -> MergeResult:
        """Merge other identities into one, by exact names or ids.

        The one that is kept gets the earliest expiry of all of them.
        Raises IdentityNotFound or MergeEmpty.

        >>> merged = gallery.merge("Grace Hopper", ["G. Hopper"])
        >>> [record.name for record in gallery.undo_merge(merged.merge_id)]
        ['Grace Hopper', 'G. Hopper']
        """
        with self.database.writing() as session:
            merged = merges.merge(session, keep, others)
            audit.record(session, "merge", identity_id=merged.identity.id)
            return merged

    def merges(self, limit: int | None = None) -> list[MergeRecord]:
        """List the merges that can be undone, newest first; all of them, or at most `limit`."""
        with self.database.reading() as session:
            return merges.list_all(session, limit)

    def undo_merge(self, merge_id: int) -> list[IdentityRecord]:
        """Undo a merge. Returns the identities that it leaves, the one that was kept first.

        Raises MergeNotFound, MergeTooOld, or IdentityExists when a name was taken meanwhile.
        """
        with self.database.writing() as session:
            restored = merges.undo(session, merge_id)
            audit.record(session, "undo merge", identity_id=restored[0].id)
            return restored

    def keep_distinct(self, first: str | int, second: str | int, *, distinct: bool = True) -> None:
        """Record that two identities are two people, so that `dedupe` does not name them again.

        distinct : False takes that back.
        Raises IdentityNotFound.
        """
        with self.database.writing() as session:
            ids = [identities.get(session, name_or_id).id for name_or_id in (first, second)]
            audit.record(session, "tell apart" if distinct else "compare again", identity_id=ids[0])
            if distinct:
                merges.keep_distinct(session, ids[0], ids[1:])
            else:
                merges.forget_distinct(session, *ids)

    def move_face(self, face_id: int, to: str | int) -> IdentityRecord:
        """Put a face under another identity, and return that one. Moving it back undoes it.

        An expiry goes along with the face, unless the other's is earlier.

        Raises FaceNotFound, IdentityNotFound, LastFace for the only face of its identity (merge
        the two instead), FaceAlreadyEnrolled when the other has a face of the same photo.
        """
        with self.database.writing() as session:
            source = identities.get(session, self._owner_of(session, face_id))
            target = identities.get(session, to)
            if target.id != source.id:
                corrections.check_move(session, face_id, source, target)
                corrections.move(session, face_id, target.id)
                audit.record(session, "move face", identity_id=target.id)
        return self.identity(target.id)[0]

    def set_taken(self, face_id: int, taken: str | None) -> FaceRecord:
        """Set when the photo of an enrolled face was taken; None for unknown. Returns the face.

        Raises FaceNotFound or DateInvalid.
        """
        date = None if taken is None else checked_date(taken)
        with self.database.writing() as session:
            owner = self._owner_of(session, face_id)
            faces.set_taken(session, face_id, date)
            audit.record(session, "date face", identity_id=owner)
            return judged(session, faces.records_by_id(session, [face_id]).values())[0]

    def call_right(self, face_id: int, *, right: bool = True) -> None:
        """Record that a face is under the right name, so that `dedupe` does not doubt it again.

        right : False takes that back.
        Raises FaceNotFound.
        """
        with self.database.writing() as session:
            owner = self._owner_of(session, face_id)
            audit.record(session, "call right" if right else "doubt again", identity_id=owner)
            if right:
                corrections.confirm_face(session, face_id, owner)
            else:
                corrections.unconfirm_face(session, face_id)

    @staticmethod
    def _owner_of(session: Session, face_id: int) -> int:
        owner = corrections.identity_id_of(session, face_id)
        if owner is None:
            raise FaceNotFound(f"no face {face_id}")
        return owner
