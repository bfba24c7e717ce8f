"""Rows that nothing refers to: an interrupted or a foreign hand left them."""

from __future__ import annotations

from sqlalchemy import Exists, delete, func, select
from sqlalchemy.orm import Session

from gallery.store.change_log import remember_to_scrub
from gallery.store.tables import FaceRow, IdentityRow, PhotoRow


def photos(session: Session) -> int:
    """How many photos no face is of."""
    return session.scalar(select(func.count()).select_from(PhotoRow).where(~_photo_used())) or 0


def drop_photos(session: Session) -> int:
    """Drop those, and note that their bytes are to be erased; how many."""
    count = photos(session)
    if count:
        session.execute(delete(PhotoRow).where(~_photo_used()))
        remember_to_scrub(session)
    return count


def people(session: Session) -> list[int]:
    """The ids of identities without a face: nobody can match them."""
    used = select(FaceRow.id).where(FaceRow.identity_id == IdentityRow.id).exists()
    return list(session.scalars(select(IdentityRow.id).where(~used).order_by(IdentityRow.id)))


def _photo_used() -> Exists:
    return select(FaceRow.id).where(FaceRow.photo_id == PhotoRow.id).exists()
