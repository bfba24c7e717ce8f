"""What a dedupe answers with, of a folder or of the gallery. All of it frozen."""

from __future__ import annotations

from dataclasses import dataclass, field

from scipy.special import expit

from gallery.store.decisions import face_key
from gallery.store.plans import State
from gallery.store.records import FaceRecord
from gallery.types import Box, IdentityRef


@dataclass(frozen=True)
class FoundFace:
    """A face of a photo.

    key : its photo's hash and its box, which name it for ever.  face_id, name : of whom, when it is
    enrolled.
    """

    photo: str
    box: Box
    key: str
    face_id: int | None = None
    name: str = ""


@dataclass(frozen=True)
class Copies:
    """Photos that are copies of one another. deciding : the least sure link between them.

    faces : in a gallery, the enrolled faces; the first is the one to keep.
    """

    photos: tuple[str, ...]
    probability: float
    deciding: tuple[str, str]
    why: str
    faces: tuple[FoundFace, ...] = ()


@dataclass(frozen=True)
class Person:
    """Faces of one person. id : stays when photos are added.  confirmed : by the user."""

    id: str
    faces: tuple[FoundFace, ...]
    probability: float
    deciding: tuple[FoundFace, FoundFace]
    why: str
    confirmed: bool = False


@dataclass(frozen=True)
class SameIdentities:
    """Identities that seem to be one person. ids : in a gallery.  deciding : a face of each."""

    names: tuple[str, ...]
    ids: tuple[int, ...]
    probability: float
    deciding: tuple[FoundFace, FoundFace]
    why: str


@dataclass(frozen=True)
class Misfiled:
    """A photo that seems to be under the wrong name.

    suggested : whose it seems to be; None when nobody's here.  nearest : the face that says so: of
    the suggested, or else of the identity it is under.
    """

    face: FoundFace
    identity: str
    suggested: str | None
    probability: float
    nearest: FoundFace
    why: str
    identity_id: int | None = None
    suggested_id: int | None = None


@dataclass(frozen=True)
class Findings:
    """Everything, the most certain first, of people and copies the largest groups first.

    skipped : (photo, reason).  folders_are_people : whether the folder was taken for people by
    name, a folder each.  folders : how many there are right inside.  state : of the gallery when
    it was read; None of a folder.
    """

    photos: int
    faces: int
    copies: tuple[Copies, ...] = ()
    people: tuple[Person, ...] = ()
    identities: tuple[SameIdentities, ...] = ()
    misfiled: tuple[Misfiled, ...] = ()
    skipped: tuple[tuple[str, str], ...] = field(default=())
    folders_are_people: bool = False
    folders: int = 0
    state: State | None = field(default=None, compare=False, repr=False)


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
class GalleryFindings:
    """What was found in the gallery. state : what it was when it was read, as plans know it."""

    identities: int
    faces: int
    same_people: tuple[SamePerson, ...]
    same_faces: tuple[SameFace, ...]
    misfiled: tuple[WrongIdentity, ...] = ()
    state: State | None = field(default=None, compare=False, repr=False)


def findings_of(report: GalleryFindings) -> Findings:
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
