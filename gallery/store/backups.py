"""The list of backups, so that an erasure can name those that still hold the person."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from gallery.store.person_data import PersonData
from gallery.store.records import BackupRecord
from gallery.store.tables import BackupRow, FaceRow, IdentityRow

_HIGHEST_ID = 2**63 - 1


def begin(session: Session) -> BackupRecord:
    """Record a backup that is about to be made. Until it is complete, it counts as holding
    everyone.
    """
    row = BackupRow(id=uuid4().hex, newest_identity_id=_HIGHEST_ID, newest_face_id=_HIGHEST_ID)
    session.add(row)
    session.flush()
    return _record(row)


def newest_ids(session: Session) -> tuple[int, int]:
    """Return the highest identity id and the highest face id in the gallery; 0 when it has none."""
    identities, faces = (select(func.max(table.id)) for table in (IdentityRow, FaceRow))
    return session.scalar(identities) or 0, session.scalar(faces) or 0


def complete(
    session: Session, backup_id: str, newest_identity_id: int, newest_face_id: int
) -> None:
    """Record that a backup is complete, with the highest ids in it."""
    row = session.get_one(BackupRow, backup_id)
    row.made, row.newest_identity_id, row.newest_face_id = True, newest_identity_id, newest_face_id
    session.flush()


def list_all(session: Session) -> list[BackupRecord]:
    """Return every backup, also incomplete ones, oldest first."""
    return [_record(r) for r in session.scalars(select(BackupRow).order_by(BackupRow.created_at))]


def holding(session: Session, person: PersonData) -> list[BackupRecord]:
    """Return the backups that may hold any of a person's data.

    Ids only grow. The faces decide, as a merge may have given them to another identity.
    """
    oldest_face = min((*person.face_ids, *person.set_aside), default=_HIGHEST_ID)
    oldest_identity = min(person.all_ids)
    return [
        backup
        for backup in list_all(session)
        if backup.newest_face_id >= oldest_face
        or (person.whole and backup.newest_identity_id >= oldest_identity)
    ]


def _record(row: BackupRow) -> BackupRecord:
    return BackupRecord(
        row.id, row.newest_identity_id, row.newest_face_id, row.created_at, row.made
    )
