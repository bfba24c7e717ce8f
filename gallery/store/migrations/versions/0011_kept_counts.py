"""The number of identities is kept, not counted: every answer needs it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "counts",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counts"),
    )
    op.execute("INSERT INTO counts SELECT 'identities', count(*) FROM identities")
    for event, change in (("INSERT", "+ 1"), ("DELETE", "- 1")):
        op.execute(
            f"CREATE TRIGGER identities_{event.lower()} AFTER {event} ON identities BEGIN"
            f" UPDATE counts SET value = value {change} WHERE name = 'identities'; END"
        )
