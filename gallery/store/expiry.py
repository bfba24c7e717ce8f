"""Expiry dates that faces take along: an order to erase a person is not lost by moving their faces.

A face that moves brings the date of the identity that it leaves. An identity is due at the earliest
of its own date and those that its faces brought, so that it has its own again when they have moved
back. IdentityRow's `lent_expiry` holds its own date (`own`), and for each face that came from
another identity the id of the first such one, and the date that it brought (`faces`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from gallery.batching import batched
from gallery.store.tables import IDS_PER_QUERY, FaceRow, IdentityRow


def earliest(*moments: datetime | None) -> datetime | None:
    """Return the earliest; None, which is never, only if there is no other."""
    return min((moment for moment in moments if moment is not None), default=None)


def stored(moment: datetime | None) -> str | None:
    """Return a date as text for JSON."""
    return None if moment is None else moment.isoformat()


def read(text: str | None) -> datetime | None:
    """Return the date that `stored` wrote."""
    return None if text is None else datetime.fromisoformat(text)


def set_expiry(row: IdentityRow, moment: datetime | None) -> None:
    """Set when an identity is due, whatever its faces brought."""
    row.expires_at, row.lent_expiry = moment, None


def move_along(session: Session, face_id: int, source_id: int, target_id: int) -> None:
    """Let a face that moves take the expiry along; back where it is from it takes none."""
    source = session.get_one(IdentityRow, source_id)
    own, faces = _lent(source)
    origin, brought = faces.pop(str(face_id), (source_id, None))
    _set_lent(source, own, faces)
    if origin != target_id:
        brought = stored(earliest(own, read(brought)))
        target = session.get_one(IdentityRow, target_id)
        own, faces = _lent(target)
        _set_lent(target, own, {**faces, str(face_id): (origin, brought)})
    session.flush()


def forget_faces(session: Session, face_ids: Sequence[int]) -> None:
    """Take back what faces brought, before they are erased."""
    for batch in batched(face_ids, IDS_PER_QUERY):
        owners = (
            select(IdentityRow)
            .join(FaceRow, FaceRow.identity_id == IdentityRow.id)
            .where(IdentityRow.lent_expiry.is_not(None), FaceRow.id.in_(batch))
        )
        for row in session.scalars(owners).unique().all():
            own, faces = _lent(row)
            gone = set(map(str, batch))
            _set_lent(row, own, {face: lent for face, lent in faces.items() if face not in gone})
    session.flush()


Lent = dict[str, tuple[int, str | None]]


def _lent(row: IdentityRow) -> tuple[datetime | None, Lent]:
    """Return the identity's own date, and what its faces brought."""
    if row.lent_expiry is None:
        return row.expires_at, {}
    return read(row.lent_expiry["own"]), dict(row.lent_expiry["faces"])


def _set_lent(row: IdentityRow, own: datetime | None, faces: Lent) -> None:
    row.expires_at = earliest(own, *(read(brought) for _, brought in faces.values()))
    row.lent_expiry = {"own": stored(own), "faces": faces} if faces else None
