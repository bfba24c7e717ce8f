"""How often a job was started, so that one that ends the process is not started for ever."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("tries", sa.Integer(), nullable=False, server_default="0"))
