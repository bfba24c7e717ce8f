"""Rebuilding a database file, so that nothing erased is left in it: in bounded memory, and with the
room on the disk that it needs.

SQLite builds a copy in a temporary file and writes that back through the write-ahead log. The file
lies in the database's own folder, with the database's encryption, and has no name any more once it
is open: a killed process leaves nothing behind.
"""

from __future__ import annotations

import shutil
import threading
from contextlib import closing
from pathlib import Path

from sqlalchemy.pool import PoolProxiedConnection

from gallery.errors import DatabaseUnusable
from gallery.names import printable

_FRAME_HEADER = 24  # bytes in the write-ahead log beside each page
_TEMPORARY_FOLDER = threading.Lock()  # SQLite has one for the whole process


def room_needed(connection: PoolProxiedConnection) -> int:
    """Return the bytes that a rebuild takes at most: the copy, and the log with every page."""
    with closing(connection.cursor()) as cursor:
        size, pages, free = (
            int(cursor.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_size", "page_count", "freelist_count")
        )
    return (pages - free) * (2 * size + _FRAME_HEADER)


def require_room(connection: PoolProxiedConnection, file: Path) -> None:
    """Raise DatabaseUnusable if the disk has no room for a rebuild."""
    needed, free = room_needed(connection), shutil.disk_usage(file.parent).free
    if free < needed:
        raise DatabaseUnusable(
            f"{file}: erasing needs {needed:,} bytes of free disk space, about twice what the"
            f" database takes, and there are {free:,}; free some space, then try again"
        )


def rebuild(connection: PoolProxiedConnection, file: Path) -> None:
    """Rebuild the file; its log then holds the new file until `empty_log`."""
    require_room(connection, file)
    folder = str(file.parent.absolute())
    with _TEMPORARY_FOLDER, closing(connection.cursor()) as cursor:
        if printable(folder) == folder:  # otherwise SQLite cannot be told, and takes memory
            quoted = folder.replace("'", "''")
            cursor.execute("PRAGMA temp_store = FILE")
            cursor.execute(f"PRAGMA temp_store_directory = '{quoted}'")
        try:
            cursor.execute("VACUUM")
        finally:
            cursor.execute("PRAGMA temp_store_directory = ''")
            cursor.execute("PRAGMA temp_store = MEMORY")


def empty_log(connection: PoolProxiedConnection) -> bool:
    """Write the log into the file and empty it. Return False if a reader keeps it from that."""
    with closing(connection.cursor()) as cursor:
        row = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return row is not None and not row[0]
