"""Which backups were made: an erasure must say which of them hold the person still."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from gallery.store.person_data import Remains
from gallery.store.records import BackupRecord
from gallery.store.tables import BackupRow, FaceRow, IdentityRow

_EVERYONE = 2**63 - 1


def begin(session: Session) -> BackupRecord:
    """Note one that is about to be made. Until it is, it is taken to hold whoever may come."""
    row = BackupRow(id=uuid4().hex, newest_identity_id=_EVERYONE, newest_face_id=_EVERYONE)
    session.add(row)
    session.flush()
    return _record(row)


def newest(session: Session) -> tuple[int, int]:
    """The highest ids of identities and of faces that are there."""
    people, faces = (select(func.max(table.id)) for table in (IdentityRow, FaceRow))
    return session.scalar(people) or 0, session.scalar(faces) or 0


def made(session: Session, backup_id: str, newest_identity_id: int, newest_face_id: int) -> None:
    """It is written, and holds ids up to these."""
    row = session.get_one(BackupRow, backup_id)
    row.made, row.newest_identity_id, row.newest_face_id = True, newest_identity_id, newest_face_id
    session.flush()


def list_all(session: Session) -> list[BackupRecord]:
    """Every backup, also those that were begun and perhaps not made, the oldest first."""
    return [_record(r) for r in session.scalars(select(BackupRow).order_by(BackupRow.created_at))]


def holding(session: Session, found: Remains) -> list[BackupRecord]:
    """Those that may hold any of it: ids only ever grow, and a merge gives faces to others."""
    oldest_face = min((*found.face_ids, *found.aside), default=_EVERYONE)
    oldest = min(found.known_as)
    return [
        backup
        for backup in list_all(session)
        if backup.newest_face_id >= oldest_face
        or (found.whole and backup.newest_identity_id >= oldest)
    ]


def _record(row: BackupRow) -> BackupRecord:
    return BackupRecord(
        row.id, row.newest_identity_id, row.newest_face_id, row.created_at, row.made
    )
