"""Names without case, accents and joints, to find near names by; expiry dates lent with a face."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gallery.names import folded

revision = "0008"
down_revision = "0007"

_AT_ONCE = 10_000


def upgrade() -> None:
    op.add_column("identities", sa.Column("lent_expiry", sa.JSON(), nullable=True))
    op.add_column(
        "identities", sa.Column("folded_name", sa.String(), nullable=False, server_default="")
    )
    connection = op.get_bind()
    rows = connection.execute(sa.text("SELECT id, name FROM identities")).all()
    statement = sa.text("UPDATE identities SET folded_name = :folded WHERE id = :id")
    for start in range(0, len(rows), _AT_ONCE):
        batch = rows[start : start + _AT_ONCE]
        connection.execute(statement, [{"id": id_, "folded": folded(name)} for id_, name in batch])
    op.create_index(op.f("ix_identities_folded_name"), "identities", ["folded_name"])
