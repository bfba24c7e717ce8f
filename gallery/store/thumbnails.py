"""Small pictures of enrolled faces, for galleries that keep them."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from gallery.errors import ThumbnailNotFound
from gallery.store.tables import ThumbnailRow


def add(session: Session, face_id: int, jpeg: bytes) -> None:
    """Keep one, in the place of an earlier one; it goes with its face."""
    session.merge(ThumbnailRow(face_id=face_id, jpeg=jpeg))
    session.flush()


def get(session: Session, face_id: int) -> bytes:
    """The JPEG. Raises ThumbnailNotFound."""
    jpeg = session.scalar(select(ThumbnailRow.jpeg).where(ThumbnailRow.face_id == face_id))
    if jpeg is None:
        raise ThumbnailNotFound(
            f"there is no picture of face {face_id}; they are kept only of what is enrolled while"
            " GALLERY_THUMBNAILS is true"
        )
    return jpeg
