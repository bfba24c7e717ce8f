"""Database connections, transactions and errors."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import Session as Session  # re-exported
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from gallery.config import Settings
from gallery.errors import DatabaseBusy, DatabaseNewer, DatabaseUnusable, HomeUnusable
from gallery.store import scrubbing
from gallery.store.encryption import key_setter, read_key, sqlcipher_driver
from gallery.store.tables import MarkRow
from indexer.whole_file import fsync_folder

SCHEMA = "0013"
"""The newest migration. Numbers let an older program recognise a newer file."""

_MIGRATIONS = Path(__file__).parent / "migrations"
_GALLERY_ID = "gallery_id"
_WRITES = "gallery_writes"
_UNWRITABLE = (
    sqlite3.SQLITE_CANTOPEN,  # e.g. no log can be created on a read-only disk
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,  # e.g. no room for the log's index
)
"""What SQLite reports of a disk that is full or read-only."""
_LOCKED = sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED
_WAL_RETRY_SECONDS = 0.02


class Database:
    """A SQLite file in WAL mode, created or migrated on opening.

    file : readable by its owner only.
    busy_timeout : seconds to wait for another process's lock.
    key : 64 hexadecimal digits; SQLCipher encrypts every page of the file with it.

    A write is durable once its `writing` block has ended. Opening and every use may raise
    HomeUnusable, DatabaseBusy, DatabaseNewer or DatabaseUnusable.

    A database of this schema on a full or read-only disk is opened all the same, for reading.
    """

    def __init__(self, file: Path, *, busy_timeout: float, key: str | None = None) -> None:
        self.file = file
        self.read_only: str | None = None
        """Why nothing can be written, and what is not seen; None unless a write was tried in vain.

        It is None again after the next write that succeeds.
        """
        self._key = key
        self._busy_timeout = busy_timeout
        # Not a string: the file's name may contain characters that are special in a URL.
        url = URL.create("sqlite", database=str(file))
        self._engine = self._prepared(
            create_engine(
                url,
                connect_args={"timeout": busy_timeout, "check_same_thread": False},
                module=self._driver,
                max_overflow=-1,  # one connection per thread
            )
        )
        self._readable = self._engine
        with _errors_translated(file):
            _create_private(file)
            try:
                self._open()
            except Exception as error:
                if _code(error) not in _UNWRITABLE or not self._open_unlogged():
                    raise
                self._note_unwritable(error)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a read transaction: one consistent view of the database."""
        with _errors_translated(self.file), Session(self._readable) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Open a write transaction, which holds the write lock; commit unless the block raises."""
        engine = self._engine.execution_options(**{_WRITES: True})
        with _errors_translated(self.file):
            try:
                with Session(engine) as session, session.begin():
                    session.connection()  # begins the transaction
                    yield session
            except Exception as error:
                if _code(error) in _UNWRITABLE:
                    self._note_unwritable(error)
                raise
        self.read_only, self._readable = None, self._engine

    @property
    def is_encrypted(self) -> bool:
        """Whether the file's pages are encrypted, so that nothing can be searched for in them."""
        return self._key is not None

    def gallery_id(self) -> str:
        """Return the random id given at creation; a saved index must bear the same id."""
        with self.reading() as session:
            return session.get_one(MarkRow, _GALLERY_ID).value

    def problems(self) -> list[str]:
        """Return what SQLite's integrity and foreign key checks report; empty when all is well."""
        with _errors_translated(self.file), self._readable.connect() as connection:
            messages = [str(row[0]) for row in connection.execute(text("PRAGMA integrity_check"))]
            orphans = connection.execute(text("PRAGMA foreign_key_check")).all()
        problems = [] if messages == ["ok"] else messages
        return problems + [
            f"row {row} of {table} refers to a missing row of {parent}"
            for table, row, parent, _ in orphans
        ]

    def free_pages(self) -> int:
        """Return the number of unused pages in the file."""
        with _errors_translated(self.file), self._readable.connect() as connection:
            return int(connection.execute(text("PRAGMA freelist_count")).scalar() or 0)

    def scrub(self) -> None:
        """Remove erased bytes: rebuild the file and empty the write-ahead log.

        Raises DatabaseUnusable when the disk has no room for that, and as `empty_log` does.
        """
        with _errors_translated(self.file), closing(self._engine.raw_connection()) as pooled:
            scrubbing.rebuild(pooled, self.file)
        self.empty_log()

    def empty_log(self) -> None:
        """Write the write-ahead log into the file, and empty it.

        Rows and pages that were deleted are then zero in the file (SQLite's `secure_delete`). Bytes
        of a row that SQLite had moved to another page before may be left in the page it was in.
        Raises DatabaseBusy when a reader in another process holds the log for too long.
        """
        with _errors_translated(self.file), closing(self._engine.raw_connection()) as pooled:
            is_empty = scrubbing.empty_log(pooled)
        if not is_empty:
            raise DatabaseBusy(
                f"{self.file}: another process is reading, so erased bytes remain in the"
                " write-ahead log; stop that process and run any command on this gallery"
            )

    def require_room_to_scrub(self) -> None:
        """Raise DatabaseUnusable if the disk has no room for `scrub`."""
        with _errors_translated(self.file), closing(self._engine.raw_connection()) as pooled:
            scrubbing.require_room(pooled, self.file)

    def copy_to(self, file: Path) -> None:
        """Copy the database to a new file; writers need not stop.

        The copy is rebuilt, so it has no free pages and no erased bytes.
        """
        _create_private(file)  # SQLite treats an empty file as new
        with _errors_translated(file):
            pooled = self._readable.raw_connection()
            try:
                pooled.cursor().execute("VACUUM INTO ?", [str(file)])
            finally:
                pooled.close()

    def assign_new_id(self) -> None:
        """Give this copy a new gallery id, so that it rejects the original's index."""
        with self.writing() as session:
            session.get_one(MarkRow, _GALLERY_ID).value = uuid4().hex

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def _open(self) -> None:
        with self._engine.connect() as connection:
            version = _version(connection)
            mode = connection.execute(text("PRAGMA journal_mode")).scalar()
        if mode != "wal" and version in (None, SCHEMA):  # a copied file loses it
            self._enable_wal()
        if version != SCHEMA:
            self._migrate()
            if mode != "wal":
                self._enable_wal()

    def _open_unlogged(self) -> bool:
        """Read the file alone, without its write-ahead log. Returns whether that is possible.

        SQLite reads a log only beside files that it may create. Without them, the file is right as
        of the last checkpoint; after an erasure there is always one. It is opened anew for each
        read, because other processes may write to it once they can.
        """
        uri = f"{self.file.absolute().as_uri()}?immutable=1"
        connect = self._driver.connect
        engine = self._prepared(
            create_engine(
                "sqlite://",
                creator=lambda: connect(uri, uri=True, check_same_thread=False),
                module=self._driver,
                poolclass=NullPool,
            )
        )
        try:
            with engine.connect() as connection:
                is_current = _version(connection) == SCHEMA
        except exc.DBAPIError:
            return False
        if is_current:
            self._readable = engine
        return is_current

    def _note_unwritable(self, error: Exception) -> None:
        self.read_only = str(_translated(self.file, error))
        if self._readable is not self._engine:
            log = self.file.with_name(f"{self.file.name}-wal")
            size = log.stat().st_size if log.exists() else 0
            if size:
                self.read_only += f"; changes still in {log.name} ({size:,} bytes) are not seen"

    @property
    def _driver(self) -> Any:
        return sqlite3 if self._key is None else sqlcipher_driver()

    def _prepared(self, engine: Engine) -> Engine:
        if self._key is not None:  # must be the first statement of a connection
            event.listen(engine, "connect", key_setter(self._key))
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
        return engine

    def _enable_wal(self) -> None:
        """Turn on the write-ahead log. The file remembers it; no transaction may be open.

        SQLite does not wait for other processes here, so that we do.
        """
        give_up_at = time.monotonic() + self._busy_timeout
        with closing(self._engine.raw_connection()) as pooled:
            while True:
                try:
                    pooled.cursor().execute("PRAGMA journal_mode = WAL")
                    return
                except Exception as error:
                    if _code(error) not in _LOCKED or time.monotonic() > give_up_at:
                        raise
                    time.sleep(_WAL_RETRY_SECONDS)

    def _migrate(self) -> None:
        # Alembic is slow to import, and needed only for a new or an older file.
        from alembic import command
        from alembic.config import Config
        from alembic.util.exc import CommandError

        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        with self._engine.execution_options(**{_WRITES: True}).begin() as connection:
            version = _version(connection)  # another process may have migrated already
            if version is not None and version > SCHEMA:
                raise DatabaseNewer(
                    f"{self.file} was written by a newer version (schema {version}; this version"
                    f" supports {SCHEMA}); install the newer version or use another --home"
                )
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise DatabaseUnusable(
                    f"{self.file} has unknown schema {version}; use another --home"
                ) from error
            if version is None:
                with Session(connection) as session:
                    session.add(MarkRow(name=_GALLERY_ID, value=uuid4().hex))
                    session.flush()


def _create_private(file: Path) -> None:
    """Create the file, readable by its owner only. The write-ahead log inherits the mode.

    An existing file is not opened: closing it would release SQLite's locks on it, which another
    connection of this process may hold.
    """
    with contextlib.suppress(OSError):  # SQLite's own error says more
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _version(connection: Connection) -> str | None:
    tables = set(connection.execute(text("SELECT name FROM sqlite_master")).scalars())
    if "alembic_version" in tables:
        version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return None if version is None else str(version)
    if tables:
        raise DatabaseUnusable(
            f"the file belongs to another program (it has a table {sorted(tables)[0]!r});"
            " use another --home"
        )
    return None


def _prepare(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # Let _begin start transactions, not the driver.
    connection.isolation_level = None
    # Temporary files would be written outside the home, where no erasure reaches them.
    for pragma in (
        "synchronous = FULL",
        "foreign_keys = ON",
        "secure_delete = ON",
        "temp_store = MEMORY",
    ):
        connection.cursor().execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # A writer takes the lock first: upgrading a read transaction can fail halfway as "locked".
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _errors_translated(file: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # SQLCipher's driver raises its own errors, with SQLite's codes.
        if isinstance(error, exc.DBAPIError) or hasattr(error, "sqlite_errorcode"):
            raise _translated(file, error) from error
        raise


def _code(error: Exception) -> int:
    """SQLite's primary result code; 0 for an error that is not SQLite's."""
    origin = error.orig if isinstance(error, exc.DBAPIError) else error
    return int(getattr(origin, "sqlite_errorcode", 0)) & 0xFF


def _translated(file: Path, error: Exception) -> Exception:
    message = str(error.orig if isinstance(error, exc.DBAPIError) else error)
    match _code(error):
        case code if code in _LOCKED:
            return DatabaseBusy(
                f"{file} is being written by another process; try again, or raise"
                " GALLERY_BUSY_TIMEOUT"
            )
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
            free = shutil.disk_usage(file.parent).free
            return DatabaseUnusable(
                f"{file}: {message}; the disk has {free:,} bytes free: free some space or repair"
                " the disk, then try again"
            )
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return HomeUnusable(
                f"{file} cannot be opened for writing ({message}); check the folder's permissions"
                " or use another --home"
            )
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return DatabaseUnusable(
                f"{file} is not a healthy database ({message}), or it is encrypted with another key"
                " (GALLERY_KEY_FILE); restore it from a backup or use another --home"
            )
    return DatabaseUnusable(f"{file}: {message}")


def open_home(home: Path) -> Path:
    """Create the home folder, readable by its owner only, if it is missing. Raises HomeUnusable."""
    try:
        if not home.is_dir():
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            fsync_folder(home.parent)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise HomeUnusable(
            f"{str(home)!r} cannot be created: {reason}; choose another --home"
        ) from error
    return home


def open_database(settings: Settings, file: Path) -> Database:
    """Open a database as configured. Raises HomeError, or SettingInvalid for an unusable key."""
    key = None if settings.key_file is None else read_key(settings.key_file)
    return Database(file, busy_timeout=settings.busy_timeout, key=key)
