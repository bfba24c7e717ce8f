"""Erasing a person: the rows, the index, the saved index file, and the bytes they lay in."""

from __future__ import annotations

from dataclasses import dataclass

from gallery.store import identities
from gallery.store.database import Database
from gallery.sync import IndexCopy


@dataclass(frozen=True)
class Forgotten:
    """What was erased. Bears no name, so that it may be kept."""

    identity_id: int
    faces: int


def forget(database: Database, index: IndexCopy, name_or_id: str) -> Forgotten:
    """Erase an identity with all its faces; there is no undo. Raises IdentityNotFound.

    Afterwards the database file is rebuilt, its log emptied and the index file written anew, so
    that no name and no encoding is left in them.
    """
    with database.writing() as session:
        record = identities.get(session, name_or_id)
        face_ids = identities.remove(session, record.id)
    index.rebuild()
    database.scrub()
    return Forgotten(record.id, len(face_ids))
