"""What deduplicating a gallery answers with."""

from __future__ import annotations

from dataclasses import dataclass, field

from scipy.special import expit

from gallery.dedupe.findings import Copies, Findings, FoundFace, Misfiled, SameIdentities
from gallery.store.plans import State
from gallery.store.records import FaceRecord
from gallery.store.told import face_key
from gallery.types import IdentityRef

_EVEN_COSINE, _COSINE_STEP = 0.985, 0.0012
"""Of LFW's altered photos and of other photos of the same people; see alike.SAME_PICTURE_COSINE."""


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
class WrongIdentity:
    """An enrolled face that seems to be under the wrong name.

    suggested : whose it seems to be, or None.  nearest : the enrolled face that says so.
    """

    face: FaceRecord
    suggested: IdentityRef | None
    probability: float
    nearest: FaceRecord
    why: str


@dataclass(frozen=True)
class GalleryReport:
    """What was found in the gallery. state : what it was when it was read, as plans know it."""

    identities: int
    faces: int
    same_people: tuple[SamePerson, ...]
    same_faces: tuple[SameFace, ...]
    misfiled: tuple[WrongIdentity, ...] = ()
    state: State | None = field(default=None, compare=False, repr=False)


def findings_of(report: GalleryReport) -> Findings:
    """The same in the form that plans and reports are made of."""
    return Findings(
        photos=report.faces,
        faces=report.faces,
        copies=tuple(
            Copies(
                photos=(first.photo, second.photo),
                probability=same_picture(found.similarity),
                deciding=(first.photo, second.photo),
                why=f"one picture of a face, enrolled twice (cosine {found.similarity:.3f})",
                faces=(_found(first), _found(second)),
            )
            for found in report.same_faces
            for first, second in [found.faces]
        ),
        identities=tuple(
            SameIdentities(
                names=(found.identities[0].name, found.identities[1].name),
                ids=(found.identities[0].id, found.identities[1].id),
                probability=found.probability,
                deciding=(_found(found.deciding[0]), _found(found.deciding[1])),
                why="their faces match on average",
            )
            for found in report.same_people
        ),
        misfiled=tuple(
            Misfiled(
                face=_found(one.face),
                identity=one.face.identity.name,
                suggested=None if one.suggested is None else one.suggested.name,
                probability=one.probability,
                nearest=_found(one.nearest),
                why=one.why,
                identity_id=one.face.identity.id,
                suggested_id=None if one.suggested is None else one.suggested.id,
            )
            for one in report.misfiled
        ),
        state=report.state,
    )


def same_picture(cosine: float) -> float:
    """That two faces are of one picture, where only their encodings are left to tell."""
    return float(expit((cosine - _EVEN_COSINE) / _COSINE_STEP))


def _found(record: FaceRecord) -> FoundFace:
    key = face_key(record.photo_sha256, record.box)
    return FoundFace(record.photo, record.box, key, record.id, record.identity.name)
