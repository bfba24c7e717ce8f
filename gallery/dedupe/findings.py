"""What a dedupe answers with, of a folder or of the gallery. All of it frozen."""

from __future__ import annotations

from dataclasses import dataclass, field

from gallery.store.plans import State
from gallery.types import Box


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
