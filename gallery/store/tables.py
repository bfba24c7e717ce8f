"""The tables. A change here needs a migration in `migrations/versions`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    DateTime,
    Dialect,
    ForeignKey,
    LargeBinary,
    MetaData,
    String,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from gallery.types import DIMENSION

ENCODING_BYTES = 4 * DIMENSION


class UtcDateTime(TypeDecorator[datetime]):
    """Times in UTC that say so. SQLite keeps no time zone."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, _: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


def _now() -> datetime:
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """Names every constraint, so that migrations can refer to them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class MarkRow(Base):
    """One fact about the gallery as a whole, such as its id."""

    __tablename__ = "marks"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(String(256))


class EncoderRow(Base):
    """An encoder whose encodings are stored. state : see gallery.store.encoders.EncoderState."""

    __tablename__ = "encoders"
    __table_args__ = (UniqueConstraint("name", "weights_sha256"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    weights_sha256: Mapped[str] = mapped_column(String(64))
    spec: Mapped[str | None] = mapped_column(String(4096))
    state: Mapped[str] = mapped_column(String(16), default="current")


class IdentityRow(Base):
    """A person."""

    __tablename__ = "identities"
    # AUTOINCREMENT: the id of someone forgotten is never given to someone else.
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    external_id: Mapped[str | None] = mapped_column(String(200), unique=True)
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=_now)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=_now, onupdate=_now)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime(), index=True)

    faces: Mapped[list[FaceRow]] = relationship(back_populates="identity", passive_deletes="all")


class PhotoRow(Base):
    """A photo something was enrolled from; the photo itself is not kept."""

    __tablename__ = "photos"

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    width: Mapped[int]
    height: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=_now)


class FaceRow(Base):
    """An enrolled face. Its id is the index's id and is never used again."""

    __tablename__ = "faces"
    __table_args__ = (
        UniqueConstraint("identity_id", "photo_id"),
        CheckConstraint(f"length(encoding) = {ENCODING_BYTES}", name="encoding_bytes"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    identity_id: Mapped[int] = mapped_column(ForeignKey("identities.id"), index=True)
    photo_id: Mapped[int] = mapped_column(ForeignKey("photos.id"), index=True)
    encoder_id: Mapped[int] = mapped_column(ForeignKey("encoders.id"))
    left: Mapped[float]
    top: Mapped[float]
    right: Mapped[float]
    bottom: Mapped[float]
    landmarks: Mapped[list[list[float]]] = mapped_column(JSON)
    probability: Mapped[float]
    sharpness: Mapped[float]
    encoding: Mapped[bytes] = mapped_column(LargeBinary)
    norm: Mapped[float]
    agreement: Mapped[float]
    views: Mapped[int]
    # What the photo was called when this face was enrolled; it may bear the person's name, and so
    # goes with the face even when the photo's row stays for someone else's.
    source: Mapped[str] = mapped_column(String(4096))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=_now)

    identity: Mapped[IdentityRow] = relationship(back_populates="faces")
    photo: Mapped[PhotoRow] = relationship()


class CalibrationRow(Base):
    """One calibration of the operating point on the user's own people; at most one is in use."""

    __tablename__ = "calibrations"
    # AUTOINCREMENT: a version's number is never given to another one.
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(primary_key=True)
    head_sha256: Mapped[str] = mapped_column(String(64))
    adjustment: Mapped[dict[str, Any]] = mapped_column(JSON)
    report: Mapped[dict[str, Any]] = mapped_column(JSON)
    # What it was fitted on, by numbers alone, so that it can be fitted again without someone.
    evidence: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    in_use: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=_now)


class ChangeRow(Base):
    """One entry of the change log the index catches up from: this face came or went."""

    __tablename__ = "changes"
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(primary_key=True)
    face_id: Mapped[int]


class BackupRow(Base):
    """A backup. newest_* : the highest ids that are in it. made : it was written whole."""

    __tablename__ = "backups"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    newest_identity_id: Mapped[int]
    newest_face_id: Mapped[int]
    made: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=_now)


class ThumbnailRow(Base):
    """A small picture of an enrolled face, JPEG; only when a setting asks for it."""

    __tablename__ = "thumbnails"

    face_id: Mapped[int] = mapped_column(
        ForeignKey("faces.id", ondelete="CASCADE"), primary_key=True
    )
    jpeg: Mapped[bytes] = mapped_column(LargeBinary)


class OtherEncodingRow(Base):
    """A face's encoding by another encoder than the one in use: the next one, or the last."""

    __tablename__ = "other_encodings"
    __table_args__ = (
        CheckConstraint(f"length(encoding) = {ENCODING_BYTES}", name="encoding_bytes"),
    )

    face_id: Mapped[int] = mapped_column(
        ForeignKey("faces.id", ondelete="CASCADE"), primary_key=True
    )
    encoder_id: Mapped[int] = mapped_column(
        ForeignKey("encoders.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    encoding: Mapped[bytes] = mapped_column(LargeBinary)
    norm: Mapped[float]
    agreement: Mapped[float]


class KeptRow(Base):
    """The picture that a face can be encoded from again; only when a setting asks for it.

    kind : "chip", the face's surroundings, or "photo", the file as it was.
    landmarks : in pixels of the picture, upright.
    """

    __tablename__ = "kept_pictures"

    face_id: Mapped[int] = mapped_column(
        ForeignKey("faces.id", ondelete="CASCADE"), primary_key=True
    )
    kind: Mapped[str] = mapped_column(String(8))
    content: Mapped[bytes] = mapped_column(LargeBinary)
    landmarks: Mapped[list[list[float]]] = mapped_column(JSON)


class MergeRow(Base):
    """What undoes one merge. holder_id : who has the faces now; with them it is erased."""

    __tablename__ = "merges"
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(primary_key=True)
    kept_id: Mapped[int]
    holder_id: Mapped[int] = mapped_column(
        ForeignKey("identities.id", ondelete="CASCADE"), index=True
    )
    before: Mapped[dict[str, Any]] = mapped_column(JSON)
    after: Mapped[dict[str, Any]] = mapped_column(JSON)
    others: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=_now)


class DistinctRow(Base):
    """Someone decided that these two identities are two people. first_id < second_id."""

    __tablename__ = "distinct_people"

    first_id: Mapped[int] = mapped_column(
        ForeignKey("identities.id", ondelete="CASCADE"), primary_key=True
    )
    second_id: Mapped[int] = mapped_column(
        ForeignKey("identities.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=_now)


class KeyRow(Base):
    """A key to the API: its secret's hash alone."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    label: Mapped[str] = mapped_column(String(200))
    secret_sha256: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    per_minute: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=_now)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime())


class AuditRow(Base):
    """Who did what to whom, by numbers alone. digest : of the previous digest and this row."""

    __tablename__ = "audit"
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime(), index=True)
    actor: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(32))
    identity_id: Mapped[int | None]
    outcome: Mapped[str | None] = mapped_column(String(32))
    request_id: Mapped[str | None] = mapped_column(String(64))
    previous: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64))


class JobRow(Base):
    """Long work that was asked for over HTTP. result : numbers alone, nobody's name."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(16))
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    error: Mapped[str | None] = mapped_column(String(500))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=_now)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=_now, onupdate=_now)


class SeenPhotoRow(Base):
    """What was seen of one photo of a folder, so that it is not read again.

    mark : of where it lies, its size and time, and of what it was seen with.
    look : a small grey JPEG.  hashes : of how it looks.
    faces : packed, see gallery.store.photo_cache.  reason : why it could not be used, or empty.
    All of these go when anyone is erased: a photo of theirs may be among them.
    """

    __tablename__ = "seen_photos"
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(primary_key=True)
    mark: Mapped[str] = mapped_column(String(64), unique=True)
    sha256: Mapped[str] = mapped_column(String(64))
    width: Mapped[int]
    height: Mapped[int]
    look: Mapped[bytes] = mapped_column(LargeBinary)
    hashes: Mapped[bytes] = mapped_column(LargeBinary)
    faces: Mapped[bytes] = mapped_column(LargeBinary)
    reason: Mapped[str] = mapped_column(String(1000))


class FaceDecisionRow(Base):
    """Someone decided whether two faces of photos are one person.

    first, second : the photo's hash and the face's box.  person : the group's id, when they are.
    """

    __tablename__ = "face_decisions"

    first: Mapped[str] = mapped_column(String(128), primary_key=True)
    second: Mapped[str] = mapped_column(String(128), primary_key=True, index=True)
    same: Mapped[bool]
    person: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=_now)


class MisfiledDecisionRow(Base):
    """Someone decided that this face is under the right name."""

    __tablename__ = "misfiled_decisions"

    face_id: Mapped[int] = mapped_column(
        ForeignKey("faces.id", ondelete="CASCADE"), primary_key=True
    )
    identity_id: Mapped[int] = mapped_column(ForeignKey("identities.id", ondelete="CASCADE"))


class PlanRow(Base):
    """A plan that was made: the state it was made for, by numbers alone, and where it lies."""

    __tablename__ = "plans"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    state: Mapped[dict[str, Any] | None] = mapped_column(JSON, nullable=False)
    files: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=_now)


class AppliedRow(Base):
    """One plan that was applied, in so many steps."""

    __tablename__ = "applied"
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(primary_key=True)
    steps: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=_now)


class AppliedStepRow(Base):
    """What undoes one step. It goes with either of the identities that it is about.

    kind : merge (number: the merge's), move (number: the face's), drop (kept: the face), distinct,
    right (number: the face's), decision (kept: the faces).
    """

    __tablename__ = "applied_steps"
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(primary_key=True)
    applied_id: Mapped[int] = mapped_column(
        ForeignKey("applied.id", ondelete="CASCADE"), index=True
    )
    kind: Mapped[str] = mapped_column(String(16))
    first_id: Mapped[int | None] = mapped_column(
        ForeignKey("identities.id", ondelete="CASCADE"), index=True
    )
    second_id: Mapped[int | None] = mapped_column(
        ForeignKey("identities.id", ondelete="CASCADE"), index=True
    )
    number: Mapped[int | None]
    kept: Mapped[dict[str, Any] | None] = mapped_column(JSON)
