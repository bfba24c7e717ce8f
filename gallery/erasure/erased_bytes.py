"""Removing the bytes of deleted rows from the files.

In place, where a search shows that this is enough. SQLite overwrites what it deletes with zeros,
but moves rows to other pages as tables grow, and leaves bytes of them where they were, in any
page. Where such bytes are found, or could not be, the database file is rebuilt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from gallery.erasure.search import SearchResult, Traces, search
from gallery.matching.index import IndexReplica
from gallery.matching.learned_heads import delete_trained_heads
from gallery.store.change_log import (
    clear_head_removal,
    clear_scrub,
    clear_unsought,
    pending_head_removal,
    pending_scrub,
    unsought,
)
from gallery.store.database import Database
from gallery.types import DIMENSION


def finish_erasing(database: Database, index: IndexReplica, home: Path) -> None:
    """Remove the bytes of deleted faces from the files, if there are any, whosever they are.

    Writes the index file anew, rebuilds the database file and empties its log. Raises HomeUnusable
    or DatabaseBusy.
    """
    with database.reading() as session:
        note, head = pending_scrub(session), pending_head_removal(session)
        left = unsought(session)
    if note is None:
        return
    try:
        if head is not None:
            delete_trained_heads(home)
        index.rebuild()
    finally:
        database.scrub()
    _clear(database, [note], head)
    if left is not None:
        with database.writing() as session:
            clear_unsought(session, left)


def erase_in_place(
    database: Database,
    index: IndexReplica,
    home: Path,
    searched_folders: Sequence[Path],
    traces: Traces,
    plain_texts: Sequence[str],
    notes: Iterable[str],
) -> SearchResult | None:
    """Remove the bytes of deleted faces from the files, without rebuilding the database.

    searched_folders : as well as the files of the database and the index.
    traces : of the people whose rows were deleted.  plain_texts : too plain to be searched for in
    whole files; among the bytes of the database that belong to no row, they are.
    notes : that this deletion left, that bytes are to be erased.
    Returns what was searched, or None, and leaves the notes, if bytes of people may be left. A
    trace in a row is somebody else's. Raises HomeUnusable or DatabaseBusy.
    """
    if database.is_encrypted:  # nothing is found in it
        return None
    with database.reading() as session:
        head = pending_head_removal(session)
        if unsought(session) is not None:
            return None
    try:
        if head is not None:
            delete_trained_heads(home)
        index.overwrite()
    finally:
        database.empty_log()
    searched = search([*searched_folders, *files_of(database, index)], traces)
    file = database.file.resolve()
    if searched.unreadable or any(hit.file != file for hit in searched.hits):
        return None
    suspects = [hit.trace for hit in searched.hits]
    suspects += Traces(np.empty((0, DIMENSION), dtype=np.float32), plain_texts, ())
    if suspects and search([file], suspects, unused=True).hits:
        return None
    _clear(database, notes, head)
    return searched


def files_of(database: Database, index: IndexReplica) -> list[Path]:
    """The files that rows and encodings are in; links are followed."""
    file = database.file
    return [file, file.with_name(f"{file.name}-wal"), index.file]


def _clear(database: Database, notes: Iterable[str], head: str | None) -> None:
    """Clear notes of work that is done; newer ones stay."""
    with database.writing() as session:
        for note in notes:
            clear_scrub(session, note)
        if head is not None:
            clear_head_removal(session, head)
