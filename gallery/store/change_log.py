"""The monotonic log of added, moved and deleted faces, and notes of clean-up work still to do.

A note is a random value, so that a note written meanwhile is not cleared.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from gallery.store.tables import ChangeRow, MarkRow

_LATEST = select(func.max(ChangeRow.id))
_SCRUB, _HEAD_REMOVAL, _UNSOUGHT = "to_scrub", "head_to_drop", "unsought_bytes"


def log_changes(session: Session, face_ids: Sequence[int]) -> None:
    """Log that these faces were added, moved or deleted; the faces table tells which."""
    if face_ids:
        session.execute(insert(ChangeRow), [{"face_id": i} for i in face_ids])


def latest_change(session: Session) -> int:
    """Return the newest position in the log; 0 when it is empty."""
    return session.scalar(_LATEST) or 0


def request_scrub(session: Session) -> None:
    """Note, in the transaction that deletes, that erased bytes remain in the files."""
    session.merge(MarkRow(name=_SCRUB, value=uuid4().hex))


def pending_scrub(session: Session) -> str | None:
    """Return the note that erased bytes remain, if there is one."""
    return session.scalar(select(MarkRow.value).where(MarkRow.name == _SCRUB))


def clear_scrub(session: Session, note: str) -> None:
    """Clear a note after scrubbing; a newer one stays."""
    session.execute(delete(MarkRow).where(MarkRow.name == _SCRUB, MarkRow.value == note))


def request_head_removal(session: Session) -> None:
    """Note, in the transaction that deletes, that the gallery's own head was trained on them."""
    session.merge(MarkRow(name=_HEAD_REMOVAL, value=uuid4().hex))


def pending_head_removal(session: Session) -> str | None:
    """Return the note that the gallery's own head must be removed, if there is one."""
    return session.scalar(select(MarkRow.value).where(MarkRow.name == _HEAD_REMOVAL))


def clear_head_removal(session: Session, note: str) -> None:
    """Clear a note after deleting the head's files; a newer one stays."""
    session.execute(delete(MarkRow).where(MarkRow.name == _HEAD_REMOVAL, MarkRow.value == note))


def note_unsought(session: Session) -> None:
    """Note, in the transaction that deletes or replaces them, that bytes of people may be left.

    A later erasure does not know them, so that it cannot search for them: it rebuilds the file.
    """
    session.merge(MarkRow(name=_UNSOUGHT, value=uuid4().hex))


def unsought(session: Session) -> str | None:
    """Return the note that such bytes may be left, if there is one."""
    return session.scalar(select(MarkRow.value).where(MarkRow.name == _UNSOUGHT))


def clear_unsought(session: Session, note: str) -> None:
    """Clear a note after the file was rebuilt; a newer one stays."""
    session.execute(delete(MarkRow).where(MarkRow.name == _UNSOUGHT, MarkRow.value == note))


def changed_since(session: Session, position: int) -> list[int]:
    """Return the ids of faces added, moved or deleted after a position, each once."""
    query = select(ChangeRow.face_id).where(ChangeRow.id > position).distinct()
    return list(session.scalars(query))
