"""The schemas of the HTTP API's JSON, for its OpenAPI description; `to_json` makes the JSON."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gallery.json_forms.examples import DECISION
from gallery.store.jobs import JobState
from gallery.types import EnrolOutcome, Fault, Outcome, Refusal, Verdict

Id = Annotated[int, Field(ge=1, le=2**63 - 1)]
Box = Annotated[
    list[float], Field(description="Left, top, right, bottom, in pixels of the upright photo.")
]


class Schema(BaseModel):
    """No field is left out, and there are no others."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """Why a request failed (RFC 9457)."""

    type: str = Field(description="`urn:face-gallery:` and the kind of problem, in kebab-case.")
    title: str
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="The offending value, the limit, and the remedy.")


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": description,
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        },
    }
    for status, description in (
        ("4XX", "The request, photo, name or key is invalid, or a limit is exceeded."),
        ("5XX", "The server is overloaded, or the gallery cannot be read or written; try again."),
    )
}


class IdentityRef(Schema):
    """An identity's id and name."""

    id: int
    name: str


class DetectedFace(Schema):
    """A face found in a photo."""

    box: Box
    landmarks: list[list[float]] = Field(
        description="Eyes, nose and corners of the mouth, as x and y in pixels."
    )
    probability: float = Field(description="The detector's probability that this is a face.")
    sharpness: float


class Candidate(Schema):
    """An identity near the query: its deciding enrolled face, and the verdict."""

    identity: IdentityRef
    face_id: int
    photo: str = Field(description="The photo the enrolled face is from.")
    similarity: float = Field(description="Cosine similarity of the encodings.")
    probability: float = Field(description="The probability that it is the same person.")
    verdict: Verdict
    margin: float = Field(
        description="How far it is above the operating point, in logits; above 0 is `same`."
    )
    years_apart: float | None = Field(
        description="Years from the query's date to that of the identity's photo nearest in time;"
        " null if either is unknown."
    )


class Decision(Schema):
    """Exactly one identity, or none."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [DECISION]})

    outcome: Outcome
    identity: IdentityRef | None
    probability: float | None
    false_positive_identification_rate: float | None = Field(
        description="The share of strangers who may get a match at this operating point."
    )
    photo_false_positive_identification_rate: float | None = Field(
        description="The share of photos of as many strangers in which somebody may get a match."
    )
    photo: str
    face: DetectedFace | None
    candidates: list[Candidate]
    decided_by: Candidate | None
    runner_up: Candidate | None
    reason: str


class Decisions(Schema):
    """A decision for each face, the largest first."""

    answers: list[Decision]


class Comparison(Schema):
    """Whether two photos show the same person."""

    same: Literal[0, 1]
    probability: float = Field(description="The probability that it is the same person.")
    similarity: float = Field(description="Cosine similarity of the encodings.")
    photos: list[str]
    faces: list[DetectedFace]


class Identity(Schema):
    """An enrolled person."""

    id: int
    name: str
    external_id: str | None
    details: dict[str, str]
    faces: int = Field(description="How many faces are enrolled.")
    created_at: str
    updated_at: str
    expires_at: str | None = Field(description="When the identity will be erased.")


class EnrolledFace(Schema):
    """A face in the gallery."""

    face_id: int
    identity: IdentityRef
    photo: str
    photo_sha256: str
    box: Box
    probability: float = Field(description="The detector's probability that this is a face.")
    sharpness: float
    norm: float = Field(description="The norm of the encoding.")
    faults: list[Fault] = Field(description="What makes it a poor example of the person.")
    created_at: str
    taken: str | None = Field(
        description="When the photo was taken, as far as known: `1998`, `1998-07` or `1998-07-14`."
    )


class IdentityWithFaces(Identity):
    """An enrolled person with their enrolled faces."""

    enrolled: list[EnrolledFace]
    years: list[list[int]] = Field(
        description="First and last year of each period with photos; a gap of five years or less"
        " does not end a period."
    )
    undated: int = Field(description="How many photos have no date.")


class Identities(Schema):
    """A page of identities."""

    total: int = Field(description="Matching identities on all pages.")
    identities: list[Identity]
    next: str | None = Field(None, description="`after` of the next page; null on the last one.")


class Enrolment(Schema):
    """The outcome of enrolling one photo."""

    photo: str
    outcome: EnrolOutcome
    identity: IdentityRef | None
    face_id: int | None
    reason: str
    refusal: Refusal | None = Field(
        description="Why the photo was refused. `matches_another` can be overridden with `force`."
    )
    rivals: list[IdentityRef] = Field(description="Other identities that the face matches.")
    notes: list[str] = Field(
        description="What else there is to say: for example, that the name was taken to be one that"
        " differs only in case, accents or spacing."
    )
    faults: list[Fault] = Field(
        description="What makes the face a poor example: it finds few further photos of the person."
    )


class Enrolments(Schema):
    """The outcome of each photo, in order."""

    enrolments: list[Enrolment]


class IdentityChanges(Schema):
    """The fields of an identity to change; the others stay as they are."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "Grace Hopper", "details": {"rank": "admiral"}}]},
    )

    name: str | None = None
    external_id: str | None = Field(default=None, description="An empty string removes it.")
    details: dict[str, str] = Field(
        default_factory=dict,
        description="Added to the existing details; an empty value removes one.",
    )


class Expiry(Schema):
    """When to erase an identity."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"expires_at": "90d"}]}
    )

    expires_at: str = Field(
        description="A date, a time, or a number of days from now such as `90d`; empty for never."
    )


class MergeRequest(Schema):
    """The ids of the identities to merge into this one."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"others": [2]}]})

    others: Annotated[list[Id], Field(min_length=1, max_length=100)]


class MergedIdentity(Identity):
    """The identity that was kept."""

    merge_id: int = Field(description="The id to undo the merge with.")


class Merge(Schema):
    """A merge that can be undone."""

    merge_id: int
    kept: int = Field(description="The id of the identity that was kept.")
    kept_name: str | None = Field(description="Its name; null if it was merged since.")
    others: list[int] = Field(description="The ids of the identities merged into it.")
    names: list[str] = Field(description="Their names, in the same order.")
    created_at: str


class Merges(Schema):
    """The merges that can be undone, the newest first."""

    merges: list[Merge]


class Backup(Schema):
    """A backup of the gallery."""

    id: str
    newest_identity_id: int = Field(description="The highest identity id in the backup.")
    newest_face_id: int = Field(description="The highest face id in the backup.")
    created_at: str
    made: bool = Field(description="Whether the backup was completed.")


class TraceSearch(Schema):
    """The search of the gallery's folders for traces of an erased person, which found none."""

    files: int
    bytes: int
    too_plain: int = Field(description="Texts not searched for: too short, or only a number.")


class Receipt(Schema):
    """Proof of an erasure, without personal data."""

    receipt: str
    identity_id: int
    also: list[int] = Field(description="The ids of identities that were merged into it.")
    whole: bool = Field(description="Whether the whole identity was erased.")
    faces: int
    erased_at: str
    erased: dict[str, int] = Field(description="Rows and cache files erased, by kind.")
    learned: list[str] = Field(
        description="What had been learned from the person, and what became of it."
    )
    backups: list[Backup] = Field(description="Backups that still contain the erased data.")
    searched: TraceSearch


class SamePerson(Schema):
    """Two identities that are probably the same person, and their two most similar faces."""

    identities: list[Identity]
    probability: float
    deciding: list[EnrolledFace]


class SameFace(Schema):
    """The same picture of a face, enrolled twice."""

    faces: list[EnrolledFace]
    similarity: float = Field(description="Cosine similarity of the encodings.")


class MislabelledFace(Schema):
    """An enrolled face that probably belongs to another identity."""

    face: EnrolledFace
    suggested: Identity | None
    probability: float
    nearest: EnrolledFace = Field(description="The face of another identity that it resembles.")
    why: str


class Duplicates(Schema):
    """What dedupe found, without identities erased, merged or marked as different since."""

    identities: int = Field(description="How many identities were compared.")
    faces: int = Field(description="How many faces were compared.")
    same_people: list[SamePerson]
    same_faces: list[SameFace]
    misfiled: list[MislabelledFace]


class Job(Schema):
    """A long-running job."""

    id: str
    kind: str
    state: JobState
    done: int = Field(description="Steps done, out of `total`.")
    total: int
    result: Duplicates | None
    error: str | None
    created_at: str
    updated_at: str


class ExpectedRate(Schema):
    """The share of known people expected to be found in a gallery of this size."""

    identities: int
    known_found: float


class CalibrationInUse(Schema):
    """A calibration on the gallery's own people."""

    version: int
    created_at: str
    report: dict[str, Any] = Field(description="Error rates measured before and after.")


class Calibration(Schema):
    """The error rates to expect of the gallery at its present size."""

    false_positive_identification_rate: float = Field(
        description="The share of strangers who may get a match."
    )
    identities: int
    bias: float = Field(description="Added to the logits of the head.")
    known_found: float = Field(
        description="The share of known people expected to be found, on photos like those the head"
        " was trained on."
    )
    expected: list[ExpectedRate]
    calibration: CalibrationInUse | None
    said: str = Field(description="The same in words.")


class Health(Schema):
    status: str = Field(description="`alive` or `ready`.")
    read_only: bool | None = Field(
        None, description="True if nothing can be written, as on a full disk; else absent."
    )
