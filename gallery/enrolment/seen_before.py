"""Whether a photo was enrolled or erased before, also as another file."""

from __future__ import annotations

from collections.abc import Sequence

from gallery.dedupe.image_similarity import NEAR_BITS
from gallery.matching.lookalikes import SAME_PICTURE_COSINE
from gallery.store import faces, identities, recalled
from gallery.store.database import Database
from gallery.store.records import FaceRecord
from gallery.types import Candidate


def was_erased(database: Database, name: str, sha256: str) -> bool:
    """Whether a face from this file was erased from this identity."""
    with database.reading() as session:
        record = identities.find(session, name)
        return record is not None and recalled.is_photo_erased(session, record.id, sha256)


def same_picture(
    database: Database, sha256: str, picture_hash: str | None, candidates: Sequence[Candidate]
) -> FaceRecord | None:
    """Return the enrolled face from the same file, or from the same picture in another file.

    picture_hash : perceptual, see gallery.store.records.FaceRecord.
    """
    near = [c.face_id for c in candidates if c.similarity >= SAME_PICTURE_COSINE]
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
    return (int(first, 16) ^ int(second, 16)).bit_count() <= NEAR_BITS
