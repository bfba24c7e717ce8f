"""Identities, photos, faces, encoders and the change log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "marks",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.String(256), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_marks"),
    )
    op.create_table(
        "encoders",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("weights_sha256", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_encoders"),
        sa.UniqueConstraint("name", "weights_sha256", name="uq_encoders_name_weights_sha256"),
    )
    op.create_table(
        "identities",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("external_id", sa.String(200)),
        sa.Column("details", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_identities"),
        sa.UniqueConstraint("name", name="uq_identities_name"),
        sa.UniqueConstraint("external_id", name="uq_identities_external_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "photos",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_photos"),
        sa.UniqueConstraint("sha256", name="uq_photos_sha256"),
    )
    op.create_table(
        "faces",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("identity_id", sa.Integer, nullable=False),
        sa.Column("photo_id", sa.Integer, nullable=False),
        sa.Column("encoder_id", sa.Integer, nullable=False),
        sa.Column("left", sa.Double, nullable=False),
        sa.Column("top", sa.Double, nullable=False),
        sa.Column("right", sa.Double, nullable=False),
        sa.Column("bottom", sa.Double, nullable=False),
        sa.Column("landmarks", sa.JSON, nullable=False),
        sa.Column("probability", sa.Double, nullable=False),
        sa.Column("sharpness", sa.Double, nullable=False),
        sa.Column("encoding", sa.LargeBinary, nullable=False),
        sa.Column("norm", sa.Double, nullable=False),
        sa.Column("views", sa.Integer, nullable=False),
        sa.Column("source", sa.String(4096), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_faces"),
        sa.ForeignKeyConstraint(["identity_id"], ["identities.id"], name="fk_faces_identity_id"),
        sa.ForeignKeyConstraint(["photo_id"], ["photos.id"], name="fk_faces_photo_id"),
        sa.ForeignKeyConstraint(["encoder_id"], ["encoders.id"], name="fk_faces_encoder_id"),
        sa.UniqueConstraint("identity_id", "photo_id", name="uq_faces_identity_id_photo_id"),
        sa.CheckConstraint("length(encoding) = 512", name="ck_faces_encoding_bytes"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_faces_identity_id", "faces", ["identity_id"])
    op.create_index("ix_faces_photo_id", "faces", ["photo_id"])
    op.create_table(
        "changes",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("face_id", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_changes"),
        sqlite_autoincrement=True,
    )
