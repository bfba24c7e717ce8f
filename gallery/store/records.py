"""Records returned by the store: frozen, detached from any database session.

All datetimes are UTC and time-zone-aware.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from gallery.types import Box, Encodings, Face, Fault, Float32, Float64, IdentityRef, Int64


@dataclass(frozen=True)
class IdentityRecord:
    """An enrolled person.

    external_id : the person's key in the user's own system, unique.
    details : free text by key.
    faces : number of enrolled faces.
    expires_at : when the identity is due for erasure; None means never.
    """

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
class IdentityPage:
    """Some of the identities that match, by folded name.

    total : how many match in all.  has_more : whether there are any after these.
    """

    total: int
    identities: list[IdentityRecord]
    has_more: bool


@dataclass(frozen=True)
class FaceRecord:
    """An enrolled face.

    photo : the photo's name when the face was enrolled.  photo_sha256 : of the file, hexadecimal.
    box : pixels of the upright photo.
    probability : the detector's, 0 to 1.  sharpness : see gallery.types.Face.
    norm, agreement : of the encoding, see gallery.types.Encodings.
    taken : when the photo was taken, as far as that is known, see gallery.dates.
    picture_hash : 64-bit perceptual hash of the photo, hexadecimal; None for older faces.
    faults : what makes it a poor example; not stored, see gallery.matching.photo_quality.
    """

    id: int
    identity: IdentityRef
    photo: str
    photo_sha256: str
    box: Box
    probability: float
    sharpness: float
    norm: float
    created_at: datetime
    agreement: float = 0.0
    taken: str | None = None
    picture_hash: str | None = None
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class KeptImage:
    """The image stored to re-encode a face.

    kind : "chip", a crop around the face, or "photo", the original file.
    content : the encoded image file.
    landmarks : float32 (5, 2), pixels of the upright image.
    """

    kind: Literal["chip", "photo"]
    content: bytes = field(repr=False)
    landmarks: Float32


@dataclass(frozen=True)
class NewFace:
    """A face to store.

    encodings : one row.  views : number of views averaged in it.
    kept_image : the image to re-encode it from, if that is stored.
    taken : the date that the user gave, checked; it goes before that of the photo.
    picture_hash : as in FaceRecord.
    thumbnail : a JPEG, if one is stored.
    """

    face: Face
    encodings: Encodings
    views: int
    kept_image: KeptImage | None = None
    taken: str | None = None
    picture_hash: str | None = None
    thumbnail: bytes | None = None


@dataclass(frozen=True)
class NewIdentity:
    """An identity to store, or to add faces to. Fields as in IdentityRecord."""

    name: str
    external_id: str | None
    details: dict[str, str]
    expires_at: datetime | None


@dataclass(frozen=True)
class FaceBatch:
    """n faces of m identities, for export and import.

    owners : int64 (n,), indices into `identities`.
    photos, photo_sha256 : (n,).  sizes : int64 (n, 2), width and height of the upright photo.
    boxes : float64 (n, 4), left, top, right, bottom.  landmarks : float64 (n, 5, 2).
    probabilities, sharpness : float64 (n,).  views : int64 (n,).
    taken : (n,), see gallery.dates; None if unknown.
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
    taken: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.owners)

    def take(self, rows: Int64) -> FaceBatch:
        """Return the faces at these rows, with all identities."""
        return FaceBatch(
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
            tuple(self.taken[i] for i in rows.tolist()),
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
    """A calibration of the operating point on the user's own people.

    head_sha256 : the head it belongs to.
    adjustment : see gallery.matching.operating_point.Adjustment.
    report : measurements before and after; numbers only, no names.
    evidence : see gallery.matching.recalibration; None if an older version made the calibration.
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
    """An entry of the audit trail.

    actor : "command line", "this machine", or an API key's id.
    identity_id : opaque; it outlives the identity.
    digest : SHA-256 of the previous entry's digest and this entry, hexadecimal.
    """

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
    """An API key; only the hash of its secret is stored.

    per_minute : allowed requests per minute.  revoked_at : None while the key is active.
    """

    id: str
    label: str
    scopes: tuple[str, ...]
    per_minute: int
    created_at: datetime
    revoked_at: datetime | None
    secret_sha256: str = field(repr=False)


@dataclass(frozen=True)
class JobRecord:
    """A background job.

    state : see gallery.store.jobs.JobState.  done, total : progress.
    result : numbers only, no names.  error : why it failed.
    """

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
    """A merge that can be undone.

    kept_name : None if the identity was merged since.
    others : ids of the identities merged into kept_id.  names : theirs, in the same order.
    """

    id: int
    kept_id: int
    kept_name: str | None
    others: tuple[int, ...]
    names: tuple[str, ...]
    created_at: datetime


@dataclass(frozen=True)
class MergeResult:
    """The result of a merge. merge_id : the number that undoes it."""

    identity: IdentityRecord
    merge_id: int


@dataclass(frozen=True)
class BackupRecord:
    """A backup. newest_* : the highest ids in it. made : the backup was completed."""

    id: str
    newest_identity_id: int
    newest_face_id: int
    created_at: datetime
    made: bool


@dataclass(frozen=True)
class Receipt:
    """What an erasure erased, issued once it is complete. Contains no names.

    identity_id : the identity, which is erased too when `whole` is True.
    also : ids of identities merged into it earlier; backups may hold the person under them.
    faces : number of faces erased.
    erased : number of rows erased by kind, and of cached photos.
    learned : in words, what had been learned from the person's data, and what became of it.
    backups : earlier backups that still hold the person; restoring one brings the data back.
    searched_files, searched_bytes : what was searched in the home and the cache, without a trace.
    too_plain : number of the person's texts not searched for, as too short or a mere number.
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
