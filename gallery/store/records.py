"""What the store answers with. All of it frozen, none of it bound to a session."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from gallery.types import Box, Encodings, Face, Float32, Float64, IdentityRef, Int64


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
    expires_at: datetime | None = None

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
class NewIdentity:
    """A person to be stored, or to be given more faces."""

    name: str
    external_id: str | None
    details: dict[str, str]
    expires_at: datetime | None


@dataclass(frozen=True)
class ManyFaces:
    """n faces of m identities, as they are exported and imported.

    owners : int64 (n,), places in `identities`.
    photos, photo_sha256 : (n,).  sizes : int64 (n, 2), width and height of the upright photo.
    boxes : float64 (n, 4), left, top, right, bottom.  landmarks : float64 (n, 5, 2).
    probabilities, sharpness : float64 (n,).  views : int64 (n,).
    """

    identities: tuple[NewIdentity, ...]
    owners: Int64
    encodings: Encodings
    photos: tuple[str, ...]
    photo_sha256: tuple[str, ...]
    sizes: Int64
    boxes: Float64
    landmarks: Float64
    probabilities: Float64
    sharpness: Float64
    views: Int64

    def __len__(self) -> int:
        return len(self.owners)

    def take(self, rows: Int64) -> ManyFaces:
        """Only these faces."""
        return ManyFaces(
            self.identities,
            self.owners[rows],
            self.encodings.take(rows),
            tuple(self.photos[i] for i in rows.tolist()),
            tuple(self.photo_sha256[i] for i in rows.tolist()),
            self.sizes[rows],
            self.boxes[rows],
            self.landmarks[rows],
            self.probabilities[rows],
            self.sharpness[rows],
            self.views[rows],
        )


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

    adjustment : see gallery.matching.operating_point.Adjustment.
    report : what was measured, before and after; numbers alone, nobody's name.
    evidence : see gallery.matching.recalibration; None in what an older version calibrated.
    """

    id: int
    head_sha256: str
    adjustment: dict[str, Any]
    report: dict[str, Any]
    evidence: dict[str, Any] | None
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
class BackupRecord:
    """A backup. newest_* : the highest ids that are in it; made : it was written whole."""

    id: str
    newest_identity_id: int
    newest_face_id: int
    created_at: datetime
    made: bool


@dataclass(frozen=True)
class Receipt:
    """What was erased, when and from where; given when it is gone. Bears numbers alone.

    identity_id : whose it was; the identity itself is gone too when `whole` is True.
    also : numbers of identities that had been merged into it, under which backups may hold it.
    faces : how many.  erased : how many rows of which kind, and how many files of the cache.
    learned : what had been learned from the person too, and what became of it, in words.
    backups : those made earlier, which hold it still: a restore brings it back.
    searched_files, searched_bytes : the home and the cache, in which no trace was left.
    too_plain : texts of the person that were not searched for: too short, or a mere number.
    """

    id: str
    identity_id: int
    also: tuple[int, ...]
    whole: bool
    faces: int
    erased_at: datetime
    erased: dict[str, int]
    learned: tuple[str, ...]
    backups: tuple[BackupRecord, ...]
    searched_files: int
    searched_bytes: int
    too_plain: int
