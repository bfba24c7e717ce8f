"""The results of a dedupe of a folder or of the gallery."""

from __future__ import annotations

from dataclasses import dataclass, field

from scipy.special import expit

from gallery.store.decisions import face_key
from gallery.store.plans import State
from gallery.store.records import FaceRecord
from gallery.types import Box, IdentityRef
from gallery.vision.folder import LeftOut


@dataclass(frozen=True)
class FoundFace:
    """A face of a photo.

    key : its photo's hash and its box, a permanent id.
    face_id, name : of an enrolled face, its id and its identity's name.
    """

    photo: str
    box: Box
    key: str
    face_id: int | None = None
    name: str = ""


@dataclass(frozen=True)
class Copies:
    """Photos that are copies of one another.

    deciding : the least certain link between them.
    faces : in the gallery, the enrolled faces; the first is the one to keep.
    """

    photos: tuple[str, ...]
    probability: float
    deciding: tuple[str, str]
    why: str
    faces: tuple[FoundFace, ...] = ()


@dataclass(frozen=True)
class Person:
    """Faces of one person.

    id : stable when photos are added.  deciding : the face that is least certain, and the one it is
    most similar to.  confirmed : by the user.
    """

    id: str
    faces: tuple[FoundFace, ...]
    probability: float
    deciding: tuple[FoundFace, FoundFace]
    why: str
    confirmed: bool = False


@dataclass(frozen=True)
class SameIdentities:
    """Identities that seem to be one person.

    ids : in the gallery; empty for a folder.  deciding : a face of each.
    """

    names: tuple[str, ...]
    ids: tuple[int, ...]
    probability: float
    deciding: tuple[FoundFace, FoundFace]
    why: str = "their faces match on average"


@dataclass(frozen=True)
class Misfiled:
    """A photo that seems to be under the wrong name.

    suggested : the name it seems to belong under; None if it matches no one here.
    nearest : the most similar face of the suggested name, or else of the one it is under.
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
    """All findings, the most certain first; people and copies by size, the largest first.

    skipped : (photo, reason).
    folders_are_people : whether each subfolder was taken for one person.
    folders : the number of subfolders with photos.
    left_out : files of the folder that are no photos, and folders that were not opened.
    state : the gallery's when it was read; None for a folder.
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
    left_out: tuple[LeftOut, ...] = ()
    state: State | None = field(default=None, compare=False, repr=False)


_EVEN_COSINE, _COSINE_STEP = 0.985, 0.0012
"""Measured on LFW, as gallery.matching.lookalikes.SAME_PICTURE_COSINE is."""


@dataclass(frozen=True)
class SamePerson:
    """Two identities that seem to be one person.

    probability : by the mean margin over all pairs of their faces.
    deciding : the most similar pair of faces.
    """

    identities: tuple[IdentityRef, IdentityRef]
    probability: float
    deciding: tuple[FaceRecord, FaceRecord]


@dataclass(frozen=True)
class SameFace:
    """One picture of a face, enrolled twice. similarity : cosine of the encodings."""

    faces: tuple[FaceRecord, FaceRecord]
    similarity: float


@dataclass(frozen=True)
class WrongIdentity:
    """An enrolled face that seems to be under the wrong name.

    suggested : the identity it seems to be, or None.
    nearest : the most similar face of the suggested identity, or else of the one it is under.
    """

    face: FaceRecord
    suggested: IdentityRef | None
    probability: float
    nearest: FaceRecord
    why: str


@dataclass(frozen=True)
class GalleryFindings:
    """The findings in the gallery.

    state : the gallery's when it was read, see gallery.store.plans.
    """

    identities: int
    faces: int
    same_people: tuple[SamePerson, ...]
    same_faces: tuple[SameFace, ...]
    misfiled: tuple[WrongIdentity, ...] = ()
    state: State | None = field(default=None, compare=False, repr=False)


def findings_of(report: GalleryFindings) -> Findings:
    """Convert to the form that plans and reports use."""
    return Findings(
        photos=report.faces,
        faces=report.faces,
        copies=tuple(
            Copies(
                photos=(first.photo, second.photo),
                probability=_same_picture_probability(finding.similarity),
                deciding=(first.photo, second.photo),
                why=f"one picture of a face, enrolled twice (cosine {finding.similarity:.3f})",
                faces=(_face(first), _face(second)),
            )
            for finding in report.same_faces
            for first, second in [finding.faces]
        ),
        identities=tuple(
            SameIdentities(
                names=(finding.identities[0].name, finding.identities[1].name),
                ids=(finding.identities[0].id, finding.identities[1].id),
                probability=finding.probability,
                deciding=(_face(finding.deciding[0]), _face(finding.deciding[1])),
            )
            for finding in report.same_people
        ),
        misfiled=tuple(
            Misfiled(
                face=_face(finding.face),
                identity=finding.face.identity.name,
                suggested=None if finding.suggested is None else finding.suggested.name,
                probability=finding.probability,
                nearest=_face(finding.nearest),
                why=finding.why,
                identity_id=finding.face.identity.id,
                suggested_id=None if finding.suggested is None else finding.suggested.id,
            )
            for finding in report.misfiled
        ),
        state=report.state,
    )


def _same_picture_probability(cosine: float) -> float:
    return float(expit((cosine - _EVEN_COSINE) / _COSINE_STEP))


def key_of(record: FaceRecord) -> str:
    """Return the key of an enrolled face; see FoundFace."""
    return face_key(record.photo_sha256, record.box)


def _face(record: FaceRecord) -> FoundFace:
    return FoundFace(record.photo, record.box, key_of(record), record.id, record.identity.name)
