"""The monotonic change log: which faces came or went, in the order it was committed."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from gallery.store.tables import ChangeRow


def log_changes(session: Session, face_ids: Sequence[int]) -> None:
    """Note that these faces came or went; the faces table says which."""
    if face_ids:
        session.execute(insert(ChangeRow), [{"face_id": i} for i in face_ids])


def latest_change(session: Session) -> int:
    """The log's newest position; 0 when nothing ever happened."""
    return session.scalar(select(func.max(ChangeRow.id))) or 0


def changed_since(session: Session, position: int) -> list[int]:
    """The faces that came or went after a position, each once."""
    query = select(ChangeRow.face_id).where(ChangeRow.id > position).distinct()
    return list(session.scalars(query))
