"""Less room for a face: its photo's SHA-256 as bytes, no time that nobody reads, an index fewer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

_ROWS_AT_A_TIME = 10_000  # SQLite keeps in memory what a statement would need to be undone


def upgrade() -> None:
    # uq_faces_identity_id_photo_id begins with the same column.
    op.drop_index("ix_faces_identity_id", "faces")
    # A renamed table would take the faces' references along, so the rows are put aside and back.
    # Until then the faces refer to missing photos.
    connection = op.get_bind()
    connection.execute(sa.text("PRAGMA defer_foreign_keys = ON"))
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.create_function("sha256_bytes", 1, bytes.fromhex)
    _create("photos_aside")
    last = connection.scalar(sa.text("SELECT max(id) FROM photos")) or 0
    _in_parts(last, "INSERT INTO photos_aside SELECT id, sha256_bytes(sha256), width, height"
                    " FROM photos")  # fmt: skip
    _in_parts(last, "DELETE FROM photos")
    op.drop_table("photos")
    _create("photos", sa.UniqueConstraint("sha256", name="uq_photos_sha256"))
    _in_parts(last, "INSERT INTO photos SELECT * FROM photos_aside")
    op.drop_table("photos_aside")


def _create(name: str, *constraints: sa.UniqueConstraint) -> None:
    op.create_table(
        name,
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("sha256", sa.LargeBinary, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_photos"),
        *constraints,
    )


def _in_parts(last: int, statement: str) -> None:
    """Execute a statement on the rows up to this id, a part of them at a time."""
    part = sa.text(f"{statement} WHERE id BETWEEN :first AND :last")
    for first in range(1, last + 1, _ROWS_AT_A_TIME):
        op.get_bind().execute(part, {"first": first, "last": first + _ROWS_AT_A_TIME - 1})
