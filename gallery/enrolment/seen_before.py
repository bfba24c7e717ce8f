"""Whether a picture was enrolled before, also as another file."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from gallery.matching.decision import matches
from gallery.store import faces
from gallery.store.database import Database
from gallery.store.records import FaceRecord
from gallery.types import Box, Candidate

_SAME_BITS = 5
"""Of 64. Pictures saved anew or resized differ in up to 4, two shots of one scene in more."""


def same_picture(
    database: Database,
    sha256: str,
    box: Box,
    picture_hash: str | None,
    candidates: Sequence[Candidate],
) -> FaceRecord | None:
    """Return this very face if it is enrolled, of whomever, or a match from the same picture.

    sha256 : of the file.  box : of the face.
    picture_hash : perceptual, see gallery.store.records.FaceRecord.
    candidates : of the face; those that match are looked at.
    """
    near = [candidate.face_id for candidate in matches(candidates)]
    with database.reading() as session:
        of_file = faces.records_of_photo(session, sha256)
        matching = faces.records_by_id(session, near).values()
    enrolled = (record for record in of_file if record.box.is_at(box))
    copies = (record for record in matching if _is_near(record.picture_hash, picture_hash))
    return next(chain(enrolled, copies), None)


def _is_near(first: str | None, second: str | None) -> bool:
    """Whether two perceptual hashes differ in few bits."""
    if first is None or second is None:
        return False
    return (int(first, 16) ^ int(second, 16)).bit_count() <= _SAME_BITS
