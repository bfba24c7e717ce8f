"""Which backups were made: an erasure must say which of them hold the person still."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from gallery.store.records import BackupRecord
from gallery.store.tables import BackupRow, FaceRow, IdentityRow


def add(session: Session) -> BackupRecord:
    """Note one that is about to be made of the database as it is in this transaction."""
    row = BackupRow(
        id=uuid4().hex,
        newest_identity_id=session.scalar(select(func.max(IdentityRow.id))) or 0,
        newest_face_id=session.scalar(select(func.max(FaceRow.id))) or 0,
    )
    session.add(row)
    session.flush()
    return _record(row)


def list_all(session: Session) -> list[BackupRecord]:
    """Every backup, the oldest first."""
    return [_record(r) for r in session.scalars(select(BackupRow).order_by(BackupRow.created_at))]


def holding(session: Session, identity_id: int, face_ids: list[int]) -> list[BackupRecord]:
    """Those that hold any of these faces or the identity: ids only ever grow."""
    oldest = min(face_ids, default=0)
    return [
        backup
        for backup in list_all(session)
        if backup.newest_identity_id >= identity_id
        and (not oldest or backup.newest_face_id >= oldest)
    ]


def _record(row: BackupRow) -> BackupRecord:
    return BackupRecord(row.id, row.newest_identity_id, row.newest_face_id, row.created_at)
