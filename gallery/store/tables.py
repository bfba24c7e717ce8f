"""Database tables. Every change needs a migration in `migrations/versions`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    ForeignKey,
    LargeBinary,
    MetaData,
    Select,
    String,
    UniqueConstraint,
    func,
    select,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, validates

from gallery.names import folded
from gallery.store.digests import Sha256
from gallery.store.timestamps import UtcDateTime, utc_now
from gallery.types import DIMENSION

ENCODING_BYTES = 4 * DIMENSION
IDS_PER_QUERY = 10_000  # SQLite allows 32,766 parameters


def any_of(values: Iterable[str | int]) -> Select[Any]:
    """Return a subquery for `in_`: one parameter for all values, so that they may be many."""
    return select(func.json_each(json.dumps(list(values))).table_valued("value").c.value)


class Base(DeclarativeBase):
    """Base class that names every constraint, so that migrations can refer to them."""

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
    """A fact about the whole gallery, such as its id."""

    __tablename__ = "marks"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(String(256))


class CountRow(Base):
    """How many rows a table has, kept by triggers; of `identities` only."""

    __tablename__ = "counts"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[int]


class EncoderRow(Base):
    """An encoder with stored encodings. state : see gallery.store.encoders.EncoderState."""

    __tablename__ = "encoders"
    __table_args__ = (UniqueConstraint("name", "weights_sha256"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    weights_sha256: Mapped[str] = mapped_column(String(64))
    spec: Mapped[str | None] = mapped_column(String(4096))
    state: Mapped[str] = mapped_column(String(16), default="current")


class IdentityRow(Base):
    """An enrolled person. lent_expiry : see gallery.store.expiry."""

    __tablename__ = "identities"
    # AUTOINCREMENT: the id of an erased identity is never reused.
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    folded_name: Mapped[str] = mapped_column(String, index=True)
    external_id: Mapped[str | None] = mapped_column(String(200), unique=True)
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=utc_now, onupdate=utc_now)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime(), index=True)
    lent_expiry: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))

    faces: Mapped[list[FaceRow]] = relationship(back_populates="identity", passive_deletes="all")

    @validates("name")
    def _fold(self, _key: str, name: str) -> str:
        self.folded_name = folded(name)
        return name


class PhotoRow(Base):
    """A photo that a face was enrolled from, without its pixels."""

    __tablename__ = "photos"

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(Sha256(), unique=True)
    width: Mapped[int]
    height: Mapped[int]


class FaceRow(Base):
    """An enrolled face. Its id is also its id in the vector index, and is never reused."""

    __tablename__ = "faces"
    __table_args__ = (
        UniqueConstraint("identity_id", "photo_id"),  # also the index by identity
        CheckConstraint(f"length(encoding) = {ENCODING_BYTES}", name="encoding_bytes"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    identity_id: Mapped[int] = mapped_column(ForeignKey("identities.id"))
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
    # The photo's name when this face was enrolled. It may contain the person's name, so it is
    # erased with the face even if the photo's row stays for another identity.
    source: Mapped[str] = mapped_column(String(4096))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=utc_now)
    # When the photo was taken, see gallery.dates; of the face, so that erasing it erases the date.
    taken: Mapped[str | None] = mapped_column(String(10))
    picture_hash: Mapped[str | None] = mapped_column(String(16))  # perceptual; hexadecimal

    identity: Mapped[IdentityRow] = relationship(back_populates="faces")
    photo: Mapped[PhotoRow] = relationship()


class CalibrationRow(Base):
    """A calibration of the operating point on the user's own people; at most one is in use."""

    __tablename__ = "calibrations"
    # AUTOINCREMENT: a version number is never reused.
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(primary_key=True)
    head_sha256: Mapped[str] = mapped_column(String(64))
    adjustment: Mapped[dict[str, Any]] = mapped_column(JSON)
    report: Mapped[dict[str, Any]] = mapped_column(JSON)
    # The numbers it was fitted on, so that it can be refitted after an erasure.
    evidence: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    in_use: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=utc_now)


class ChangeRow(Base):
    """An entry of the change log: a face was added, moved or deleted. The index follows it."""

    __tablename__ = "changes"
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(primary_key=True)
    face_id: Mapped[int]


class BackupRow(Base):
    """A backup. newest_* : the highest ids in it. made : the backup was completed."""

    __tablename__ = "backups"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    newest_identity_id: Mapped[int]
    newest_face_id: Mapped[int]
    made: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=utc_now)


class ThumbnailRow(Base):
    """A JPEG thumbnail of an enrolled face, stored only with GALLERY_THUMBNAILS."""

    __tablename__ = "thumbnails"

    face_id: Mapped[int] = mapped_column(
        ForeignKey("faces.id", ondelete="CASCADE"), primary_key=True
    )
    jpeg: Mapped[bytes] = mapped_column(LargeBinary)


class OtherEncodingRow(Base):
    """A face's encoding by the next or the previous encoder, beside the one in use."""

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


class KeptImageRow(Base):
    """An image to re-encode a face from, stored only as GALLERY_KEEP says.

    kind : "chip", a crop around the face, or "photo", the original file.
    landmarks : in pixels of the upright image.
    """

    __tablename__ = "kept_pictures"

    face_id: Mapped[int] = mapped_column(
        ForeignKey("faces.id", ondelete="CASCADE"), primary_key=True
    )
    kind: Mapped[str] = mapped_column(String(8))
    content: Mapped[bytes] = mapped_column(LargeBinary)
    landmarks: Mapped[list[list[float]]] = mapped_column(JSON)


class MergeRow(Base):
    """What is needed to undo a merge.

    holder_id : the identity that has the faces now; erasing it erases this row.
    """

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
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=utc_now)


class DistinctRow(Base):
    """A user's decision that two identities are two people. first_id < second_id."""

    __tablename__ = "distinct_people"

    first_id: Mapped[int] = mapped_column(
        ForeignKey("identities.id", ondelete="CASCADE"), primary_key=True
    )
    second_id: Mapped[int] = mapped_column(
        ForeignKey("identities.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=utc_now)


class RecalledRow(Base):
    """What a folder that is enrolled again is recognised by, see gallery.store.recalled."""

    __tablename__ = "recalled"

    identity_id: Mapped[int] = mapped_column(
        ForeignKey("identities.id", ondelete="CASCADE"), primary_key=True
    )
    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    value: Mapped[str] = mapped_column(String(200), primary_key=True)
    folded_name: Mapped[str | None] = mapped_column(String, index=True)  # of a former name


class KeyRow(Base):
    """An API key, with the hash of its secret only."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    label: Mapped[str] = mapped_column(String(200))
    secret_sha256: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    per_minute: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=utc_now)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime())


class AuditRow(Base):
    """An audit entry, without names. digest : SHA-256 of the previous digest and this row."""

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
    """A background job requested over HTTP.

    tries : how often it was started, but for those that the server stopped itself.
    result : numbers only, no names.
    """

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(16))
    tries: Mapped[int] = mapped_column(default=0, server_default="0")
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    error: Mapped[str | None] = mapped_column(String(500))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=utc_now, onupdate=utc_now)
