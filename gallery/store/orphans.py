"""Rows that nothing refers to, left by an interruption or by another program."""

from __future__ import annotations

from sqlalchemy import Exists, delete, func, select
from sqlalchemy.orm import Session

from gallery.store.change_log import request_scrub
from gallery.store.tables import FaceRow, IdentityRow, PhotoRow


def photo_count(session: Session) -> int:
    """Return the number of photos that no face refers to."""
    return session.scalar(select(func.count()).select_from(PhotoRow).where(~_photo_used())) or 0


def drop_photos(session: Session) -> int:
    """Delete the photos that no face refers to, and note that their bytes must be scrubbed.

    Returns how many there were.
    """
    count = photo_count(session)
    if count:
        session.execute(delete(PhotoRow).where(~_photo_used()))
        request_scrub(session)
    return count


def identity_ids(session: Session) -> list[int]:
    """Return the ids of identities without a face, which no query can match."""
    used = select(FaceRow.id).where(FaceRow.identity_id == IdentityRow.id).exists()
    return list(session.scalars(select(IdentityRow.id).where(~used).order_by(IdentityRow.id)))


def _photo_used() -> Exists:
    return select(FaceRow.id).where(FaceRow.photo_id == PhotoRow.id).exists()
