"""The values that pass from one step of the walk to the next. All are frozen."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from gallery.errors import SettingInvalid

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
Bool = npt.NDArray[np.bool_]

NO_PIXELS: UInt8 = np.zeros((0, 0, 3), np.uint8)
"""Of a photo of which only the rest is known."""

AnyPath = str | os.PathLike[str]
"""A path as a program gives it."""

DIMENSION = 128
"""The length of an encoding."""


@dataclass(frozen=True)
class Photo:
    """A decoded photo.

    pixels : uint8 (H, W, 3), RGB, upright; shrunk if the file is larger than the working size.
    scale : pixels of the upright file per pixel of `pixels`; 1.0 if it was not shrunk.
    width, height : the upright file's size in pixels.
    sha256 : of the file's bytes, hexadecimal.
    source : where it came from, as the user named it.
    taken : when it was taken, as far as that is known: 1998, 1998-07 or 1998-07-14.
    note : what is wrong with a file that could be read; mostly empty. It ends an answer's reason.
    full : decodes the file at its own size once, and keeps it: uint8 (height, width, 3). None if
        `pixels` is that.
    """

    pixels: UInt8
    scale: float
    width: int
    height: int
    sha256: str
    source: str
    taken: str | None = None
    note: str = ""
    full: Callable[[], UInt8] | None = None

    def without_pixels(self) -> Photo:
        """Return what is known of the photo besides its pixels."""
        return replace(self, pixels=NO_PIXELS, full=None)

    def noted(self, reason: str) -> str:
        """The reason of an answer about this photo, with the note on its file."""
        return f"{reason}; {self.note}" if self.note else reason


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the upright file. It may reach beyond the border."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def centre(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    @property
    def side(self) -> float:
        """The shorter side: the size of a face."""
        return min(self.width, self.height)

    def contains(self, point: tuple[float, float]) -> bool:
        return self.left <= point[0] <= self.right and self.top <= point[1] <= self.bottom

    def is_at(self, other: Box) -> bool:
        """Whether each box contains the centre of the other."""
        return self.contains(other.centre) and other.contains(self.centre)

    def as_list(self) -> list[float]:
        return [round(v, 1) for v in (self.left, self.top, self.right, self.bottom)]


@dataclass(frozen=True)
class Face:
    """A face found in a photo.

    box, landmarks : pixels of the upright file; landmarks are left eye, right eye, nose and the
        corners of the mouth as the viewer sees them, float32 (5, 2).
    probability : the detector's confidence, 0 to 1.
    sharpness : variance of the Laplacian of the aligned chip's luminance; blurred below about 30.
    """

    box: Box
    landmarks: Float32
    probability: float
    sharpness: float


class Several(StrEnum):
    """What to do with a photo of several faces where one is needed."""

    REFUSE = "refuse"
    LARGEST = "largest"
    CENTRAL = "central"  # the face nearest the photo's centre, as in a portrait

    @classmethod
    def of(cls, value: Several | str) -> Several:
        """The rule, or the rule with this value. Raises SettingInvalid."""
        try:
            return cls(value)
        except ValueError as error:
            known = " or ".join(repr(str(rule)) for rule in cls)
            raise SettingInvalid(f"several is {value!r:.60}, expected {known}") from error

    def pick(self, photo: Photo, faces: Sequence[Face]) -> Face | None:
        """Return the face to use, or None to refuse. faces : at least one, largest first."""
        if self is Several.CENTRAL:
            x, y = photo.width / 2, photo.height / 2
            return min(faces, key=lambda f: (f.box.centre[0] - x) ** 2 + (f.box.centre[1] - y) ** 2)
        return faces[0] if len(faces) == 1 or self is Several.LARGEST else None


@dataclass(frozen=True)
class Encodings:
    """Encodings of n faces.

    vectors : float32 (n, 128), unit length.
    norms : float32 (n,), the length before normalisation, averaged over the views.
    agreement : float32 (n,), how well the views agree: the length of the mean of their unit
        vectors; 1 if all are the same.
    """

    vectors: Float32
    norms: Float32
    agreement: Float32

    @classmethod
    def none(cls) -> Encodings:
        """Return the encodings of no faces."""
        nothing = np.empty(0, dtype=np.float32)
        return cls(np.empty((0, DIMENSION), dtype=np.float32), nothing, nothing)

    @classmethod
    def joined(cls, parts: Sequence[Encodings]) -> Encodings:
        """Concatenate encodings."""
        parts = [cls.none(), *parts]
        return cls(
            np.concatenate([p.vectors for p in parts]),
            np.concatenate([p.norms for p in parts]),
            np.concatenate([p.agreement for p in parts]),
        )

    def __len__(self) -> int:
        return len(self.vectors)

    def row(self, i: int) -> Encodings:
        """Return the i-th encoding alone, (1, 128)."""
        return self.take(np.array([i]))

    def take(self, rows: Int64) -> Encodings:
        """Return these rows, in this order."""
        return Encodings(self.vectors[rows], self.norms[rows], self.agreement[rows])


class Verdict(StrEnum):
    """The head's argmax for one candidate."""

    SAME = "same"
    DIFFERENT = "different"


class Outcome(StrEnum):
    """The answer to one query."""

    MATCH = "match"
    UNKNOWN = "unknown"
    AMBIGUOUS = "ambiguous"
    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"


@dataclass(frozen=True)
class IdentityRef:
    """An identity as an answer names it: id and name."""

    id: int
    name: str


@dataclass(frozen=True)
class Candidate:
    """An identity near the query, its most similar face, and the head's verdict.

    similarity : cosine of the two encodings, -1 to 1.
    probability : that both are the same person, if every second query were a stranger's.
    verdict : the argmax of the head's two outputs at the gallery's operating point. It is stricter
        than an even chance, so that the stated false-alarm rate is kept.
    margin : of the "same" output over the "different" one, in logits, less the operating point;
        the verdict is "same" if it is positive.
    photo : the photo that the face was enrolled from, as it was named then.
    years_apart : from the query's date to that of the identity's photo nearest in time; None if
        either is unknown.
    """

    identity: IdentityRef
    face_id: int
    photo: str
    similarity: float
    probability: float
    verdict: Verdict
    margin: float
    years_apart: float | None = None


@dataclass(frozen=True)
class Decision:
    """The answer for one photo, or for one face of it.

    identity : the one matched identity, or None for every outcome but a match.
    probability : the matched candidate's, or the likeliest candidate's if there is no match; None
        without candidates.
    candidates : one per identity, likeliest first.
    fpir : the stated false-positive identification rate (FPIR) that the verdicts keep;
        None if nothing was judged.
    photo_fpir : the share of photos of as many strangers as were judged here in which at least one
        would match, at that rate.
    """

    outcome: Outcome
    identity: IdentityRef | None
    probability: float | None
    face: Face | None
    candidates: tuple[Candidate, ...]
    reason: str
    fpir: float | None = None
    photo_fpir: float | None = None

    @property
    def decided_by(self) -> Candidate | None:
        """The candidate that made the match."""
        if self.identity is None:
            return None
        return next(c for c in self.candidates if c.identity.id == self.identity.id)

    @property
    def runner_up(self) -> Candidate | None:
        """The likeliest candidate other than the answer."""
        others = (c for c in self.candidates if c.identity != self.identity)
        return next(others, None)


class EnrolOutcome(StrEnum):
    """The outcome of enrolling one photo."""

    ENROLLED = "enrolled"
    ALREADY = "already"
    REFUSED = "refused"
    ERROR = "error"


class Fault(StrEnum):
    """What makes an enrolled face a poor example of its person, see gallery.matching.photo_quality.

    It finds few further photos of the person.
    """

    BLURRED = "blurred"
    FAINT = "faint"  # the encoder makes little of it: blurred, dark, covered, turned away


class Refusal(StrEnum):
    """Why a photo was refused."""

    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"
    MATCHES_ANOTHER = "matches_another"  # can still be enrolled with force
    POOR_PHOTO = "poor_photo"  # a poor example of the person, where only good ones are wanted
    NAME_AMBIGUOUS = "name_ambiguous"  # a near name of several people, among photos of others
    FORGOTTEN = "forgotten"  # erased before; can still be enrolled with force
    MISFILED = "misfiled"  # in another person's folder; can still be enrolled with force


@dataclass(frozen=True)
class Enrolment:
    """The result of enrolling one photo, and the reason.

    identity : the identity that has the face now; None if nothing was stored.
    face_id : the stored face, also if it was enrolled before.
    refusal : why it was refused, for programs.
    rivals : other identities that the face matches.
    notes : what else there is to say, such as that a near name was taken for the one given.
    unlike : enrolled, although it does not look like the identity's other photos.
    faults : what makes it a poor example of the person.
    """

    photo: str
    outcome: EnrolOutcome
    identity: IdentityRef | None
    face_id: int | None
    reason: str
    refusal: Refusal | None = None
    rivals: tuple[IdentityRef, ...] = ()
    notes: tuple[str, ...] = ()
    unlike: bool = False
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class PhotoAnswer:
    """The decisions about a photo's faces, or why the photo could not be read.

    photo : its path, or its name as in messages.
    """

    photo: str
    decisions: tuple[Decision, ...]
    error: str | None


@dataclass(frozen=True)
class Comparison:
    """The result of comparing two photos.

    same : 1 or 0, the argmax.
    similarity : the cosine of the two encodings.
    """

    same: int
    probability: float
    similarity: float
    faces: tuple[Face, Face]
