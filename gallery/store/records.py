"""What the store answers with. All of it frozen, none of it bound to a session."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from gallery.types import Box, Encodings, Face, Float32, IdentityRef, Int64


@dataclass(frozen=True)
class IdentityRecord:
    """A person in the gallery."""

    id: int
    name: str
    external_id: str | None
    details: dict[str, Any]
    faces: int
    created_at: datetime
    updated_at: datetime

    @property
    def ref(self) -> IdentityRef:
        return IdentityRef(self.id, self.name)


@dataclass(frozen=True)
class FaceRecord:
    """An enrolled face. box : pixels of the upright photo."""

    id: int
    identity: IdentityRef
    photo: str
    photo_sha256: str
    box: Box
    probability: float
    sharpness: float
    norm: float
    created_at: datetime


@dataclass(frozen=True)
class Picture:
    """What is kept of a photo to encode its face again.

    kind : "chip", the face's surroundings, or "photo", the file as it was.
    landmarks : float32 (5, 2), pixels of the upright picture.
    """

    kind: Literal["chip", "photo"]
    content: bytes = field(repr=False)
    landmarks: Float32


@dataclass(frozen=True)
class NewFace:
    """A face to be stored.

    views : how many were averaged in its encoding.  picture : what is kept to encode it again.
    """

    face: Face
    encodings: Encodings
    views: int
    picture: Picture | None = None


@dataclass(frozen=True)
class StoredEncodings:
    """Encodings of n stored faces, in ascending order of face id.

    face_ids, identity_ids : int64 (n,).
    """

    face_ids: Int64
    identity_ids: Int64
    encodings: Encodings


@dataclass(frozen=True)
class CalibrationRecord:
    """One calibration of the operating point on the user's own people.

    adjustment : see gallery.operating_point.Adjustment.  report : what was measured, before and
    after; numbers alone, nobody's name.
    """

    id: int
    head_sha256: str
    adjustment: dict[str, Any]
    report: dict[str, Any]
    in_use: bool
    created_at: datetime


@dataclass(frozen=True)
class AuditEntry:
    """Who did what to whom. identity_id : opaque; it outlives the person's erasure."""

    id: int
    at: datetime
    actor: str
    action: str
    identity_id: int | None
    outcome: str | None
    request_id: str | None
    digest: str


@dataclass(frozen=True)
class KeyRecord:
    """A key to the API; the secret itself is nowhere. per_minute : requests it may make."""

    id: str
    label: str
    scopes: tuple[str, ...]
    per_minute: int
    created_at: datetime
    revoked_at: datetime | None
    secret_sha256: str = field(repr=False)


@dataclass(frozen=True)
class JobRecord:
    """Long work that was asked for. result : numbers alone."""

    id: str
    kind: str
    state: str
    done: int
    total: int
    result: dict[str, Any] | None
    error: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class MergeRecord:
    """A merge that can be undone. others : the ids that were merged into kept_id."""

    id: int
    kept_id: int
    others: tuple[int, ...]
    created_at: datetime


@dataclass(frozen=True)
class Merged:
    """What a merge made of two. merge_id : what undoes it."""

    identity: IdentityRecord
    merge_id: int


@dataclass(frozen=True)
class Forgotten:
    """What was erased. Bears no name, so that it may be kept."""

    identity_id: int
    faces: int
