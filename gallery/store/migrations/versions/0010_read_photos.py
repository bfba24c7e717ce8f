"""What enrolling a photo that was read before needs to know of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("seen_photos", sa.Column("taken", sa.String(10), nullable=True))
    op.add_column("seen_photos", sa.Column("note", sa.String(1000), nullable=True))
