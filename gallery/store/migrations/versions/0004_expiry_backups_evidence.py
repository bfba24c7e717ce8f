"""When an identity is to be erased, which backups were made, what a calibration was fitted on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("identities", sa.Column("expires_at", sa.DateTime()))
    op.create_index("ix_identities_expires_at", "identities", ["expires_at"])
    op.add_column("calibrations", sa.Column("evidence", sa.JSON))
    op.create_table(
        "backups",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("newest_identity_id", sa.Integer, nullable=False),
        sa.Column("newest_face_id", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_backups"),
    )
