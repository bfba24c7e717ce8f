"""One-call queries and changes that the store tests share."""

from __future__ import annotations

from sqlalchemy import text

from gallery.store import faces, identities, merges
from gallery.store.change_log import latest_change
from gallery.store.database import Database


def names(database: Database) -> list[str]:
    with database.reading() as session:
        return [record.name for record in identities.list_all(session)]


def face_ids(database: Database) -> list[int]:
    with database.reading() as session:
        return faces.ids(session)


def latest_position(database: Database) -> int:
    with database.reading() as session:
        return latest_change(session)


def photo_count(database: Database) -> int:
    with database.reading() as session:
        return session.execute(text("SELECT count(*) FROM photos")).scalar_one()


def remove(database: Database, name: str) -> list[int]:
    with database.writing() as session:
        return identities.remove(session, identities.get(session, name).id)


def snapshot(database: Database) -> dict[str, object]:
    """Return everything that a merge may change."""
    with database.reading() as session:
        stored = faces.encodings_of(session, identities.ids(session))
        return {
            "people": [
                (r.id, r.name, r.external_id, r.details, r.faces, r.created_at)
                for r in identities.list_all(session)
            ],
            "faces": faces.records(session),
            "encodings": stored.encodings.vectors.tobytes(),
            "distinct": merges.distinct_pairs(session),
            "photos": session.scalar(text("SELECT count(*) FROM photos")),
        }
