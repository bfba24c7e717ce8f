"""What the user said of two faces or of two identities, as a query asks for it."""

from __future__ import annotations

from collections.abc import Collection
from itertools import combinations

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from gallery.store.decisions import on_faces
from gallery.store.tables import DistinctRow, FaceDecisionRow, FaceRow, PhotoRow
from gallery.types import Box

_STRAY = 2.0
"""Pixels that one face's box may be moved by when a photo is looked at again."""


def face_key(sha256: str, box: Box) -> str:
    """What names a face of a photo for ever: the photo's hash and the box in whole pixels."""
    return f"{sha256} {' '.join(str(round(v)) for v in box.as_list())}"


def not_of(session: Session, sha256: str, box: Box) -> set[int]:
    """The identities, by id, of which the user said that a face of theirs is someone else than the
    face in this box of this photo.
    """
    # All keys of the photo and no others: what comes after a blank is an exclamation mark.
    low, high = f"{sha256} ", f"{sha256}!"
    first, second = FaceDecisionRow.first, FaceDecisionRow.second
    query = select(first, second).where(
        FaceDecisionRow.same.is_(False),
        on_faces(),  # of a set that is not one person any two may be
        or_(first.between(low, high), second.between(low, high)),
    )
    found: set[int] = set()
    for pair in session.execute(query):
        for mine, other in ((pair[0], pair[1]), (pair[1], pair[0])):
            if mine.startswith(low) and _one_place(mine, face_key(sha256, box)):
                found |= _owners(session, other)
    return found


def are_two(session: Session, identity_ids: Collection[int]) -> bool:
    """Whether the user said of every two of these that they are two people."""
    pairs = list(combinations(sorted(identity_ids), 2))
    query = select(func.count()).select_from(DistinctRow)
    known = (
        session.scalar(query.where(DistinctRow.first_id == a, DistinctRow.second_id == b))
        for a, b in pairs
    )
    return bool(pairs) and all(known)


def _owners(session: Session, key: str) -> set[int]:
    """Whose enrolled face has this key."""
    query = select(FaceRow).join(PhotoRow).where(PhotoRow.sha256 == key.split(" ")[0])
    return {
        row.identity_id
        for row in session.scalars(query)
        if _one_place(
            key, face_key(key.split(" ")[0], Box(row.left, row.top, row.right, row.bottom))
        )
    }


def _one_place(key: str, other: str) -> bool:
    places = (map(float, k.split(" ")[1:]) for k in (key, other))
    return all(abs(a - b) <= _STRAY for a, b in zip(*places, strict=True))
