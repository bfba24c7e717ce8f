"""What deduplicating a gallery answers with."""

from __future__ import annotations

from dataclasses import dataclass

from gallery.store.records import FaceRecord
from gallery.types import IdentityRef


@dataclass(frozen=True)
class SamePerson:
    """Two identities that seem to be one person.

    probability : of the mean margin over all pairs of their faces.  deciding : the most alike pair.
    """

    identities: tuple[IdentityRef, IdentityRef]
    probability: float
    deciding: tuple[FaceRecord, FaceRecord]


@dataclass(frozen=True)
class SameFace:
    """One picture of a face, enrolled twice. similarity : the cosine."""

    faces: tuple[FaceRecord, FaceRecord]
    similarity: float


@dataclass(frozen=True)
class GalleryReport:
    """What was found in the gallery."""

    identities: int
    faces: int
    same_people: tuple[SamePerson, ...]
    same_faces: tuple[SameFace, ...]
