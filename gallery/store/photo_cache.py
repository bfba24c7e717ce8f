"""Cached detections and encodings of photos in folders, so that no photo is read twice.

Any erasure deletes the whole cache: a photo of the erased person may be in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from gallery.batching import batched
from gallery.names import printable
from gallery.store.change_log import note_unsought
from gallery.store.dedupe_tables import AppliedStepRow, CachedPhotoRow, FaceDecisionRow
from gallery.types import DIMENSION, NO_PIXELS, Box, Encodings, Face, Float32, Photo, UInt8

_PHOTOS_PER_QUERY = 5_000
_BOX_LENGTH, _LANDMARKS_LENGTH = 4, 10
_ROW_LENGTH = _BOX_LENGTH + _LANDMARKS_LENGTH + DIMENSION + 4


@dataclass(frozen=True)
class CachedPhoto:
    """The detections and encodings of one photo with f faces.

    mark : digest of the photo's path, size and time, and of the pipeline.
    preview : a small grey JPEG.  hashes : uint8 (k, 8), perceptual hashes.
    boxes : float32 (f, 4), left, top, right, bottom in pixels of the upright photo, the largest
        face first.  landmarks : float32 (f, 5, 2).  encodings : f rows.
    probabilities, sharpness : float32 (f,), see gallery.types.Face.
    reason : why the photo is unusable, or empty; if it is set, all else is empty.
    taken, note : see gallery.types.Photo; note is None if neither is known.
    """

    mark: str
    sha256: str
    width: int
    height: int
    preview: bytes
    hashes: UInt8
    boxes: Float32
    landmarks: Float32
    probabilities: Float32
    sharpness: Float32
    encodings: Encodings
    reason: str = ""
    taken: str | None = None
    note: str | None = None

    def as_photo(self, source: str, working_side: int) -> Photo | None:
        """Return the photo without its pixels; None if that is not known completely.

        working_side : the longest that a photo's pixels are decoded to.
        """
        if self.note is None:
            return None
        return Photo(
            NO_PIXELS,
            max(1.0, max(self.width, self.height) / working_side),
            self.width,
            self.height,
            self.sha256,
            source,
            self.taken,
            self.note,
        )

    def face(self, i: int) -> Face:
        """Return the i-th face as the detector found it."""
        box = Box(*self.boxes[i].tolist())
        return Face(box, self.landmarks[i], float(self.probabilities[i]), float(self.sharpness[i]))


@dataclass(frozen=True)
class FaceDecision:
    """The user's decision whether two faces are the same person.

    first, second : face keys, see gallery.store.decisions.face_key.
    group_id : the group they were confirmed in; empty for different people.
    """

    first: str
    second: str
    same: bool
    group_id: str


def without_preview(photo: CachedPhoto) -> CachedPhoto:
    """Return the photo without its JPEG, to hold many in memory."""
    return replace(photo, preview=b"")


def unusable_photo(mark: str, reason: str) -> CachedPhoto:
    """Return the entry of an unusable photo. reason : may name a file, in any bytes."""
    no_boxes = np.empty((0, 4), np.float32)
    return CachedPhoto(
        mark,
        "",
        0,
        0,
        b"",
        np.empty((0, 8), np.uint8),
        no_boxes,
        no_boxes.reshape(0, 5, 2),
        no_boxes[:, 0],
        no_boxes[:, 0],
        Encodings.none(),
        printable(reason)[:1000],
    )


def usable_marks(session: Session, marks: Iterable[str]) -> set[str]:
    """Return those of these marks that are cached as usable. An unusable photo is tried again."""
    cached: set[str] = set()
    for batch in batched(marks, _PHOTOS_PER_QUERY):
        query = select(CachedPhotoRow.mark).where(CachedPhotoRow.mark.in_(batch))
        cached |= set(session.scalars(query.where(CachedPhotoRow.reason == "")))
    return cached


def save(session: Session, photos: Sequence[CachedPhoto]) -> None:
    """Store photos, replacing those that another process stored meanwhile."""
    session.execute(delete(CachedPhotoRow).where(CachedPhotoRow.mark.in_([p.mark for p in photos])))
    session.execute(
        insert(CachedPhotoRow),
        [
            {
                "mark": p.mark,
                "sha256": p.sha256,
                "width": p.width,
                "height": p.height,
                "look": p.preview,
                "hashes": p.hashes.tobytes(),
                "faces": _pack_faces(p),
                "reason": p.reason,
                "taken": p.taken,
                "note": p.note,
            }
            for p in photos
        ],
    )


def photos(session: Session, marks: Sequence[str]) -> Iterator[CachedPhoto]:
    """Yield the cached ones of these photos, in order, with only a block of them in memory."""
    for batch in batched(marks, _PHOTOS_PER_QUERY):
        rows = {
            row.mark: row
            for row in session.scalars(select(CachedPhotoRow).where(CachedPhotoRow.mark.in_(batch)))
        }
        for mark in batch:
            if mark in rows:
                yield _unpack(rows[mark])
        session.expunge_all()


def count(session: Session) -> int:
    """Return the number of cached photos."""
    return session.scalar(select(func.count()).select_from(CachedPhotoRow)) or 0


def forget_photos(session: Session, sha256s: Iterable[str]) -> None:
    """Delete the whole cache, and the decisions on faces in these photos and on their groups.

    The cache may hold other photos of the erased person.
    """
    erased = tuple(sha256s)
    if session.execute(delete(CachedPhotoRow)).rowcount:  # type: ignore[attr-defined]
        note_unsought(session)
    rows = session.scalars(select(FaceDecisionRow)).all()
    about = {row for row in rows if row.first.startswith(erased) or row.second.startswith(erased)}
    groups = {row.person for row in about if row.same}
    for row in rows:
        if row in about or (row.same and row.person in groups):
            session.delete(row)
    for step in session.scalars(select(AppliedStepRow).where(AppliedStepRow.kind == "decision")):
        if any(sha256 in json.dumps(step.kept) for sha256 in erased):
            session.delete(step)
    session.flush()


def all_decisions(session: Session) -> list[FaceDecision]:
    """Return all decisions on faces in photos, oldest first."""
    return [
        FaceDecision(row.first, row.second, row.same, row.person)
        for row in session.scalars(select(FaceDecisionRow).order_by(FaceDecisionRow.created_at))
    ]


def _pack_faces(photo: CachedPhoto) -> bytes:
    """Pack each face as a little-endian float32 row: box, landmarks, encoding, norm, agreement,
    probability, sharpness.
    """
    faces = len(photo.boxes)
    rows = np.concatenate(
        [
            photo.boxes.reshape(faces, _BOX_LENGTH),
            photo.landmarks.reshape(faces, _LANDMARKS_LENGTH),
            photo.encodings.vectors,
            photo.encodings.norms[:, None],
            photo.encodings.agreement[:, None],
            photo.probabilities[:, None],
            photo.sharpness[:, None],
        ],
        axis=1,
    )
    return rows.astype("<f4").tobytes()


def _unpack(row: CachedPhotoRow) -> CachedPhoto:
    faces = np.frombuffer(row.faces, dtype="<f4").reshape(-1, _ROW_LENGTH).astype(np.float32)
    start = _BOX_LENGTH + _LANDMARKS_LENGTH
    return CachedPhoto(
        row.mark,
        row.sha256,
        row.width,
        row.height,
        row.look,
        np.frombuffer(row.hashes, dtype=np.uint8).reshape(-1, 8),
        faces[:, :_BOX_LENGTH],
        faces[:, _BOX_LENGTH:start].reshape(-1, 5, 2),
        faces[:, -2],
        faces[:, -1],
        Encodings(faces[:, start : start + DIMENSION], faces[:, -4], faces[:, -3]),
        row.reason,
        row.taken,
        row.note,
    )
