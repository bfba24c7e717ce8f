"""The store keeps what it was given, to the bit, refuses what it must, and says why it cannot."""

from __future__ import annotations

import hashlib
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, create_engine, text

import gallery.store
from gallery.encoders.weights import DLIB_RESNET
from gallery.errors import (
    DatabaseBusy,
    DatabaseNewer,
    DatabaseUnusable,
    EncoderChanged,
    GalleryError,
    HomeError,
    HomeUnusable,
    IdentityExists,
    IdentityNotFound,
    InvalidEncoding,
    InvalidName,
)
from gallery.gallery import Gallery
from gallery.store import encoders, faces, identities, merges
from gallery.store.change_log import changed_since, latest_change
from gallery.store.database import SCHEMA, Database, open_home
from gallery.store.records import NewFace
from gallery.store.tables import Base
from gallery.types import Box, Encodings, Face, Float32, Photo

MIGRATIONS = Path(gallery.store.__file__).parent / "migrations"


def file_of(database: Database) -> Path:
    return Path(database.file)


def names(database: Database) -> list[str]:
    with database.reading() as session:
        return [record.name for record in identities.list_all(session)]


def face_ids(database: Database) -> list[int]:
    with database.reading() as session:
        return faces.ids(session)


def latest(database: Database) -> int:
    with database.reading() as session:
        return latest_change(session)


def photo_count(database: Database) -> int:
    with database.reading() as session:
        return session.execute(text("SELECT count(*) FROM photos")).scalar_one()


def remove(database: Database, name: str) -> list[int]:
    with database.writing() as session:
        return identities.remove(session, identities.get(session, name).id)


# The file


def test_a_new_file_has_exactly_the_tables(database: Database) -> None:
    engine = create_engine(URL.create("sqlite", database=str(database.file)))
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    engine.dispose()
    assert differences == []


def test_the_schema_is_the_newest_migration(database: Database) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA
    with closing(sqlite3.connect(database.file)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [
            (SCHEMA,)
        ]


def test_a_file_is_opened_again_as_the_same_gallery(database: Database) -> None:
    gallery_id = database.gallery_id()
    assert len(gallery_id) == 32
    again = Database(database.file, busy_timeout=5.0)
    assert again.gallery_id() == gallery_id and again.problems() == []
    again.close()


def test_two_files_are_two_galleries(database: Database, tmp_path: Path) -> None:
    other = Database(tmp_path / "other.db", busy_timeout=5.0)
    assert other.gallery_id() != database.gallery_id()
    other.close()


@pytest.mark.parametrize("version", ["0007", "0100", "9999"])
def test_a_newer_file_is_refused_and_left_alone(database: Database, version: str) -> None:
    database.close()
    with closing(sqlite3.connect(database.file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [version])
        connection.commit()
    with pytest.raises(DatabaseNewer, match=f"{version}.*{SCHEMA}.*--home"):
        Database(database.file, busy_timeout=0.1)
    with closing(sqlite3.connect(database.file)) as connection:
        found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    assert found == (version,)


def _of_another_program(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE cookies (name TEXT)")
        connection.execute("INSERT INTO cookies VALUES ('oat')")
        connection.commit()


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "gallery.db"
    _of_another_program(file)
    before = file.read_bytes()
    with pytest.raises(DatabaseUnusable, match=r"another program.*cookies.*--home"):
        Database(file, busy_timeout=0.1)
    assert file.read_bytes() == before


@pytest.mark.parametrize("version", ["0000", "0000a1", "08f3a1b2c3d4"])
def test_another_alembic_database_is_refused_and_left_alone(tmp_path: Path, version: str) -> None:
    file = tmp_path / "gallery.db"
    _of_another_program(file)
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
def test_a_file_that_is_no_database_is_refused_and_left_alone(
    tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "gallery.db"
    file.write_bytes(content)
    with pytest.raises(DatabaseUnusable, match=r"gallery\.db"):
        Database(file, busy_timeout=0.1)
    assert file.read_bytes() == content


def test_a_damaged_file_is_told_so(database: Database, unit_rows, add_face) -> None:
    for number, row in enumerate(range(60)):
        add_face(database, f"person {number}", unit_rows(60, 1).row(row), number)
    database.close()
    content = bytearray(file_of(database).read_bytes())
    content[32768:-4096] = bytes(len(content) - 32768 - 4096)
    file_of(database).write_bytes(content)
    with (
        pytest.raises(DatabaseUnusable, match="not a healthy database"),
        closing(Database(database.file, busy_timeout=0.1)) as damaged,
    ):
        with damaged.reading() as session:
            faces.records(session)
            list(faces.all_encodings(session))
        with damaged.writing() as session:
            identities.add(session, "one more")


def test_a_database_cut_short_is_told_so(database: Database, unit_rows, add_face) -> None:
    for number in range(30):
        add_face(database, f"person {number}", unit_rows(30, 2).row(number), number)
    database.close()
    content = file_of(database).read_bytes()
    file_of(database).write_bytes(content[: len(content) // 2])
    with pytest.raises(DatabaseUnusable):
        damaged = Database(database.file, busy_timeout=0.1)
        if problems := damaged.problems():
            damaged.close()
            raise DatabaseUnusable(str(problems))


# The folder


def test_a_new_home_is_its_owners_alone(tmp_path: Path) -> None:
    home = open_home(tmp_path / "deep" / "er" / "home")
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert open_home(home) == home


def test_a_home_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for home in (
        tmp_path / "file",
        tmp_path / "file" / "home",
        tmp_path / ("x" * 300),
        tmp_path / "n\0ul",
    ):
        with pytest.raises(HomeUnusable, match="--home"):
            open_home(home)


def test_a_folder_in_the_databases_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gallery.db").mkdir()
    with pytest.raises(HomeUnusable, match=r"gallery\.db.*--home"):
        Database(tmp_path / "gallery.db", busy_timeout=0.1)


@pytest.mark.parametrize(
    "name", ["a b", "ünï", "100%", "a%20b", "a#b", "a?b", "a?mode=ro", "it's", 'a"b', ":memory:"]
)
def test_a_home_may_have_any_name(tmp_path: Path, name: str) -> None:
    with Gallery.open(tmp_path / name) as opened:
        opened.identities()
    assert sorted(f.name for f in tmp_path.iterdir()) == [name]
    assert (tmp_path / name / "gallery.db").stat().st_size > 0


OPENING = """
import sys, time
from pathlib import Path
from gallery.store.database import Database
print("ready", flush=True)
start = float(sys.stdin.readline())
for number in range(4):
    time.sleep(max(0.0, start + 0.25 * number - time.time()))
    database = Database(Path(sys.argv[1], f"{number}.db"), busy_timeout=20.0)
    print(database.gallery_id(), *database.problems(), flush=True)
    database.close()
"""


def test_processes_that_make_one_gallery_at_once_agree(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPENING, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    start = f"{time.time() + 0.2}\n"
    said = [process.communicate(start, timeout=60)[0].splitlines() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(said[0]) == 4 and said[0] == said[1] == said[2]


# Locks and transactions


@pytest.mark.parametrize("kind", ["IMMEDIATE", "EXCLUSIVE"])
def test_a_locked_database_is_busy_and_can_still_be_read(database: Database, kind: str) -> None:
    hasty = Database(database.file, busy_timeout=0.05)
    with closing(sqlite3.connect(database.file)) as other:
        other.execute(f"BEGIN {kind}")
        with pytest.raises(DatabaseBusy, match="GALLERY_BUSY_TIMEOUT"), hasty.writing() as session:
            identities.count(session)  # even what only reads waits for the lock
        assert names(hasty) == []
        opened_meanwhile = Database(database.file, busy_timeout=0.05)
        assert opened_meanwhile.gallery_id() == database.gallery_id()
        opened_meanwhile.close()
        other.rollback()
    with hasty.writing() as session:
        identities.add(session, "Ada")
    assert names(database) == ["Ada"]
    hasty.close()


def test_a_new_file_that_another_process_holds_is_busy(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "gallery.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DatabaseBusy):
            Database(tmp_path / "gallery.db", busy_timeout=0.05)


def test_waiting_for_another_process_ends_when_it_ends(database: Database) -> None:
    holding = (
        "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1]); c.execute('BEGIN IMMEDIATE');"
        "print('held', flush=True); time.sleep(0.4); c.rollback()"
    )
    command = [sys.executable, "-c", holding, str(database.file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with database.writing() as session:
            identities.add(session, "Ada")
    assert names(database) == ["Ada"]


def test_an_error_inside_a_write_undoes_all_of_it(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.writing() as session:
        identities.add(session, "Ada")
        _ = 1 / 0
    assert names(database) == []


def test_a_reader_has_one_view_while_others_write(database: Database, unit_rows, add_face) -> None:
    add_face(database, "Ada", unit_rows(1, 3), 1)
    with database.reading() as session:
        assert faces.count(session) == 1
        add_face(database, "Ada", unit_rows(1, 4), 2)
        assert faces.count(session) == 1 and len(faces.ids(session)) == 1
    assert len(face_ids(database)) == 2


def test_a_full_disk_is_told_and_loses_nothing(
    database: Database, unit_rows, add_face, small_disk
) -> None:
    add_face(database, "Ada", unit_rows(1, 5), 0)
    rows = unit_rows(400, 6)
    with small_disk(file_of(database).stat().st_size + 64 * 1024):
        stored = 1
        with pytest.raises(HomeError, match=r"gallery\.db"):
            for number in range(1, 400):
                add_face(database, "Ada", rows.row(number), number)
                stored += 1
    assert len(face_ids(database)) == stored
    assert database.problems() == []
    add_face(database, "Ada", rows.row(0), 1000)
    assert len(face_ids(database)) == stored + 1


# Encodings


def test_encodings_come_back_to_the_bit(database: Database, unit_rows, add_face) -> None:
    rows = unit_rows(25, 7)
    rows.vectors[3] = np.eye(128, dtype=np.float32)[5]
    rows.vectors[3, :2] = (-0.0, 1e-40)  # a negative zero and a number below the normal ones
    ids = [add_face(database, f"person {i % 4}", rows.row(i), i) for i in range(25)]
    with database.reading() as session:
        found = faces.encodings_by_id(session, [*reversed(ids), 999])
        blocks = list(faces.all_encodings(session, block=7))
    assert found.face_ids.tolist() == sorted(ids) == ids
    assert found.encodings.vectors.dtype == np.float32 == found.encodings.norms.dtype
    assert found.encodings.vectors.tobytes() == rows.vectors.tobytes()
    assert found.encodings.norms.tobytes() == rows.norms.tobytes()
    assert [len(block.face_ids) for block in blocks] == [7, 7, 7, 4]
    joined = np.concatenate([block.encodings.vectors for block in blocks])
    assert joined.tobytes() == rows.vectors.tobytes()
    assert np.concatenate([b.face_ids for b in blocks]).tolist() == ids


def test_nothing_stored_is_nothing_found(database: Database) -> None:
    with database.reading() as session:
        found = faces.encodings_by_id(session, [1, 2])
        assert found.encodings.vectors.shape == (0, 128) and len(found.face_ids) == 0
        assert list(faces.all_encodings(session)) == [] and faces.records_by_id(session, []) == {}
        assert faces.count(session) == identities.count(session) == latest_change(session) == 0


def _long(rows: Encodings) -> Encodings:
    return Encodings(rows.vectors * np.float32(1.01), rows.norms, rows.agreement)


def _rest(rows: Encodings) -> tuple[Float32, Float32]:
    return rows.norms, rows.agreement


def _with(value: float) -> Callable[[Encodings], Encodings]:
    def altered(rows: Encodings) -> Encodings:
        vectors = rows.vectors.copy()
        vectors[0, 7] = value
        return Encodings(vectors, rows.norms, rows.agreement)

    return altered


@pytest.mark.parametrize(
    "altered",
    [
        pytest.param(_long, id="too long"),
        pytest.param(lambda r: Encodings(0 * r.vectors, *_rest(r)), id="zero"),
        pytest.param(_with(np.nan), id="NaN"),
        pytest.param(_with(np.inf), id="infinity"),
        pytest.param(lambda r: Encodings(r.vectors.astype(float), *_rest(r)), id="float64"),
        pytest.param(lambda r: Encodings(r.vectors.astype(np.float16), *_rest(r)), id="float16"),
        pytest.param(lambda r: Encodings(r.vectors[0], *_rest(r)), id="one axis"),
        pytest.param(lambda r: Encodings(np.tile(r.vectors, (2, 1)), *_rest(r)), id="two rows"),
        pytest.param(lambda r: Encodings(r.vectors[:, :64], *_rest(r)), id="half a row"),
    ],
)
def test_what_is_no_encoding_is_not_stored(
    database: Database, unit_rows, add_face, altered: Callable[[Encodings], Encodings]
) -> None:
    with pytest.raises(InvalidEncoding, match="expected"):
        add_face(database, "Ada", altered(unit_rows(1, 8)), 1)
    assert names(database) == [] and face_ids(database) == []
    assert photo_count(database) == 0 and latest(database) == 0


def test_what_is_known_of_a_face_comes_back(database: Database, unit_rows, add_face) -> None:
    rows = unit_rows(2, 9)
    first, second = (
        add_face(database, "Ada", rows.row(0), 1),
        add_face(database, "B", rows.row(1), 2),
    )
    with database.reading() as session:
        record, other = faces.records(session)
        assert faces.records_by_id(session, [second, 77]) == {second: other}
        assert faces.records(session, identity_id=record.identity.id) == [record]
        assert faces.face_of(session, record.identity.id, record.photo_sha256) == first
        assert faces.face_of(session, other.identity.id, record.photo_sha256) is None
    assert (record.id, record.identity.name, record.photo) == (first, "Ada", "photos/1.jpg")
    assert record.photo_sha256 == hashlib.sha256(b"1").hexdigest()
    assert record.box == Box(1.5, 2.0, 101.25, 120.0)
    assert (record.probability, record.sharpness) == (0.999, 50.0)
    assert record.norm == pytest.approx(float(rows.norms[0]))


def test_a_photo_whose_name_is_not_unicode_can_be_stored(database: Database, unit_rows) -> None:
    source = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")  # as Python names such a file
    photo = Photo(np.zeros((1, 1, 3), np.uint8), 1.0, 640, 480, "0" * 64, source)
    face = Face(Box(0, 0, 100, 100), np.ones((5, 2), np.float32), 0.999, 50.0)
    with database.writing() as session:
        encoder = faces.encoder_id(session, DLIB_RESNET.name, DLIB_RESNET.sha256)
        ada = identities.add(session, "Ada")
        faces.add(session, ada, photo, NewFace(face, unit_rows(1, 10), 1), encoder)
    with database.reading() as session:
        (record,) = faces.records(session)
    assert record.photo.startswith("caf") and record.photo.endswith(".jpg")


def test_another_encoders_encodings_are_refused(database: Database, unit_rows, add_face) -> None:
    with database.reading() as session:
        encoders.check_current(session, "any other", "f" * 64, None)  # nothing is stored yet
    add_face(database, "Ada", unit_rows(1, 11), 1)
    for name, sha256 in ((DLIB_RESNET.name, "f" * 64), ("other", DLIB_RESNET.sha256)):
        with pytest.raises(EncoderChanged, match="enrol the photos again"), database.reading() as s:
            encoders.check_current(s, name, sha256, None)
        with pytest.raises(EncoderChanged), database.writing() as s:
            faces.encoder_id(s, name, sha256)
    with database.writing() as session:
        encoders.check_current(session, DLIB_RESNET.name, DLIB_RESNET.sha256, None)
        first = faces.encoder_id(session, DLIB_RESNET.name, DLIB_RESNET.sha256)
        assert first == faces.encoder_id(session, DLIB_RESNET.name, DLIB_RESNET.sha256)


def test_a_gallery_of_another_encoder_is_not_opened(tmp_path: Path, unit_rows, add_face) -> None:
    with Gallery.open(tmp_path / "home") as opened:
        add_face(opened.database, "Ada", unit_rows(1, 12), 1)
    with closing(sqlite3.connect(tmp_path / "home" / "gallery.db")) as connection:
        connection.execute("UPDATE encoders SET weights_sha256 = ?", ["f" * 64])
        connection.commit()
    with pytest.raises(EncoderChanged, match="--home"):
        Gallery.open(tmp_path / "home")


# Identities


def test_a_name_is_given_once(database: Database) -> None:
    with database.writing() as session:
        identities.add(session, "Ada")
    with pytest.raises(IdentityExists, match="Ada"), database.writing() as session:
        identities.add(session, " Ada ")
    with (
        closing(sqlite3.connect(database.file)) as connection,
        pytest.raises(sqlite3.IntegrityError),
    ):
        connection.execute(
            "INSERT INTO identities (name, details, created_at, updated_at)"
            " VALUES ('Ada', '{}', '2024-01-01', '2024-01-01')"
        )


def test_a_name_is_found_however_its_accents_are_written(database: Database) -> None:
    composed, decomposed = "Jos\u00e9 N\u00fa\u00f1ez", "Jose\u0301 Nu\u0301n\u0303ez"
    with database.writing() as session:
        made = identities.add(session, decomposed)
    with database.reading() as session:
        for name in (composed, decomposed, f"  {decomposed}\n"):
            found = identities.find(session, name)
            assert found is not None and (found.id, found.name) == (made, composed)
        assert identities.find(session, "Jose Nunez") is None


def test_an_identity_is_named_by_name_before_id(database: Database) -> None:
    with database.writing() as session:
        ada, two = identities.add(session, "Ada"), identities.add(session, "1")
        assert identities.get(session, "Ada").id == ada
        assert identities.get(session, "1").id == two == 2  # although Ada's id is 1
        assert identities.get(session, "2").id == two
        for unknown in ("Bob", "3", "99999999999999999999999999", "-1", "1.0"):
            with pytest.raises(IdentityNotFound, match="identities list"):
                identities.get(session, unknown)


@pytest.mark.parametrize("name", ["a/b", "", " ", "x" * 201, "tab\there", "\ud800"])
def test_what_can_be_no_name_is_no_identity(database: Database, name: str) -> None:
    with database.reading() as session, pytest.raises((IdentityNotFound, InvalidName)):
        identities.get(session, name)
    with database.writing() as session, pytest.raises(InvalidName):
        identities.add(session, name)


def test_renaming(database: Database) -> None:
    with database.writing() as session:
        ada, _ = identities.add(session, "Ada"), identities.add(session, "Bob")
    with database.writing() as session:
        renamed = identities.rename(session, "Ada", " Ada Lovelace ")
        assert (renamed.id, renamed.name) == (ada, "Ada Lovelace")
        assert identities.rename(session, str(ada), "Ada Lovelace").name == "Ada Lovelace"
    for new, error in (("Bob", IdentityExists), ("a/b", InvalidName)):
        with pytest.raises(error), database.writing() as session:
            identities.rename(session, "Ada Lovelace", new)
    with pytest.raises(IdentityNotFound), database.writing() as session:
        identities.rename(session, "Ada", "Bob")
    assert names(database) == ["Ada Lovelace", "Bob"]


def test_times_are_in_utc_and_say_so(database: Database, unit_rows, add_face) -> None:
    before = datetime.now(UTC)
    add_face(database, "Ada", unit_rows(1, 12), 1)
    with database.writing() as session:
        new = identities.describe(session, "Ada", "A-1", {})
    with database.reading() as session:
        read, (face,) = identities.get(session, "Ada"), faces.records(session)
    for record in (new, read):
        assert before <= record.created_at <= record.updated_at <= datetime.now(UTC)
    assert new == read
    assert before <= face.created_at <= datetime.now(UTC)


def test_describing(database: Database) -> None:
    with database.writing() as session:
        identities.add(session, "Ada")
        identities.add(session, "Bob")
        described = identities.describe(session, "Ada", "A-1", {"team": "Engines", "floor": "2"})
        assert described.external_id == "A-1"
        assert described.details == {"team": "Engines", "floor": "2"}
    with database.writing() as session:  # None leaves the external id; an empty value removes
        described = identities.describe(session, "Ada", None, {"floor": "", "room": "é"})
        assert described.external_id == "A-1" and described.details == {
            "team": "Engines",
            "room": "é",
        }
    with pytest.raises(IdentityExists, match=r"Ada.*A-1"), database.writing() as session:
        identities.describe(session, "Bob", "A-1", {})
    with database.writing() as session:
        assert identities.describe(session, "Ada", "A-1", {}).external_id == "A-1"
        assert identities.describe(session, "Ada", "", {}).external_id is None
        assert identities.describe(session, "Bob", "", {}).external_id is None
        with pytest.raises(IdentityNotFound):
            identities.describe(session, "Eve", "E", {})


@pytest.mark.parametrize(("external_id", "details"), [("\ud800", {}), (None, {"note": "\ud800"})])
def test_what_is_no_text_is_refused_in_a_description(
    tmp_path: Path, external_id: str | None, details: dict[str, str]
) -> None:
    with Gallery.open(tmp_path / "home") as opened:
        with opened.database.writing() as session:
            identities.add(session, "Ada")
        try:
            opened.describe("Ada", external_id=external_id, details=details)
        except GalleryError:
            return
        assert opened.identity("Ada")[0].details == details


def test_merging_gives_all_faces_to_one(database: Database, unit_rows, add_face) -> None:
    rows = unit_rows(6, 13)
    ids = [
        add_face(database, name, rows.row(i), photo)
        for i, (name, photo) in enumerate(
            [
                ("Ada", 1),
                ("Ada", 2),
                ("A. Lovelace", 3),
                ("Countess", 4),
                ("Countess", 5),
                ("Bob", 6),
            ]
        )
    ]
    before = latest(database)
    with database.writing() as session:
        kept = merges.merge(session, "Ada", ["A. Lovelace", "Countess", "Ada"]).identity
        assert (kept.name, kept.faces) == ("Ada", 5)
    assert names(database) == ["Ada", "Bob"] and face_ids(database) == ids
    with database.reading() as session:
        assert [r.id for r in faces.records(session, identity_id=kept.id)] == ids[:5]
        found = faces.encodings_by_id(session, ids)
        assert found.encodings.vectors.tobytes() == rows.vectors.tobytes()
    assert latest(database) == before  # no face came or went


def test_merging_drops_the_twin_from_one_photo_and_logs_it(
    database: Database, unit_rows, add_face
) -> None:
    rows = unit_rows(3, 14)
    kept = add_face(database, "Ada", rows.row(0), 1)
    twin = add_face(database, "Countess", rows.row(1), 1)
    own = add_face(database, "Countess", rows.row(2), 2)
    before = latest(database)
    with database.writing() as session:
        assert merges.merge(session, "Ada", ["Countess"]).identity.faces == 2
    assert face_ids(database) == [kept, own] and photo_count(database) == 2
    with database.reading() as session:
        assert changed_since(session, before) == [twin]


def test_two_of_the_others_may_have_one_photo(database: Database, unit_rows, add_face) -> None:
    rows = unit_rows(3, 15)
    for i, (name, photo) in enumerate([("Ada", 1), ("B", 2), ("C", 2)]):
        add_face(database, name, rows.row(i), photo)
    with database.writing() as session:
        assert merges.merge(session, "Ada", ["B", "C"]).identity.faces == 2
    assert names(database) == ["Ada"] and database.problems() == []


def test_one_of_the_others_may_be_named_twice(database: Database, unit_rows, add_face) -> None:
    rows = unit_rows(2, 23)
    for i, name in enumerate(["Ada", "B"]):
        add_face(database, name, rows.row(i), i)
    with database.writing() as session:
        by_id = str(identities.get(session, "B").id)
        assert merges.merge(session, "Ada", ["B", by_id, "B"]).identity.faces == 2
    assert names(database) == ["Ada"]


def test_a_merge_with_someone_unknown_changes_nothing(
    database: Database, unit_rows, add_face
) -> None:
    for i, name in enumerate(["Ada", "B"]):
        add_face(database, name, unit_rows(2, 16).row(i), i)
    with pytest.raises(IdentityNotFound, match="Eve"), database.writing() as session:
        merges.merge(session, "Ada", ["B", "Eve"])
    assert names(database) == ["Ada", "B"]


def test_removing_takes_the_faces_and_the_photos_no_one_else_is_in(
    database: Database, unit_rows, add_face
) -> None:
    rows = unit_rows(4, 17)
    a1, a2 = add_face(database, "Ada", rows.row(0), 1), add_face(database, "Ada", rows.row(1), 2)
    b1 = add_face(database, "Bob", rows.row(2), 1)  # two people in one photo
    assert photo_count(database) == 2
    before = latest(database)
    assert remove(database, "Ada") == [a1, a2]
    assert names(database) == ["Bob"] and face_ids(database) == [b1]
    assert photo_count(database) == 1 and database.problems() == []
    with database.reading() as session:
        assert sorted(changed_since(session, before)) == [a1, a2]
    remove(database, "Bob")
    assert photo_count(database) == 0


def test_ids_are_never_given_again(database: Database, unit_rows, add_face) -> None:
    rows = unit_rows(3, 18)
    seen_faces, seen_people = set(), set()
    for i in range(3):
        face = add_face(database, "Ada", rows.row(i), i)
        with database.reading() as session:
            person = identities.get(session, "Ada").id
        assert face not in seen_faces and person not in seen_people
        seen_faces.add(face)
        seen_people.add(person)
        remove(database, "Ada")
        database.scrub()


def test_an_identity_with_very_many_faces_can_be_removed(
    database: Database, unit_rows, add_face
) -> None:
    add_face(database, "Ada", unit_rows(1, 19), 0)
    count = 33_000  # SQLite takes 32,766 parameters
    with closing(sqlite3.connect(database.file)) as connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            " INSERT INTO photos SELECT i, 'x' || i, 1, 1, created_at FROM n, photos",
            [count],
        )
        columns = [row[1] for row in connection.execute("PRAGMA table_info(faces)")]
        chosen = ", ".join(
            {"id": "p.id", "photo_id": "p.id"}.get(column, f'f."{column}"') for column in columns
        )
        connection.execute(
            f"INSERT INTO faces SELECT {chosen} FROM faces f, photos p WHERE p.id > 1"
        )
        connection.commit()
    with database.writing() as session:
        identities.add(session, "Countess")
        assert merges.merge(session, "Countess", ["Ada"]).identity.faces == count
    assert len(remove(database, "Countess")) == count
    assert face_ids(database) == [] and photo_count(database) == 0


def test_the_change_log_only_grows(database: Database, unit_rows, add_face) -> None:
    rows = unit_rows(12, 20)
    random = np.random.default_rng(21)
    positions = [0]
    for i in range(12):
        name = f"person {random.integers(3)}"
        face = add_face(database, name, rows.row(i), i)
        with database.reading() as session:
            assert changed_since(session, positions[-1]) == [face]
        positions.append(latest(database))
        if i % 3 == 2:
            gone = remove(database, name)
            with database.reading() as session:
                assert sorted(changed_since(session, positions[-1])) == gone
            positions.append(latest(database))
            database.scrub()
            assert latest(database) == positions[-1]
    assert all(a < b for a, b in pairwise(positions))


# Erased


def test_scrubbing_leaves_no_erased_bytes(database: Database, unit_rows, add_face) -> None:
    rows = unit_rows(40, 22)
    for i in range(40):
        add_face(database, "Unforgettable" if i % 2 else "Bob", rows.row(i), i)
    remove(database, "Unforgettable")
    database.scrub()
    left = b"".join(f.read_bytes() for f in file_of(database).parent.glob("gallery.db*"))
    assert b"Unforgettable" not in left
    for i in range(1, 40, 2):
        assert rows.vectors[i].tobytes() not in left
    assert rows.vectors[0].tobytes() in left


def test_scrubbing_beside_a_reader_says_that_bytes_are_left(database: Database) -> None:
    hasty = Database(database.file, busy_timeout=0.05)
    with hasty.writing() as session:
        identities.add(session, "Ada")
    with database.reading() as session:
        identities.count(session)
        with pytest.raises(DatabaseBusy, match="erased bytes"):
            hasty.scrub()
    hasty.scrub()
    hasty.close()
