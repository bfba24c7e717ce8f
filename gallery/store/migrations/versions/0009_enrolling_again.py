"""What a photo or a folder that is enrolled again is recognised by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("faces", sa.Column("picture_hash", sa.String(16), nullable=True))
    op.create_table(
        "recalled",
        sa.Column("identity_id", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("value", sa.String(200), nullable=False),
        sa.Column("folded_name", sa.String, nullable=True),
        sa.PrimaryKeyConstraint("identity_id", "kind", "value", name="pk_recalled"),
        sa.ForeignKeyConstraint(
            ["identity_id"], ["identities.id"], name="fk_recalled_identity_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_recalled_folded_name", "recalled", ["folded_name"])
