"""What was seen of photos in folders, kept so that a folder is not read twice, and decisions on it.

It is the user's own: erased as a whole when anyone is forgotten, since a photo of theirs may be in.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from gallery.store.tables import AppliedStepRow, FaceDecisionRow, SeenPhotoRow
from gallery.types import DIMENSION, Encodings, Float32, UInt8

_AT_ONCE = 5_000
_BOX, _POINTS = 4, 10
_FACE = _BOX + _POINTS + DIMENSION + 2


@dataclass(frozen=True)
class SeenPhoto:
    """One photo as it was seen.

    look : a small grey JPEG.  hashes : uint8 (k, 8), of how it looks.
    boxes : float32 (f, 4), left, top, right, bottom in pixels of the upright photo, the largest
        face first.  landmarks : float32 (f, 5, 2).  encodings : of its f faces.
    reason : why it could not be used; then all else is empty.
    """

    mark: str
    sha256: str
    width: int
    height: int
    look: bytes
    hashes: UInt8
    boxes: Float32
    landmarks: Float32
    encodings: Encodings
    reason: str = ""


@dataclass(frozen=True)
class FaceDecision:
    """What the user said of two faces, each named by its photo's hash and its box.

    person : the id of the group that they were confirmed in; empty when they are two people.
    """

    first: str
    second: str
    same: bool
    person: str


def without_look(photo: SeenPhoto) -> SeenPhoto:
    """The same without its picture, for those who keep many in memory."""
    return replace(photo, look=b"")


def unusable(mark: str, reason: str) -> SeenPhoto:
    """A photo that could not be used."""
    none = np.empty((0, 4), np.float32)
    return SeenPhoto(
        mark,
        "",
        0,
        0,
        b"",
        np.empty((0, 8), np.uint8),
        none,
        none.reshape(0, 5, 2),
        Encodings.none(),
        reason[:1000],
    )


def usable(session: Session, marks: Iterable[str]) -> set[str]:
    """Which of these photos were seen already, and could be used: the others may be by now."""
    found: set[str] = set()
    for some in _batches(marks):
        query = select(SeenPhotoRow.mark).where(SeenPhotoRow.mark.in_(some))
        found |= set(session.scalars(query.where(SeenPhotoRow.reason == "")))
    return found


def keep(session: Session, photos: Sequence[SeenPhoto]) -> None:
    """Store photos; one that another process stored meanwhile is replaced."""
    session.execute(delete(SeenPhotoRow).where(SeenPhotoRow.mark.in_([p.mark for p in photos])))
    session.execute(
        insert(SeenPhotoRow),
        [
            {
                "mark": p.mark,
                "sha256": p.sha256,
                "width": p.width,
                "height": p.height,
                "look": p.look,
                "hashes": p.hashes.tobytes(),
                "faces": _packed(p),
                "reason": p.reason,
            }
            for p in photos
        ],
    )


def photos(session: Session, marks: Sequence[str]) -> Iterator[SeenPhoto]:
    """Those that were seen, in blocks, so that not all of them are in memory at once."""
    for some in _batches(marks):
        rows = {
            row.mark: row
            for row in session.scalars(select(SeenPhotoRow).where(SeenPhotoRow.mark.in_(some)))
        }
        for mark in some:
            if mark in rows:
                yield _unpacked(rows[mark])
        session.expunge_all()


def count(session: Session) -> int:
    """How many photos there are."""
    return session.scalar(select(func.count()).select_from(SeenPhotoRow)) or 0


def forget_photos(session: Session, sha256s: Iterable[str]) -> None:
    """Forget all that was seen in folders, where other photos of an erased person may be; and
    what was decided about faces of these photos, and about groups that have one of them.
    """
    gone = tuple(sha256s)
    session.execute(delete(SeenPhotoRow))
    rows = session.scalars(select(FaceDecisionRow)).all()
    about = {row for row in rows if row.first.startswith(gone) or row.second.startswith(gone)}
    people = {row.person for row in about if row.same}
    for row in rows:
        if row in about or (row.same and row.person in people):
            session.delete(row)
    for step in session.scalars(select(AppliedStepRow).where(AppliedStepRow.kind == "decision")):
        if any(sha256 in json.dumps(step.kept) for sha256 in gone):
            session.delete(step)
    session.flush()


def decisions(session: Session) -> list[FaceDecision]:
    """Everything that was decided about faces of photos."""
    return [
        FaceDecision(row.first, row.second, row.same, row.person)
        for row in session.scalars(select(FaceDecisionRow).order_by(FaceDecisionRow.created_at))
    ]


def _batches(marks: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(marks)
    while some := list(islice(remaining, _AT_ONCE)):
        yield some


def _packed(photo: SeenPhoto) -> bytes:
    """Each face a row of box, landmarks, encoding, norm and agreement, little-endian float32."""
    faces = len(photo.boxes)
    rows = np.concatenate(
        [
            photo.boxes.reshape(faces, _BOX),
            photo.landmarks.reshape(faces, _POINTS),
            photo.encodings.vectors,
            photo.encodings.norms[:, None],
            photo.encodings.agreement[:, None],
        ],
        axis=1,
    )
    return rows.astype("<f4").tobytes()


def _unpacked(row: SeenPhotoRow) -> SeenPhoto:
    faces = np.frombuffer(row.faces, dtype="<f4").reshape(-1, _FACE).astype(np.float32)
    at = _BOX + _POINTS
    return SeenPhoto(
        row.mark,
        row.sha256,
        row.width,
        row.height,
        row.look,
        np.frombuffer(row.hashes, dtype=np.uint8).reshape(-1, 8),
        faces[:, :_BOX],
        faces[:, _BOX:at].reshape(-1, 5, 2),
        Encodings(faces[:, at : at + DIMENSION], faces[:, -2], faces[:, -1]),
        row.reason,
    )
