"""Which encoder is in use and how it is opened; a face's other encodings; kept pictures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("encoders", sa.Column("spec", sa.String(4096), nullable=True))
    op.add_column(
        "encoders", sa.Column("state", sa.String(16), nullable=False, server_default="current")
    )
    op.create_table(
        "other_encodings",
        sa.Column("face_id", sa.Integer, nullable=False),
        sa.Column("encoder_id", sa.Integer, nullable=False),
        sa.Column("encoding", sa.LargeBinary, nullable=False),
        sa.Column("norm", sa.Double, nullable=False),
        sa.Column("agreement", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("face_id", "encoder_id", name="pk_other_encodings"),
        sa.ForeignKeyConstraint(
            ["face_id"], ["faces.id"], name="fk_other_encodings_face_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["encoder_id"],
            ["encoders.id"],
            name="fk_other_encodings_encoder_id",
            ondelete="CASCADE",
        ),
        sa.CheckConstraint("length(encoding) = 512", name="ck_other_encodings_encoding_bytes"),
    )
    op.create_index("ix_other_encodings_encoder_id", "other_encodings", ["encoder_id"])
    op.create_table(
        "kept_pictures",
        sa.Column("face_id", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("landmarks", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("face_id", name="pk_kept_pictures"),
        sa.ForeignKeyConstraint(
            ["face_id"], ["faces.id"], name="fk_kept_pictures_face_id", ondelete="CASCADE"
        ),
    )
