"""Repair what can be repaired without losing data. Nothing here deletes a person."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from gallery.admin.check import Finding, exposed_files, unfinished_files
from gallery.config import Settings
from gallery.erasure.erased_bytes import finish_erasing
from gallery.errors import GalleryError
from gallery.matching.index import IndexReplica
from gallery.store import orphans
from gallery.store.database import Database


def repair_gallery(settings: Settings, database: Database, index: IndexReplica) -> list[Finding]:
    """Repair a gallery. Returns a finding for each thing that was repaired."""
    messages = (
        _restrict_permissions(settings.home),
        _remove_unfinished_files(settings.home),
        _remove_photos_without_faces(database),
        _repair_index(database, index, settings.home),
    )
    return [Finding("repair", True, message) for message in messages if message]


def _restrict_permissions(home: Path) -> str:
    files = exposed_files(home)
    for file in files:
        os.chmod(file, stat.S_IMODE(file.lstat().st_mode) & 0o700)
    return f"made {len(files)} files and folders readable by their owner only" if files else ""


def _remove_unfinished_files(home: Path) -> str:
    files = unfinished_files(home)
    for file in files:
        if file.is_dir():
            shutil.rmtree(file, ignore_errors=True)
        else:
            file.unlink(missing_ok=True)
    noun = "file" if len(files) == 1 else "files"
    return f"removed {len(files)} unfinished {noun}" if files else ""


def _remove_photos_without_faces(database: Database) -> str:
    with database.writing() as session:
        count = orphans.drop_photos(session)
    noun = "photo" if count == 1 else "photos"
    return f"removed {count} {noun} without a face" if count else ""


def _repair_index(database: Database, index: IndexReplica, home: Path) -> str:
    try:
        finish_erasing(database, index, home)
        done = []
        if index.is_saved and index.problems():
            index.rebuild()
            done.append("rebuilt the index from the database")
        if index.is_slow():
            index.speed_up()
            index.save()
            done.append("sped up the index")
    except GalleryError as error:
        return f"not repaired: {error}"
    return " and ".join(done)
