"""When the photo of a face was taken."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("faces", sa.Column("taken", sa.String(10), nullable=True))
