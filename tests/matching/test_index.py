"""The index follows the database, whatever its file holds, and erased faces leave it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from gallery.encoders.weights import DLIB_RESNET
from gallery.erasure.erase import Eraser
from gallery.errors import DatabaseBusy, GalleryError, HomeError, IdentityNotFound
from gallery.gallery import Gallery
from gallery.matching.index import IndexReplica
from gallery.matching.scorer import Scorer
from gallery.matching.search import CandidateSearch
from gallery.store import faces, identities
from gallery.store.database import Database
from gallery.store.records import Receipt
from gallery.types import DIMENSION, Encodings
from indexer import NO_NEIGHBOUR, load_index, open_index

ENGINE = "faiss"
OpenReplica = Callable[..., IndexReplica]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "faces.index"


@pytest.fixture
def open_replica(database: Database, file: Path) -> Iterator[OpenReplica]:
    """Open an index as another process would; of `database`, unless another is given."""
    opened: list[IndexReplica] = []

    def open_one(other: Database | None = None, encoder: str = DLIB_RESNET.sha256) -> IndexReplica:
        replica = IndexReplica(other or database, file, engine=ENGINE, encoder=encoder)
        opened.append(replica)
        return replica

    yield open_one
    for replica in opened:
        replica.close()


@pytest.fixture
def rows(unit_rows) -> Encodings:
    return unit_rows(40, 1)


@pytest.fixture
def face_ids(database: Database, rows: Encodings, add_face) -> list[int]:
    """Thirty faces of six people, rows 0 to 29."""
    return [add_face(database, f"person {i % 6}", rows.row(i), i) for i in range(30)]


def remove(database: Database, name: str) -> list[int]:
    with database.writing() as session:
        return identities.remove(session, identities.get(session, name).id)


def assert_agrees(replica: IndexReplica, database: Database) -> None:
    """Assert that every face of the database finds itself in the index, which has no others."""
    with database.reading() as session:
        stored = faces.encodings_by_id(session, faces.ids(session))
    index = replica.catch_up()
    assert index.ids().tolist() == stored.face_ids.tolist()
    if len(stored.face_ids):
        found = replica.search(stored.encodings.vectors, 1)
        assert found.ids[:, 0].tolist() == stored.face_ids.tolist()
        np.testing.assert_allclose(found.similarities, 1.0, atol=2e-3)


def save_index(open_replica: OpenReplica) -> None:
    replica = open_replica()
    replica.save()
    replica.close()


def position_of(file: Path) -> int:
    return int(load_index(ENGINE, DIMENSION, file)[1]["position"])


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


# Erasure


def no_scorer() -> Scorer:
    raise AssertionError("no head was trained and no calibration made")


def forget(database: Database, index: IndexReplica, name: str) -> Receipt:
    home = database.file.parent
    return Eraser(database, index, no_scorer, home=home, cache=home / "cache").erase_identity(name)


def contents_of(folder: Path) -> bytes:
    return b"".join(f.read_bytes() for f in sorted(folder.iterdir()) if f.is_file())


def test_forgotten_person_is_in_no_file_and_no_result(
    database: Database,
    tmp_path: Path,
    open_replica: OpenReplica,
    face_ids: list[int],
    rows: Encodings,
) -> None:
    replica, other = open_replica(), open_replica()
    replica.save()
    other.catch_up()
    erased_rows = range(4, 30, 6)  # of person 4
    assert b"person 4" in contents_of(tmp_path)
    with database.reading() as session:
        identity_id = identities.get(session, "person 4").id
    receipt = forget(database, replica, "person 4")
    assert (receipt.identity_id, receipt.faces, receipt.whole) == (
        identity_id,
        len(erased_rows),
        True,
    )
    remaining = contents_of(tmp_path)
    assert b"person 4" not in remaining and b"person 3" in remaining
    for i in erased_rows:
        assert rows.vectors[i].tobytes() not in remaining
        assert rows.vectors[i].astype(np.float16).tobytes() not in remaining
    assert rows.vectors[3].astype(np.float16).tobytes() in remaining
    erased_ids = {face_ids[i] for i in erased_rows}
    for index in (replica, other, open_replica()):
        found = index.search(rows.vectors[list(erased_rows)], 40).ids
        assert not erased_ids & set(found.ravel().tolist())
        assert_agrees(index, database)
    with pytest.raises(IdentityNotFound):
        forget(database, replica, "person 4")


def test_forgetting_while_the_database_is_read_still_erases_from_the_index_file(
    database: Database, file: Path, open_replica: OpenReplica, face_ids: list[int]
) -> None:
    impatient = Database(database.file, busy_timeout=0.05)
    replica = open_replica(impatient)
    replica.save()
    with database.reading() as session:
        faces.count(session)
        with pytest.raises(DatabaseBusy):
            forget(impatient, replica, "person 4")
    assert load_index(ENGINE, DIMENSION, file)[0].ids().tolist() == [
        face for i, face in enumerate(face_ids) if i % 6 != 4
    ]
    impatient.close()


def test_database_forgets_even_if_the_index_file_cannot_be_written(
    database: Database, file: Path, open_replica: OpenReplica, face_ids: list[int], rows: Encodings
) -> None:
    replica = open_replica()
    file.mkdir()  # nothing can be renamed over it
    with pytest.raises(HomeError, match=file.name):
        forget(database, replica, "person 4")
    remaining = contents_of(file.parent)
    assert b"person 4" not in remaining and rows.vectors[4].tobytes() not in remaining
    assert b"person 3" in remaining


def test_half_written_index_files_are_erased(
    database: Database, file: Path, open_replica: OpenReplica, face_ids: list[int], rows: Encodings
) -> None:
    replica = open_replica()
    replica.save()
    half_written = file.with_name(f"{file.name}a1b2c3d4.part")
    half_written.write_bytes(file.read_bytes())
    forget(database, replica, "person 4")
    assert rows.vectors[4].astype(np.float16).tobytes() not in contents_of(file.parent)


def test_unwritable_index_file_is_a_gallery_error(
    gallery: Gallery, rows: Encodings, add_face
) -> None:
    add_face(gallery.database, "Ada", rows.row(0), 0)
    (gallery.settings.home / "faces.index").mkdir()
    with pytest.raises(GalleryError):
        gallery.forget("Ada")
    assert gallery.identities() == []
    with Gallery.open(gallery.settings.home, cache=gallery.settings.cache) as reopened:
        assert reopened.identities() == []
        assert {f.part for f in reopened.check() if not f.ok} >= {"database"}


# Candidates


def around(base: np.ndarray, noise: float, count: int, seed: int) -> Encodings:
    """Encodings near one direction."""
    random = np.random.default_rng(seed)
    vectors = base + noise * random.normal(size=(count, DIMENSION)) / np.sqrt(DIMENSION)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Encodings(
        vectors.astype(np.float32), np.ones(count, np.float32), np.ones(count, np.float32)
    )


def test_many_photos_of_one_person_do_not_hide_other_identities(
    database: Database, open_replica: OpenReplica, rows: Encodings, face_ids: list[int], add_face
) -> None:
    query = rows.row(39)
    for i in range(100):  # all nearer than any other face
        add_face(database, "frequent", around(query.vectors[0], 0.1, 100, 5).row(i), 100 + i)
    for count in (2, 5, 7):
        found = CandidateSearch(database, open_replica(), identities=count).find(query)
        assert len(np.unique(found.stored.identity_ids)) >= count
        owners = dict(
            zip(found.stored.face_ids.tolist(), found.stored.identity_ids.tolist(), strict=True)
        )
        assert all(owners[r.id] == r.identity.id == i for i, r in found.nearest.items())
        assert found.nearest.keys() == set(owners.values())
        assert np.unique(list(owners.values()), return_counts=True)[1].max() == 100


def test_all_identities_are_candidates_if_there_are_few(
    database: Database, open_replica: OpenReplica, rows: Encodings, face_ids: list[int]
) -> None:
    found = CandidateSearch(database, open_replica(), identities=50).find(rows.row(35))
    assert found.stored.face_ids.tolist() == face_ids
    order = [face_ids.index(i) for i in found.stored.face_ids.tolist()]
    assert found.stored.encodings.vectors.tobytes() == rows.vectors[order].tobytes()


def test_empty_gallery_has_no_candidates(
    database: Database, open_replica: OpenReplica, rows: Encodings
) -> None:
    found = CandidateSearch(database, open_replica(), identities=10).find(rows.row(0))
    assert found.nearest == {} and len(found.stored.encodings) == 0


def test_nearest_identities_are_candidates(
    database: Database, open_replica: OpenReplica, rows: Encodings, face_ids: list[int], unit_rows
) -> None:
    search = CandidateSearch(database, open_replica(), identities=3)
    for i in range(10):
        query = unit_rows(10, 6).row(i)
        cosines = rows.vectors[:30] @ query.vectors[0]
        nearest = list(dict.fromkeys(int(j) % 6 for j in np.argsort(-cosines)))[:3]
        found = search.find(query)
        names = {record.identity.name for record in found.nearest.values()}
        assert {f"person {j}" for j in nearest} <= names
