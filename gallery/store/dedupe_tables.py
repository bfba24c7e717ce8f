"""Tables of what folders hold, of answers to findings, and of plans. Changes need a migration."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    ForeignKey,
    LargeBinary,
    String,
)
from sqlalchemy.orm import Mapped, mapped_column

from gallery.store.tables import Base
from gallery.store.timestamps import UtcDateTime, utc_now


class CachedPhotoRow(Base):
    """The cached detections and encodings of one photo in a folder.

    mark : digest of the photo's path, size and time, and of the pipeline.
    look : a small grey JPEG.  hashes : perceptual hashes.
    faces : packed, see gallery.store.photo_cache.  reason : why the photo is unusable, or empty.
    taken, note : see gallery.types.Photo; note is NULL in rows of schemas before 0010.
    Any erasure deletes all rows: a photo of the erased person may be among them.
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
    taken: Mapped[str | None] = mapped_column(String(10))
    note: Mapped[str | None] = mapped_column(String(1000))


class FaceDecisionRow(Base):
    """A user's decision whether two faces in photos are the same person.

    first, second : face keys, see gallery.store.decisions.face_key.
    person : the id of the group they were confirmed in, or empty.
    """

    __tablename__ = "face_decisions"

    first: Mapped[str] = mapped_column(String(128), primary_key=True)
    second: Mapped[str] = mapped_column(String(128), primary_key=True, index=True)
    same: Mapped[bool]
    person: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=utc_now)


class MisfiledDecisionRow(Base):
    """A user's confirmation that this face belongs to its identity."""

    __tablename__ = "misfiled_decisions"

    face_id: Mapped[int] = mapped_column(
        ForeignKey("faces.id", ondelete="CASCADE"), primary_key=True
    )
    identity_id: Mapped[int] = mapped_column(ForeignKey("identities.id", ondelete="CASCADE"))


class PlanRow(Base):
    """A dedupe plan: digests of the gallery's state it was made for, and its files."""

    __tablename__ = "plans"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    state: Mapped[dict[str, Any] | None] = mapped_column(JSON, nullable=False)
    files: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=utc_now)


class AppliedRow(Base):
    """An applied plan. steps : how many steps it had."""

    __tablename__ = "applied"
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(primary_key=True)
    steps: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=utc_now)


class AppliedStepRow(Base):
    """What is needed to undo a step. Erasing either of its identities erases it.

    kind : merge (number: merge id), move (number: face id), drop (kept: the packed face), distinct,
    right (number: face id), decision (kept: the decisions before and after).
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
