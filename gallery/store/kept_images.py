"""Images of enrolled faces: crops and photos to encode a face again, and thumbnails to show."""

from __future__ import annotations

import numpy as np
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from gallery.errors import ThumbnailNotFound
from gallery.store.change_log import remember_to_scrub
from gallery.store.packing import drop_packed_pictures
from gallery.store.records import Picture
from gallery.store.tables import KeptRow, ThumbnailRow


def keep(session: Session, face_id: int, picture: Picture) -> None:
    """Keep one; it goes with its face."""
    points = [[float(v) for v in point] for point in picture.landmarks]
    session.merge(
        KeptRow(face_id=face_id, kind=picture.kind, content=picture.content, landmarks=points)
    )
    session.flush()


def get(session: Session, face_id: int) -> Picture | None:
    """What is kept of a face."""
    row = session.get(KeptRow, face_id)
    if row is None:
        return None
    landmarks = np.array(row.landmarks, dtype=np.float32)
    return Picture("photo" if row.kind == "photo" else "chip", row.content, landmarks)


def size(session: Session) -> tuple[int, int]:
    """How many are kept, and their bytes."""
    count, total = session.execute(
        select(func.count(), func.coalesce(func.sum(func.length(KeptRow.content)), 0))
    ).one()
    return int(count), int(total)


def drop_all(session: Session) -> int:
    """Keep nothing any more, of faces that a merge or a plan put aside neither.

    Returns how many there were; their bytes are to be scrubbed.
    """
    count, _ = size(session)
    session.execute(delete(KeptRow))
    count += drop_packed_pictures(session)
    remember_to_scrub(session)
    return count


def add_thumbnail(session: Session, face_id: int, jpeg: bytes) -> None:
    """Keep one, in the place of an earlier one; it goes with its face."""
    session.merge(ThumbnailRow(face_id=face_id, jpeg=jpeg))
    session.flush()


def thumbnail(session: Session, face_id: int) -> bytes:
    """The JPEG. Raises ThumbnailNotFound."""
    jpeg = session.scalar(select(ThumbnailRow.jpeg).where(ThumbnailRow.face_id == face_id))
    if jpeg is None:
        raise ThumbnailNotFound(
            f"there is no picture of face {face_id}; they are kept only of what is enrolled while"
            " GALLERY_THUMBNAILS is true"
        )
    return jpeg
