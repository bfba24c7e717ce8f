"""The index follows the database, whatever its file holds, and erased faces leave it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gallery.encoders.weights import DLIB_RESNET
from gallery.matching.index import IndexReplica
from gallery.store import identities
from gallery.store.database import Database
from gallery.types import DIMENSION, Encodings
from indexer import NO_NEIGHBOUR, load_index, open_index
from tests.matching.conftest import (
    ENGINE,
    OpenReplica,
    assert_agrees,
    position_of,
    remove,
    save_index,
)

# The saved file


def test_missing_file_is_built(
    database: Database, file: Path, open_replica: OpenReplica, face_ids: list[int]
) -> None:
    replica = open_replica()
    assert_agrees(replica, database)
    assert replica.problems() and not file.exists()
    replica.save()
    assert file.exists() and replica.problems() == []


def test_current_file_is_used_unchanged(
    database: Database, file: Path, open_replica: OpenReplica, face_ids: list[int]
) -> None:
    save_index(open_replica)
    before = file.stat()
    reopened = open_replica()
    assert_agrees(reopened, database)
    assert reopened.problems() == []
    reopened.save()  # there is nothing to save
    assert file.stat().st_mtime_ns == before.st_mtime_ns and file.stat().st_ino == before.st_ino


def test_empty_gallery_has_an_empty_index(database: Database, open_replica: OpenReplica) -> None:
    replica = open_replica()
    found = replica.search(np.eye(DIMENSION, dtype=np.float32)[:2], 3)
    assert (found.ids == NO_NEIGHBOUR).all()
    assert replica.problems() == []
    assert_agrees(replica, database)


@pytest.mark.parametrize(
    "altered",
    [
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: content[:50], id="truncated header"),
        pytest.param(lambda content: content[:-1], id="truncated by a byte"),
        pytest.param(lambda content: content[:-9] + bytes(9), id="altered end"),
        pytest.param(lambda content: b"garbage\n" * 100, id="garbage"),
    ],
)
def test_damaged_file_is_rebuilt(
    database: Database,
    file: Path,
    open_replica: OpenReplica,
    face_ids: list[int],
    altered: Callable[[bytes], bytes],
) -> None:
    save_index(open_replica)
    file.write_bytes(altered(file.read_bytes()))
    replica = open_replica()
    assert len(replica.problems()) == 1
    assert_agrees(replica, database)
    replica.save()
    assert replica.problems() == []
    assert_agrees(open_replica(), database)


def test_file_of_another_gallery_is_rebuilt(
    database: Database,
    tmp_path: Path,
    open_replica: OpenReplica,
    face_ids: list[int],
    unit_rows,
    add_face,
) -> None:
    other = Database(tmp_path / "other.db", busy_timeout=5.0)
    for i in range(30):  # as many changes, and the same ids
        add_face(other, "someone else", unit_rows(30, 2).row(i), i)
    foreign = open_replica(other)
    foreign.save()
    replica = open_replica()
    assert "another gallery" in replica.problems()[0]
    assert_agrees(replica, database)
    other.close()


def test_file_of_another_encoder_is_rebuilt(
    database: Database, open_replica: OpenReplica, face_ids: list[int]
) -> None:
    open_replica(encoder="f" * 64).save()
    replica = open_replica()
    assert replica.problems()
    assert_agrees(replica, database)


def test_file_of_another_engine_is_rebuilt(
    database: Database, file: Path, open_replica: OpenReplica, face_ids: list[int]
) -> None:
    IndexReplica(database, file, engine="exact", encoder=DLIB_RESNET.sha256).save()
    assert_agrees(open_replica(), database)


def test_stale_file_is_caught_up(
    database: Database, file: Path, open_replica: OpenReplica, face_ids: list[int], rows, add_face
) -> None:
    save_index(open_replica)
    stale = file.read_bytes()
    removed = remove(database, "person 2")
    added = [add_face(database, "new", rows.row(i), i) for i in range(30, 35)]
    added_and_removed = add_face(database, "brief", rows.row(35), 35)
    remove(database, "brief")
    file.write_bytes(stale)
    replica = open_replica()
    assert replica.problems() == []  # a stale file is fine
    assert_agrees(replica, database)
    ids = set(replica.catch_up().ids().tolist())
    assert not ids & {*removed, added_and_removed} and set(added) < ids
    replica.save()
    assert position_of(file) > 30


def test_file_newer_than_the_database_is_rebuilt(
    database: Database,
    file: Path,
    tmp_path: Path,
    open_replica: OpenReplica,
    face_ids: list[int],
    rows: Encodings,
    add_face,
) -> None:
    database.close()
    shutil.copy(tmp_path / "gallery.db", tmp_path / "backup.db")
    for i in range(30, 35):
        add_face(database, "lost", rows.row(i), i)
    save_index(open_replica)
    database.close()
    for file_of_database in tmp_path.glob("gallery.db*"):
        file_of_database.unlink()
    shutil.copy(tmp_path / "backup.db", tmp_path / "gallery.db")
    older = Database(tmp_path / "gallery.db", busy_timeout=5.0)
    replica = open_replica(older)
    assert "newer than the database" in replica.problems()[0]
    assert_agrees(replica, older)
    replica.save()
    assert replica.problems() == []
    older.close()


def test_restored_older_database_is_noticed_by_an_open_index(
    database: Database, tmp_path: Path, open_replica: OpenReplica, face_ids: list[int]
) -> None:
    replica = open_replica()
    assert len(replica.catch_up()) == 30
    with database.writing() as session:  # as if a backup had been restored
        session.connection().exec_driver_sql("DELETE FROM faces WHERE id > 20")
        session.connection().exec_driver_sql("DELETE FROM changes WHERE id > 20")
    assert_agrees(replica, database)
    assert len(replica.catch_up()) == 20


def test_file_without_the_faces_of_its_position_is_reported(
    database: Database, file: Path, open_replica: OpenReplica, face_ids: list[int]
) -> None:
    save_index(open_replica)
    metadata = load_index(ENGINE, DIMENSION, file)[1]
    open_index(ENGINE, DIMENSION).save(file, metadata)
    assert open_replica().problems() == [f"{file} has 0 faces, the database 30"]


def test_full_disk_is_ignored_when_saving(
    database: Database, file: Path, open_replica: OpenReplica, face_ids: list[int], small_disk
) -> None:
    replica = open_replica()
    with small_disk(2048):
        replica.save()
    assert not file.exists() and [f.name for f in file.parent.glob("*.part")] == []
    replica.save()
    assert file.exists() and replica.problems() == []


# Two processes


def test_changes_of_one_process_are_in_the_next_search_of_the_other(
    database: Database, open_replica: OpenReplica, face_ids: list[int], rows: Encodings, add_face
) -> None:
    elsewhere = Database(database.file, busy_timeout=5.0)
    first, second = open_replica(), open_replica(elsewhere)
    query = rows.vectors[30:31]
    assert len(first.catch_up()) == len(second.catch_up()) == 30
    added = add_face(database, "new", rows.row(30), 30)
    assert second.search(query, 1).ids.tolist() == [[added]]
    assert first.search(query, 1).ids.tolist() == [[added]]
    removed = remove(elsewhere, "new")
    assert removed == [added]
    for replica in (first, second):
        assert added not in replica.search(query, 40).ids[0].tolist()
        assert_agrees(replica, database)
    elsewhere.close()


def test_last_save_leaves_a_current_file(
    database: Database, open_replica: OpenReplica, face_ids: list[int], rows: Encodings, add_face
) -> None:
    first, second = open_replica(), open_replica()
    first.catch_up()
    second.catch_up()
    add_face(database, "new", rows.row(30), 30)
    first.save()
    remove(database, "person 1")
    second.save()
    first.save()
    assert_agrees(open_replica(), database)
    assert open_replica().problems() == []


def test_closed_index_can_be_searched_again(
    database: Database, open_replica: OpenReplica, face_ids: list[int]
) -> None:
    replica = open_replica()
    replica.save()
    replica.close()
    assert_agrees(replica, database)


def test_random_changes_by_two_processes_agree(
    database: Database, open_replica: OpenReplica, unit_rows, add_face
) -> None:
    elsewhere = Database(database.file, busy_timeout=5.0)
    processes = [(database, open_replica()), (elsewhere, open_replica(elsewhere))]
    random = np.random.default_rng(3)
    encodings = unit_rows(60, 4)
    for i in range(60):
        writer = processes[random.integers(2)][0]
        add_face(writer, f"person {random.integers(5)}", encodings.row(i), i)
        if random.random() < 0.2:
            with writer.reading() as session:
                records = identities.list_all(session)
            remove(writer, records[random.integers(len(records))].name)
        if random.random() < 0.3:
            source, replica = processes[random.integers(2)]
            assert_agrees(replica, source)
        if random.random() < 0.1:
            processes[random.integers(2)][1].save()
    for source, replica in [*processes, (database, open_replica())]:
        assert_agrees(replica, source)
    elsewhere.close()
