"""How far a face's views agree, and calibrations of the operating point."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_TYPICAL_AGREEMENT = "0.9977"
"""Of two views; what faces enrolled before it was kept are taken to have."""


def upgrade() -> None:
    op.add_column(
        "faces",
        sa.Column("agreement", sa.Double, nullable=False, server_default=_TYPICAL_AGREEMENT),
    )
    op.create_table(
        "calibrations",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("head_sha256", sa.String(64), nullable=False),
        sa.Column("adjustment", sa.JSON, nullable=False),
        sa.Column("report", sa.JSON, nullable=False),
        sa.Column("in_use", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_calibrations"),
        sqlite_autoincrement=True,
    )
