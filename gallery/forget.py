"""Erasing a person: the rows, the index, the saved index file, and the bytes they lay in."""

from __future__ import annotations

import contextlib
from pathlib import Path

from gallery.store import audit, identities, plans
from gallery.store.changes import scrubbed, to_scrub
from gallery.store.database import Database
from gallery.store.records import Forgotten
from gallery.sync import IndexCopy


def forget(database: Database, index: IndexCopy, who: str | int) -> Forgotten:
    """Erase an identity (a name, or an id) with all its faces; there is no undo.

    Raises IdentityNotFound; or, when the rows are gone but their bytes could not be scrubbed yet,
    HomeUnusable or DatabaseBusy: the next command on this gallery then finishes it.
    """
    with database.writing() as session:
        record = identities.get(session, who)
        face_ids = identities.remove(session, record.id)
        audit.record(session, "forget", identity_id=record.id)
        # Before the rows are gone for good: were this cut short, it would be done again.
        remove_plans(plans.forget_all(session))
    finish_erasing(database, index)
    return Forgotten(record.id, len(face_ids))


def remove_plans(kept: list[plans.KeptPlan]) -> None:
    """Remove the files of dedupe plans, which hold names and faces, where they were written.

    A file that does not name its plan any more is someone else's, and stays.
    """
    for plan in kept:
        for file in map(Path, plan.files):
            with contextlib.suppress(OSError):
                if plan.id.encode() in file.read_bytes():
                    file.unlink()


def finish_erasing(database: Database, index: IndexCopy) -> None:
    """Leave no bytes of deleted faces in the files, if there are any. Raises as `forget` does.

    The index file is written anew, the database file rebuilt and its log emptied.
    """
    with database.reading() as session:
        note = to_scrub(session)
    if note is None:
        return
    try:
        index.rebuild()
    finally:
        database.scrub()
    with database.writing() as session:
        scrubbed(session, note)
