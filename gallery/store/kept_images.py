"""Images of enrolled faces: crops and photos for re-encoding, and thumbnails for display."""

from __future__ import annotations

import numpy as np
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from gallery.errors import ThumbnailNotFound
from gallery.store.change_log import request_scrub
from gallery.store.packing import drop_packed_images
from gallery.store.records import KeptImage
from gallery.store.tables import KeptImageRow, ThumbnailRow


def save(session: Session, face_id: int, picture: KeptImage) -> None:
    """Store the image to re-encode a face from. Erasing the face erases it."""
    points = [[float(v) for v in point] for point in picture.landmarks]
    session.merge(
        KeptImageRow(face_id=face_id, kind=picture.kind, content=picture.content, landmarks=points)
    )
    session.flush()


def get(session: Session, face_id: int) -> KeptImage | None:
    """Return the image to re-encode a face from, if one is stored."""
    row = session.get(KeptImageRow, face_id)
    if row is None:
        return None
    landmarks = np.array(row.landmarks, dtype=np.float32)
    return KeptImage("photo" if row.kind == "photo" else "chip", row.content, landmarks)


def count_and_bytes(session: Session) -> tuple[int, int]:
    """Return the number of stored images and their total bytes, without thumbnails."""
    count, total = session.execute(
        select(func.count(), func.coalesce(func.sum(func.length(KeptImageRow.content)), 0))
    ).one()
    return int(count), int(total)


def drop_all(session: Session) -> int:
    """Delete all images for re-encoding, also of faces that a merge or a plan set aside.

    Returns how many there were. Their bytes still have to be scrubbed, which is noted.
    """
    count, _ = count_and_bytes(session)
    session.execute(delete(KeptImageRow))
    count += drop_packed_images(session)
    request_scrub(session)
    return count


def add_thumbnail(session: Session, face_id: int, jpeg: bytes) -> None:
    """Store a face's thumbnail, replacing an earlier one. Erasing the face erases it."""
    session.merge(ThumbnailRow(face_id=face_id, jpeg=jpeg))
    session.flush()


def thumbnail(session: Session, face_id: int) -> bytes:
    """Return a face's thumbnail as JPEG. Raises ThumbnailNotFound."""
    jpeg = session.scalar(select(ThumbnailRow.jpeg).where(ThumbnailRow.face_id == face_id))
    if jpeg is None:
        raise ThumbnailNotFound(
            f"there is no thumbnail of face {face_id}; thumbnails are stored only for faces"
            " enrolled while GALLERY_THUMBNAILS is true"
        )
    return jpeg
