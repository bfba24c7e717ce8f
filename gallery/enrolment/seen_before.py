"""Whether a picture was enrolled before, also as another file."""

from __future__ import annotations

from collections.abc import Sequence

from gallery.matching.decision import matches
from gallery.store import faces
from gallery.store.database import Database
from gallery.store.records import FaceRecord
from gallery.types import Candidate

_SAME_BITS = 5
"""Of 64. Pictures saved anew or resized differ in up to 4, two shots of one scene in more."""


def same_picture(
    database: Database, sha256: str, picture_hash: str | None, candidates: Sequence[Candidate]
) -> FaceRecord | None:
    """Return the enrolled face from the same file, or from the same picture in another file.

    picture_hash : perceptual, see gallery.store.records.FaceRecord.
    candidates : of the photo's face; those that match are looked at.
    """
    near = [candidate.face_id for candidate in matches(candidates)]
    with database.reading() as session:
        records = faces.records_by_id(session, near)
    for record in records.values():
        if record.photo_sha256 == sha256 or _is_near(record.picture_hash, picture_hash):
            return record
    return None


def _is_near(first: str | None, second: str | None) -> bool:
    """Whether two perceptual hashes differ in few bits."""
    if first is None or second is None:
        return False
    return (int(first, 16) ^ int(second, 16)).bit_count() <= _SAME_BITS
