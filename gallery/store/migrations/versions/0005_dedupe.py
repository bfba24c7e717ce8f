"""What was seen in folders of photos, what was decided about it, and what undoes a dedupe."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "seen_photos",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("mark", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("look", sa.LargeBinary, nullable=False),
        sa.Column("hashes", sa.LargeBinary, nullable=False),
        sa.Column("faces", sa.LargeBinary, nullable=False),
        sa.Column("reason", sa.String(1000), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_seen_photos"),
        sa.UniqueConstraint("mark", name="uq_seen_photos_mark"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "face_decisions",
        sa.Column("first", sa.String(128), nullable=False),
        sa.Column("second", sa.String(128), nullable=False),
        sa.Column("same", sa.Boolean, nullable=False),
        sa.Column("person", sa.String(16), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("first", "second", name="pk_face_decisions"),
    )
    op.create_index("ix_face_decisions_second", "face_decisions", ["second"])
    op.create_table(
        "misfiled_decisions",
        sa.Column("face_id", sa.Integer, nullable=False),
        sa.Column("identity_id", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("face_id", name="pk_misfiled_decisions"),
        sa.ForeignKeyConstraint(
            ["face_id"], ["faces.id"], name="fk_misfiled_decisions_face_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["identity_id"],
            ["identities.id"],
            name="fk_misfiled_decisions_identity_id",
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "plans",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("state", sa.JSON, nullable=False),
        sa.Column("files", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_plans"),
    )
    op.create_table(
        "applied",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("steps", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_applied"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "applied_steps",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("applied_id", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("first_id", sa.Integer, nullable=True),
        sa.Column("second_id", sa.Integer, nullable=True),
        sa.Column("number", sa.Integer, nullable=True),
        sa.Column("kept", sa.JSON, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_applied_steps"),
        sa.ForeignKeyConstraint(
            ["applied_id"], ["applied.id"], name="fk_applied_steps_applied_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["first_id"],
            ["identities.id"],
            name="fk_applied_steps_first_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["second_id"],
            ["identities.id"],
            name="fk_applied_steps_second_id",
            ondelete="CASCADE",
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_applied_steps_applied_id", "applied_steps", ["applied_id"])
    op.create_index("ix_applied_steps_first_id", "applied_steps", ["first_id"])
    op.create_index("ix_applied_steps_second_id", "applied_steps", ["second_id"])
