"""Opening the database, its transactions, and what its errors mean to a user."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from sqlalchemy import URL, Connection, create_engine, event, exc, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import Session as Session  # others name a transaction's type from here
from sqlalchemy.pool import ConnectionPoolEntry

from gallery.config import Settings
from gallery.errors import DatabaseBusy, DatabaseNewer, DatabaseUnusable, HomeUnusable
from gallery.store.encryption import encrypting, read_key, unlocking
from gallery.store.tables import MarkRow
from indexer.whole_file import flush_folder

SCHEMA = "0006"
"""The newest migration; they are numbered, so that an older program knows a newer file."""

_MIGRATIONS = Path(__file__).parent / "migrations"
_GALLERY_ID = "gallery_id"
_WRITES = "gallery_writes"


class Database:
    """A SQLite file in WAL mode. A write is on the disk when its `writing` block has ended.

    key : 64 hexadecimal digits; every page of the file is encrypted with it (SQLCipher).
    Opening creates or migrates the file. Raises HomeUnusable, DatabaseBusy, DatabaseNewer or
    DatabaseUnusable, from here and from every use.
    """

    def __init__(self, file: Path, *, busy_timeout: float, key: str | None = None) -> None:
        self.file = file
        # Not a string: a file's name may have what a URL gives a meaning to.
        url = URL.create("sqlite", database=str(file))
        self._engine = create_engine(
            url,
            connect_args={"timeout": busy_timeout, "check_same_thread": False},
            module=sqlite3 if key is None else encrypting(),
            max_overflow=-1,  # as many connections as there are threads
        )
        if key is not None:  # before anything else is said to a connection
            event.listen(self._engine, "connect", unlocking(key))
        event.listen(self._engine, "connect", _prepare)
        event.listen(self._engine, "begin", _begin)
        with _explained(file):
            _own(file)
            with self._engine.connect() as connection:
                version = _version(connection)
                mode = connection.execute(text("PRAGMA journal_mode")).scalar()
            if mode != "wal" and version in (None, SCHEMA):  # a copy does not remember it
                self._keep_a_log()
            if version != SCHEMA:
                self._migrate()
                if mode != "wal":
                    self._keep_a_log()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """One consistent view of the database."""
        with _explained(self.file), Session(self._engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction that holds the write lock from its start; committed unless it raises."""
        engine = self._engine.execution_options(**{_WRITES: True})
        with _explained(self.file), Session(engine) as session, session.begin():
            session.connection()  # which is what begins it
            yield session

    def gallery_id(self) -> str:
        """A random id given at creation; a saved index that bears another one is foreign."""
        with self.reading() as session:
            return session.get_one(MarkRow, _GALLERY_ID).value

    def problems(self) -> list[str]:
        """What SQLite's own check and the foreign keys say is wrong; empty when nothing is."""
        with _explained(self.file), self._engine.connect() as connection:
            found = [str(row[0]) for row in connection.execute(text("PRAGMA integrity_check"))]
            orphans = connection.execute(text("PRAGMA foreign_key_check")).all()
        problems = [] if found == ["ok"] else found
        return problems + [
            f"row {o[1]} of {o[0]} refers to a missing row of {o[2]}" for o in orphans
        ]

    def free_pages(self) -> int:
        """Pages of the file that hold nothing now."""
        with _explained(self.file), self._engine.connect() as connection:
            return int(connection.execute(text("PRAGMA freelist_count")).scalar() or 0)

    def scrub(self) -> None:
        """Leave no erased bytes in the file: rebuild it, and empty the write-ahead log.

        Raises DatabaseBusy when a reader of another process holds the log for too long.
        """
        with _explained(self.file):
            pooled = self._engine.raw_connection()
            try:
                cursor = pooled.cursor()
                cursor.execute("VACUUM")
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                row = cursor.fetchone()
            finally:
                pooled.close()
        if row is None or row[0]:
            raise DatabaseBusy(
                f"{self.file}: another process is reading, so erased bytes are still in the log;"
                " close it and run any command on this gallery"
            )

    def copy_to(self, file: Path) -> None:
        """Write the database as it is now to a new file, while others go on writing to this one.

        The copy is rebuilt, so that it holds no free pages and nothing that was erased.
        """
        _own(file)  # SQLite takes an empty file for a new one
        with _explained(file):
            pooled = self._engine.raw_connection()
            try:
                pooled.cursor().execute("VACUUM INTO ?", [str(file)])
            finally:
                pooled.close()

    def take_new_id(self) -> None:
        """Become another gallery than the one this is a copy of: its index must not be taken."""
        with self.writing() as session:
            session.get_one(MarkRow, _GALLERY_ID).value = uuid4().hex

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def _keep_a_log(self) -> None:
        """Turn on the write-ahead log, which the file remembers; outside of any transaction."""
        pooled = self._engine.raw_connection()
        try:
            pooled.cursor().execute("PRAGMA journal_mode = WAL")
        finally:
            pooled.close()

    def _migrate(self) -> None:
        # Alembic is slow to import, and needed only when a file is made or is older.
        from alembic import command
        from alembic.config import Config
        from alembic.util.exc import CommandError

        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        with self._engine.execution_options(**{_WRITES: True}).begin() as connection:
            version = _version(connection)  # another process may have been quicker
            if version is not None and version > SCHEMA:
                raise DatabaseNewer(
                    f"{self.file} was written by a newer version (schema {version}, this program"
                    f" knows {SCHEMA}); install that version or use another --home"
                )
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise DatabaseUnusable(
                    f"{self.file} is at schema {version}, which this program never wrote; use"
                    " another --home"
                ) from error
            if version is None:
                with Session(connection) as session:
                    session.add(MarkRow(name=_GALLERY_ID, value=uuid4().hex))
                    session.flush()


def _own(file: Path) -> None:
    """Make a new file readable by its owner alone; its log takes after it.

    One that is there is not touched: to close it would let go of the locks that SQLite has on it
    for another connection of this process.
    """
    with contextlib.suppress(OSError):  # SQLite says better what is wrong
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _version(connection: Connection) -> str | None:
    tables = set(connection.execute(text("SELECT name FROM sqlite_master")).scalars())
    if "alembic_version" in tables:
        version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return None if version is None else str(version)
    if tables:
        raise DatabaseUnusable(
            f"the file is a database of another program (it has {sorted(tables)[0]!r});"
            " use another --home"
        )
    return None


def _prepare(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # Transactions begin where _begin says, not where the driver guesses.
    connection.isolation_level = None
    # Temporary files would lie outside the home, where nobody erases them.
    for pragma in (
        "synchronous = FULL",
        "foreign_keys = ON",
        "secure_delete = ON",
        "temp_store = MEMORY",
    ):
        connection.cursor().execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # A writer takes the lock first: upgrading a reader's transaction can fail half-way as "locked".
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # SQLCipher's driver has errors of its own, with SQLite's codes.
        if isinstance(error, exc.DBAPIError) or hasattr(error, "sqlite_errorcode"):
            raise _as_ours(file, error) from error
        raise


def _as_ours(file: Path, error: Exception) -> Exception:
    origin = error.orig if isinstance(error, exc.DBAPIError) else error
    said = str(origin)
    code = getattr(origin, "sqlite_errorcode", 0) & 0xFF
    match code:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return DatabaseBusy(
                f"{file} is being written by another process; try again, or wait longer with"
                " GALLERY_BUSY_TIMEOUT"
            )
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
            free = shutil.disk_usage(file.parent).free
            return DatabaseUnusable(
                f"{file}: {said}; the disk has {free:,} bytes free: free some space, or mend the"
                " disk, and try again"
            )
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return HomeUnusable(
                f"{file} cannot be opened for writing ({said}); check the folder's permissions or"
                " use another --home"
            )
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return DatabaseUnusable(
                f"{file} is not a healthy database ({said}), or it is encrypted with another key"
                " (GALLERY_KEY_FILE); restore it from a backup or use another --home"
            )
    return DatabaseUnusable(f"{file}: {said}")


def open_home(home: Path) -> Path:
    """Make the folder, readable by its owner alone, unless it is there. Raises HomeUnusable."""
    try:
        if not home.is_dir():
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            flush_folder(home.parent)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise HomeUnusable(
            f"{str(home)!r} cannot be created: {reason}; choose another --home"
        ) from error
    return home


def open_database(settings: Settings, file: Path) -> Database:
    """Raises HomeError, or SettingInvalid for a key that cannot be used."""
    key = None if settings.key_file is None else read_key(settings.key_file)
    return Database(file, busy_timeout=settings.busy_timeout, key=key)
