"""The database file: creation, opening, locks, damage, and scrubbing erased bytes."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, create_engine

import gallery.store
from gallery.errors import (
    DatabaseBusy,
    DatabaseNewer,
    DatabaseUnusable,
    HomeError,
    HomeUnusable,
)
from gallery.gallery import Gallery
from gallery.store import faces, identities
from gallery.store.database import SCHEMA, Database, open_home
from gallery.store.tables import Base
from tests.store.queries import face_ids, names, remove

MIGRATIONS = Path(gallery.store.__file__).parent / "migrations"

# The file


def test_new_file_matches_the_table_definitions(database: Database) -> None:
    engine = create_engine(URL.create("sqlite", database=str(database.file)))
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    engine.dispose()
    assert differences == []


def test_schema_is_the_newest_migration(database: Database) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA
    with closing(sqlite3.connect(database.file)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [
            (SCHEMA,)
        ]


def test_reopened_file_keeps_its_gallery_id(database: Database) -> None:
    gallery_id = database.gallery_id()
    assert len(gallery_id) == 32
    again = Database(database.file, busy_timeout=5.0)
    assert again.gallery_id() == gallery_id and again.problems() == []
    again.close()


def test_two_files_have_different_gallery_ids(database: Database, tmp_path: Path) -> None:
    other = Database(tmp_path / "other.db", busy_timeout=5.0)
    assert other.gallery_id() != database.gallery_id()
    other.close()


@pytest.mark.parametrize("version", ["0014", "0100", "9999"])
def test_newer_file_is_refused_and_unchanged(database: Database, version: str) -> None:
    database.close()
    with closing(sqlite3.connect(database.file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [version])
        connection.commit()
    with pytest.raises(DatabaseNewer, match=f"{version}.*{SCHEMA}.*--home"):
        Database(database.file, busy_timeout=0.1)
    with closing(sqlite3.connect(database.file)) as connection:
        stored = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    assert stored == (version,)


def _create_foreign_tables(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE cookies (name TEXT)")
        connection.execute("INSERT INTO cookies VALUES ('oat')")
        connection.commit()


def test_database_of_another_program_is_refused_and_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "gallery.db"
    _create_foreign_tables(file)
    before = file.read_bytes()
    with pytest.raises(DatabaseUnusable, match=r"another program.*cookies.*--home"):
        Database(file, busy_timeout=0.1)
    assert file.read_bytes() == before


@pytest.mark.parametrize("version", ["0000", "0000a1", "08f3a1b2c3d4"])
def test_database_with_unknown_schema_is_refused_and_unchanged(
    tmp_path: Path, version: str
) -> None:
    file = tmp_path / "gallery.db"
    _create_foreign_tables(file)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        connection.execute("INSERT INTO alembic_version VALUES (?)", [version])
        connection.commit()
    before = file.read_bytes()
    with pytest.raises(HomeError, match="--home"):
        Database(file, busy_timeout=0.1)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [b"hello", b"not a database\n" * 100, bytes(5000), b"SQLite format 3\0" + b"x" * 5000],
)
def test_invalid_file_is_refused_and_unchanged(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "gallery.db"
    file.write_bytes(content)
    with pytest.raises(DatabaseUnusable, match=r"gallery\.db"):
        Database(file, busy_timeout=0.1)
    assert file.read_bytes() == content


def test_damaged_file_raises(database: Database, unit_rows, add_face) -> None:
    for number, row in enumerate(range(60)):
        add_face(database, f"person {number}", unit_rows(60, 1).row(row), number)
    database.close()
    content = bytearray(database.file.read_bytes())
    content[32768:-4096] = bytes(len(content) - 32768 - 4096)
    database.file.write_bytes(content)
    with (
        pytest.raises(DatabaseUnusable, match="not a healthy database"),
        closing(Database(database.file, busy_timeout=0.1)) as damaged,
    ):
        with damaged.reading() as session:
            faces.records(session)
            list(faces.all_encodings(session))
        with damaged.writing() as session:
            identities.add(session, "one more")


def test_truncated_file_raises(database: Database, unit_rows, add_face) -> None:
    for number in range(30):
        add_face(database, f"person {number}", unit_rows(30, 2).row(number), number)
    database.close()
    content = database.file.read_bytes()
    database.file.write_bytes(content[: len(content) // 2])
    with pytest.raises(DatabaseUnusable):
        damaged = Database(database.file, busy_timeout=0.1)
        if problems := damaged.problems():
            damaged.close()
            raise DatabaseUnusable(str(problems))


# The folder


def test_new_home_is_private(tmp_path: Path) -> None:
    home = open_home(tmp_path / "deep" / "er" / "home")
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert open_home(home) == home


def test_impossible_home_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for home in (
        tmp_path / "file",
        tmp_path / "file" / "home",
        tmp_path / ("x" * 300),
        tmp_path / "n\0ul",
    ):
        with pytest.raises(HomeUnusable, match="--home"):
            open_home(home)


def test_folder_instead_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gallery.db").mkdir()
    with pytest.raises(HomeUnusable, match=r"gallery\.db.*--home"):
        Database(tmp_path / "gallery.db", busy_timeout=0.1)


@pytest.mark.parametrize(
    "name", ["a b", "ünï", "100%", "a%20b", "a#b", "a?b", "a?mode=ro", "it's", 'a"b', ":memory:"]
)
def test_home_may_have_any_name(tmp_path: Path, name: str) -> None:
    with Gallery.open(tmp_path / name) as opened:
        opened.identities()
    assert sorted(f.name for f in tmp_path.iterdir()) == [name]
    assert (tmp_path / name / "gallery.db").stat().st_size > 0


OPENING = """
import sys, time
from pathlib import Path
import alembic.command, alembic.config  # slow; here, so that all begin together
from gallery.store.database import Database
print("ready", flush=True)
start = float(sys.stdin.readline())
for number in range(20):
    time.sleep(max(0.0, start + 0.25 * number - time.time()))
    database = Database(Path(sys.argv[1], f"{number}.db"), busy_timeout=20.0)
    print(database.gallery_id(), *database.problems(), flush=True)
    database.close()
"""


def test_concurrent_creation_yields_one_gallery(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPENING, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    start = f"{time.time() + 0.2}\n"
    outputs = [process.communicate(start, timeout=60)[0].splitlines() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(outputs[0]) == 20 and outputs[0] == outputs[1] == outputs[2]


# Locks and transactions


@pytest.mark.parametrize("kind", ["IMMEDIATE", "EXCLUSIVE"])
def test_locked_database_is_busy_for_writers_only(database: Database, kind: str) -> None:
    impatient = Database(database.file, busy_timeout=0.05)
    with closing(sqlite3.connect(database.file)) as other:
        other.execute(f"BEGIN {kind}")
        with (
            pytest.raises(DatabaseBusy, match="GALLERY_BUSY_TIMEOUT"),
            impatient.writing() as session,
        ):
            identities.count(session)  # even a read in a write block needs the lock
        assert names(impatient) == []
        opened_meanwhile = Database(database.file, busy_timeout=0.05)
        assert opened_meanwhile.gallery_id() == database.gallery_id()
        opened_meanwhile.close()
        other.rollback()
    with impatient.writing() as session:
        identities.add(session, "Ada")
    assert names(database) == ["Ada"]
    impatient.close()


def test_new_file_locked_by_another_process_is_busy(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "gallery.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DatabaseBusy):
            Database(tmp_path / "gallery.db", busy_timeout=0.05)


def test_writer_waits_for_another_process(database: Database) -> None:
    hold_lock = (
        "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1]); c.execute('BEGIN IMMEDIATE');"
        "print('held', flush=True); time.sleep(0.4); c.rollback()"
    )
    command = [sys.executable, "-c", hold_lock, str(database.file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with database.writing() as session:
            identities.add(session, "Ada")
    assert names(database) == ["Ada"]


def test_error_in_a_write_rolls_it_back(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.writing() as session:
        identities.add(session, "Ada")
        _ = 1 / 0
    assert names(database) == []


def test_reader_has_a_consistent_view(database: Database, unit_rows, add_face) -> None:
    add_face(database, "Ada", unit_rows(1, 3), 1)
    with database.reading() as session:
        assert faces.count(session) == 1
        add_face(database, "Ada", unit_rows(1, 4), 2)
        assert faces.count(session) == 1 and len(faces.ids(session)) == 1
    assert len(face_ids(database)) == 2


def test_full_disk_raises_and_loses_nothing(
    database: Database, unit_rows, add_face, small_disk
) -> None:
    add_face(database, "Ada", unit_rows(1, 5), 0)
    rows = unit_rows(400, 6)
    with small_disk(database.file.stat().st_size + 64 * 1024):
        stored = 1
        with pytest.raises(HomeError, match=r"gallery\.db"):
            for number in range(1, 400):
                add_face(database, "Ada", rows.row(number), number)
                stored += 1
    assert len(face_ids(database)) == stored
    assert database.problems() == []
    add_face(database, "Ada", rows.row(0), 1000)
    assert len(face_ids(database)) == stored + 1


# Erased bytes


def test_scrub_removes_erased_bytes(database: Database, unit_rows, add_face) -> None:
    rows = unit_rows(40, 22)
    for i in range(40):
        add_face(database, "Unforgettable" if i % 2 else "Bob", rows.row(i), i)
    remove(database, "Unforgettable")
    database.scrub()
    left = b"".join(f.read_bytes() for f in database.file.parent.glob("gallery.db*"))
    assert b"Unforgettable" not in left
    for i in range(1, 40, 2):
        assert rows.vectors[i].tobytes() not in left
    assert rows.vectors[0].tobytes() in left


def test_scrub_beside_a_reader_is_busy(database: Database) -> None:
    impatient = Database(database.file, busy_timeout=0.05)
    with impatient.writing() as session:
        identities.add(session, "Ada")
    with database.reading() as session:
        identities.count(session)
        with pytest.raises(DatabaseBusy, match="erased bytes"):
            impatient.scrub()
    impatient.scrub()
    impatient.close()
