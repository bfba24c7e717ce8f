"""The JSON of the API as its description tells it; `gallery.json_forms.to_json` makes it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gallery.store.jobs import JobState
from gallery.types import EnrolOutcome, Outcome, Refusal, Verdict

_HOPPER = {"id": 1, "name": "Grace Hopper"}
_FACE = {
    "box": [150.1, 65.9, 363.2, 340.7],
    "landmarks": [[207.1, 168.4], [302.5, 164.9], [261.0, 221.7], [219.9, 264.2], [303.8, 261.0]],
    "probability": 0.999987,
    "sharpness": 212.4,
}
_CANDIDATE = {
    "identity": _HOPPER,
    "face_id": 1,
    "photo": "grace1.jpg",
    "similarity": 0.97,
    "probability": 0.99,
    "verdict": "same",
}
DECISION_EXAMPLE: dict[str, Any] = {
    "outcome": "match",
    "identity": _HOPPER,
    "probability": 0.99,
    "false_positive_identification_rate": 0.01,
    "photo": "unknown.jpg",
    "face": _FACE,
    "candidates": [_CANDIDATE],
    "decided_by": _CANDIDATE,
    "runner_up": None,
    "reason": "only Grace Hopper matches, by grace1.jpg",
}

Id = Annotated[int, Field(ge=1, le=2**63 - 1)]


class Shape(BaseModel):
    """Every field is always there, and no other."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """Why it could not be done (RFC 9457)."""

    type: str = Field(description="urn:face-gallery: and a few words with hyphens.")
    title: str
    status: int
    detail: str = Field(description="The value, the limit and the remedy.")


PROBLEMS: dict[int | str, dict[str, Any]] = {
    kind: {
        "description": said,
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        },
    }
    for kind, said in (
        ("4XX", "The request, the photo or the name cannot be used; or a key is needed."),
        ("5XX", "Too much to do, or the gallery cannot be read or written; try again."),
    )
}


class Ref(Shape):
    """An identity, as an answer names it."""

    id: int
    name: str


class FoundFace(Shape):
    """A face of the photo. box : left, top, right, bottom in pixels of the upright photo."""

    box: list[float]
    landmarks: list[list[float]]
    probability: float
    sharpness: float


class Candidate(Shape):
    """The enrolled face that speaks for one identity, and the verdict on it."""

    identity: Ref
    face_id: int
    photo: str
    similarity: float
    probability: float
    verdict: Verdict


class Decision(Shape):
    """Exactly one identity, or none."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [DECISION_EXAMPLE]})

    outcome: Outcome
    identity: Ref | None
    probability: float | None
    false_positive_identification_rate: float | None
    photo: str
    face: FoundFace | None
    candidates: list[Candidate]
    decided_by: Candidate | None
    runner_up: Candidate | None
    reason: str


class Decisions(Shape):
    """A decision for each face, the largest first."""

    answers: list[Decision]


class Comparison(Shape):
    """same : 1 or 0."""

    same: Literal[0, 1]
    probability: float
    similarity: float
    photos: list[str]
    faces: list[FoundFace]


class Identity(Shape):
    """A person of the gallery."""

    id: int
    name: str
    external_id: str | None
    details: dict[str, str]
    faces: int
    created_at: str
    updated_at: str
    expires_at: str | None


class EnrolledFace(Shape):
    """A face that is enrolled."""

    face_id: int
    identity: Ref
    photo: str
    photo_sha256: str
    box: list[float]
    probability: float
    sharpness: float
    norm: float
    created_at: str


class IdentityWithFaces(Identity):
    """A person, each enrolled face."""

    enrolled: list[EnrolledFace]


class Identities(Shape):
    """A page of them. total : how many the search has in all."""

    total: int
    identities: list[Identity]


class Enrolment(Shape):
    """What became of one photo."""

    photo: str
    outcome: EnrolOutcome
    identity: Ref | None
    face_id: int | None
    reason: str
    refusal: Refusal | None = Field(description="Why it was refused; force helps the last one.")
    rivals: list[Ref] = Field(description="The other identities whom the face matches.")


class Enrolments(Shape):
    """What became of each photo, in their order."""

    enrolments: list[Enrolment]


class Changes(Shape):
    """What of an identity is to be changed; what is not given stays."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "Grace Hopper", "details": {"rank": "admiral"}}]},
    )

    name: str | None = None
    external_id: str | None = Field(default=None, description="Empty: remove it.")
    details: dict[str, str] = Field(
        default_factory=dict, description="Added to those there are; an empty value removes one."
    )


class Expiry(Shape):
    """When a person is to be erased."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"expires_at": "90d"}]}
    )

    expires_at: str = Field(description="A date, a time, or days from now as `90d`; empty: never.")


class Others(Shape):
    """Identities to be merged into another one, by number."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"others": [2]}]})

    others: Annotated[list[Id], Field(min_length=1, max_length=100)]


class Merged(Identity):
    """The one that was kept. merge_id : what undoes it."""

    merge_id: int


class Merge(Shape):
    """A merge that can be undone."""

    merge_id: int
    kept: int
    others: list[int]
    created_at: str


class Merges(Shape):
    """The newest first."""

    merges: list[Merge]


class Backup(Shape):
    """A backup, and the highest numbers that are in it. made : it was written whole."""

    id: str
    newest_identity_id: int
    newest_face_id: int
    created_at: str
    made: bool


class Searched(Shape):
    """The gallery's folders, in which no trace was left. too_plain : texts not looked for."""

    files: int
    bytes: int
    too_plain: int


class Receipt(Shape):
    """What was erased: numbers alone. also : others that were merged into it.

    backups : those that hold it still.
    """

    receipt: str
    identity_id: int
    also: list[int]
    whole: bool
    faces: int
    erased_at: str
    erased: dict[str, int]
    learned: list[str]
    backups: list[Backup]
    searched: Searched


class SamePerson(Shape):
    """Two identities that seem to be one person, and their two most alike faces."""

    identities: list[Identity]
    probability: float
    deciding: list[EnrolledFace]


class SameFace(Shape):
    """One picture of a face, enrolled twice."""

    faces: list[EnrolledFace]
    similarity: float


class WrongName(Shape):
    """An enrolled face that seems to be under the wrong name, by `nearest`."""

    face: EnrolledFace
    suggested: Identity | None
    probability: float
    nearest: EnrolledFace
    why: str


class Duplicates(Shape):
    """What a dedupe found, less who was erased, merged or told apart since."""

    identities: int
    faces: int
    same_people: list[SamePerson]
    same_faces: list[SameFace]
    misfiled: list[WrongName]


class Job(Shape):
    """Long work. done, total : how far it is."""

    id: str
    kind: str
    state: JobState
    done: int
    total: int
    result: Duplicates | None
    error: str | None
    created_at: str
    updated_at: str


class Expected(Shape):
    """What is expected of a gallery of so many identities at the promise."""

    identities: int
    known_found: float


class InUse(Shape):
    """A calibration on the user's own people; report : what was measured, before and after."""

    version: int
    created_at: str
    report: dict[str, Any]


class Promise(Shape):
    """The promise about strangers, for the gallery as it is now."""

    false_positive_identification_rate: float
    identities: int
    bias: float
    known_found: float = Field(description="Expected, on photos like those the head learned from.")
    expected: list[Expected]
    calibration: InUse | None
    said: str


class Health(Shape):
    """status : alive, or ready."""

    status: str
