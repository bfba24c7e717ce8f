"""The monotonic change log: which faces came or went, in the order it was committed."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from gallery.store.tables import ChangeRow, MarkRow

_TO_SCRUB, _HEAD_TO_DROP = "to_scrub", "head_to_drop"


def log_changes(session: Session, face_ids: Sequence[int]) -> None:
    """Note that these faces came or went; the faces table says which."""
    if face_ids:
        session.execute(insert(ChangeRow), [{"face_id": i} for i in face_ids])


def latest_change(session: Session) -> int:
    """The log's newest position; 0 when nothing ever happened."""
    return session.scalar(select(func.max(ChangeRow.id))) or 0


def remember_to_scrub(session: Session) -> None:
    """Note, in the transaction that deletes, that erased bytes are still in the files."""
    session.merge(MarkRow(name=_TO_SCRUB, value=uuid4().hex))


def to_scrub(session: Session) -> str | None:
    """The note, when there is one."""
    return session.scalar(select(MarkRow.value).where(MarkRow.name == _TO_SCRUB))


def scrubbed(session: Session, note: str) -> None:
    """The files were scrubbed after this note was read; a newer one stays."""
    session.execute(delete(MarkRow).where(MarkRow.name == _TO_SCRUB, MarkRow.value == note))


def to_drop_head(session: Session) -> None:
    """Note, in the transaction that deletes, that the gallery's own head knew who is gone."""
    session.merge(MarkRow(name=_HEAD_TO_DROP, value=uuid4().hex))


def head_to_drop(session: Session) -> str | None:
    """The note, when there is one."""
    return session.scalar(select(MarkRow.value).where(MarkRow.name == _HEAD_TO_DROP))


def dropped_head(session: Session, note: str) -> None:
    """The head's files were deleted after this note was read; a newer one stays."""
    ours = MarkRow.name == _HEAD_TO_DROP, MarkRow.value == note
    session.execute(delete(MarkRow).where(*ours))


def changed_since(session: Session, position: int) -> list[int]:
    """The faces that came or went after a position, each once."""
    query = select(ChangeRow.face_id).where(ChangeRow.id > position).distinct()
    return list(session.scalars(query))
