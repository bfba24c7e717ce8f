"""Mending what can be mended without asking: nothing here drops a person."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from gallery.admin.check import Finding, abandoned, open_to_others
from gallery.config import Settings
from gallery.erasure.erase import finish_erasing
from gallery.errors import GalleryError
from gallery.matching.index import IndexCopy
from gallery.store import orphans
from gallery.store.database import Database


def mended(settings: Settings, database: Database, index: IndexCopy) -> list[Finding]:
    """What was done, a finding each; nothing, where nothing was to be done."""
    steps = (
        _close_to_others(settings.home),
        _drop_leftovers(settings.home),
        _drop_photos(database),
        _rebuild(database, index, settings.home),
    )
    return [Finding("repair", True, said) for said in steps if said]


def _close_to_others(home: Path) -> str:
    files = open_to_others(home)
    for file in files:
        os.chmod(file, stat.S_IMODE(file.lstat().st_mode) & 0o700)
    return f"{len(files)} files and folders were made their owner's alone" if files else ""


def _drop_leftovers(home: Path) -> str:
    left = abandoned(home)
    for part in left:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)
    return f"{len(left)} half-written files were removed" if left else ""


def _drop_photos(database: Database) -> str:
    with database.writing() as session:
        count = orphans.drop_photos(session)
    return f"{count} photos that no face is of were removed" if count else ""


def _rebuild(database: Database, index: IndexCopy, home: Path) -> str:
    try:
        finish_erasing(database, index, home)
        if not index.saved or not index.problems():
            return ""
        index.rebuild()
    except GalleryError as error:
        return f"not mended: {error}"
    return "the index was built again from the database"
