"""The index follows the database, whatever its file holds, and forgets whom it must."""

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
from gallery.matching.index import IndexCopy
from gallery.matching.scorer import Scorer
from gallery.matching.search import CandidateSearch
from gallery.store import faces, identities
from gallery.store.database import Database
from gallery.store.records import Receipt
from gallery.types import DIMENSION, Encodings
from indexer import NO_NEIGHBOUR, load_index, open_index

ENGINE = "faiss"
OpenCopy = Callable[..., IndexCopy]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "faces.index"


@pytest.fixture
def open_copy(database: Database, file: Path) -> Iterator[OpenCopy]:
    """An IndexCopy as another process would open it; of `database` unless another is given."""
    opened: list[IndexCopy] = []

    def opening(other: Database | None = None, encoder: str = DLIB_RESNET.sha256) -> IndexCopy:
        copy = IndexCopy(other or database, file, engine=ENGINE, encoder=encoder)
        opened.append(copy)
        return copy

    yield opening
    for copy in opened:
        copy.close()


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


def assert_agrees(copy: IndexCopy, database: Database) -> None:
    """Every face of the database finds itself in the index, and nothing else is there."""
    with database.reading() as session:
        stored = faces.encodings_by_id(session, faces.ids(session))
    index = copy.catch_up()
    assert index.ids().tolist() == stored.face_ids.tolist()
    if len(stored.face_ids):
        found = copy.search(stored.encodings.vectors, 1)
        assert found.ids[:, 0].tolist() == stored.face_ids.tolist()
        np.testing.assert_allclose(found.similarities, 1.0, atol=2e-3)


def saved(open_copy: OpenCopy) -> None:
    copy = open_copy()
    copy.save()
    copy.close()


def position_of(file: Path) -> int:
    return int(load_index(ENGINE, DIMENSION, file)[1]["position"])


# The saved file


def test_a_missing_file_is_built(
    database: Database, file: Path, open_copy: OpenCopy, face_ids: list[int]
) -> None:
    copy = open_copy()
    assert_agrees(copy, database)
    assert copy.problems() and not file.exists()
    copy.save()
    assert file.exists() and copy.problems() == []


def test_a_good_file_is_taken_as_it_is(
    database: Database, file: Path, open_copy: OpenCopy, face_ids: list[int]
) -> None:
    saved(open_copy)
    before = file.stat()
    again = open_copy()
    assert_agrees(again, database)
    assert again.problems() == []
    again.save()  # there is nothing to save
    assert file.stat().st_mtime_ns == before.st_mtime_ns and file.stat().st_ino == before.st_ino


def test_an_empty_gallery_has_an_empty_index(database: Database, open_copy: OpenCopy) -> None:
    copy = open_copy()
    found = copy.search(np.eye(DIMENSION, dtype=np.float32)[:2], 3)
    assert (found.ids == NO_NEIGHBOUR).all()
    assert copy.problems() == []
    assert_agrees(copy, database)


@pytest.mark.parametrize(
    "altered",
    [
        pytest.param(lambda whole: b"", id="empty"),
        pytest.param(lambda whole: whole[:50], id="cut in the header"),
        pytest.param(lambda whole: whole[:-1], id="cut by a byte"),
        pytest.param(lambda whole: whole[:-9] + bytes(9), id="altered at the end"),
        pytest.param(lambda whole: b"garbage\n" * 100, id="garbage"),
    ],
)
def test_a_file_that_is_none_is_built_again(
    database: Database,
    file: Path,
    open_copy: OpenCopy,
    face_ids: list[int],
    altered: Callable[[bytes], bytes],
) -> None:
    saved(open_copy)
    file.write_bytes(altered(file.read_bytes()))
    copy = open_copy()
    assert len(copy.problems()) == 1
    assert_agrees(copy, database)
    copy.save()
    assert copy.problems() == []
    assert_agrees(open_copy(), database)


def test_another_gallerys_file_is_built_again(
    database: Database,
    tmp_path: Path,
    open_copy: OpenCopy,
    face_ids: list[int],
    unit_rows,
    add_face,
) -> None:
    other = Database(tmp_path / "other.db", busy_timeout=5.0)
    for i in range(30):  # as many changes, and the same ids
        add_face(other, "someone else", unit_rows(30, 2).row(i), i)
    foreign = open_copy(other)
    foreign.save()
    copy = open_copy()
    assert "another gallery" in copy.problems()[0]
    assert_agrees(copy, database)
    other.close()


def test_another_encoders_file_is_built_again(
    database: Database, open_copy: OpenCopy, face_ids: list[int]
) -> None:
    open_copy(encoder="f" * 64).save()
    copy = open_copy()
    assert copy.problems()
    assert_agrees(copy, database)


def test_another_engines_file_is_built_again(
    database: Database, file: Path, open_copy: OpenCopy, face_ids: list[int]
) -> None:
    IndexCopy(database, file, engine="exact", encoder=DLIB_RESNET.sha256).save()
    assert_agrees(open_copy(), database)


def test_a_stale_file_is_caught_up(
    database: Database, file: Path, open_copy: OpenCopy, face_ids: list[int], rows, add_face
) -> None:
    saved(open_copy)
    stale = file.read_bytes()
    removed = remove(database, "person 2")
    added = [add_face(database, "new", rows.row(i), i) for i in range(30, 35)]
    come_and_gone = add_face(database, "brief", rows.row(35), 35)
    remove(database, "brief")
    file.write_bytes(stale)
    copy = open_copy()
    assert copy.problems() == []  # stale is no problem
    assert_agrees(copy, database)
    ids = set(copy.catch_up().ids().tolist())
    assert not ids & {*removed, come_and_gone} and set(added) < ids
    copy.save()
    assert position_of(file) > 30


def test_a_file_newer_than_the_database_is_built_again(
    database: Database,
    file: Path,
    tmp_path: Path,
    open_copy: OpenCopy,
    face_ids: list[int],
    rows: Encodings,
    add_face,
) -> None:
    database.close()
    shutil.copy(tmp_path / "gallery.db", tmp_path / "backup.db")
    for i in range(30, 35):
        add_face(database, "lost", rows.row(i), i)
    saved(open_copy)
    database.close()
    for left in tmp_path.glob("gallery.db*"):
        left.unlink()
    shutil.copy(tmp_path / "backup.db", tmp_path / "gallery.db")
    older = Database(tmp_path / "gallery.db", busy_timeout=5.0)
    copy = open_copy(older)
    assert "newer than the database" in copy.problems()[0]
    assert_agrees(copy, older)
    copy.save()
    assert copy.problems() == []
    older.close()


def test_an_older_database_under_an_open_index_is_noticed(
    database: Database, tmp_path: Path, open_copy: OpenCopy, face_ids: list[int]
) -> None:
    copy = open_copy()
    assert len(copy.catch_up()) == 30
    with database.writing() as session:  # as after a backup was put in place
        session.connection().exec_driver_sql("DELETE FROM faces WHERE id > 20")
        session.connection().exec_driver_sql("DELETE FROM changes WHERE id > 20")
    assert_agrees(copy, database)
    assert len(copy.catch_up()) == 20


def test_a_file_that_lies_about_its_faces_is_found_out(
    database: Database, file: Path, open_copy: OpenCopy, face_ids: list[int]
) -> None:
    saved(open_copy)
    marks = load_index(ENGINE, DIMENSION, file)[1]
    open_index(ENGINE, DIMENSION).save(file, marks)
    assert open_copy().problems() == [f"{file} has 0 faces, the database 30"]


def test_a_disk_that_is_full_is_no_error_when_saving(
    database: Database, file: Path, open_copy: OpenCopy, face_ids: list[int], small_disk
) -> None:
    copy = open_copy()
    with small_disk(2048):
        copy.save()
    assert not file.exists() and [f.name for f in file.parent.glob("*.part")] == []
    copy.save()
    assert file.exists() and copy.problems() == []


# Two processes


def test_what_one_adds_and_erases_the_other_finds_at_its_next_search(
    database: Database, open_copy: OpenCopy, face_ids: list[int], rows: Encodings, add_face
) -> None:
    elsewhere = Database(database.file, busy_timeout=5.0)
    mine, other = open_copy(), open_copy(elsewhere)
    query = rows.vectors[30:31]
    assert len(mine.catch_up()) == len(other.catch_up()) == 30
    added = add_face(database, "new", rows.row(30), 30)
    assert other.search(query, 1).ids.tolist() == [[added]]
    assert mine.search(query, 1).ids.tolist() == [[added]]
    removed = remove(elsewhere, "new")
    assert removed == [added]
    for copy in (mine, other):
        assert added not in copy.search(query, 40).ids[0].tolist()
        assert_agrees(copy, database)
    elsewhere.close()


def test_whoever_saves_last_leaves_a_good_file(
    database: Database, open_copy: OpenCopy, face_ids: list[int], rows: Encodings, add_face
) -> None:
    first, second = open_copy(), open_copy()
    first.catch_up()
    second.catch_up()
    add_face(database, "new", rows.row(30), 30)
    first.save()
    remove(database, "person 1")
    second.save()
    first.save()
    assert_agrees(open_copy(), database)
    assert open_copy().problems() == []


def test_a_closed_index_can_be_asked_again(
    database: Database, open_copy: OpenCopy, face_ids: list[int]
) -> None:
    copy = open_copy()
    copy.save()
    copy.close()
    assert_agrees(copy, database)


def test_random_changes_by_two_processes_always_agree(
    database: Database, open_copy: OpenCopy, unit_rows, add_face
) -> None:
    elsewhere = Database(database.file, busy_timeout=5.0)
    both = [(database, open_copy()), (elsewhere, open_copy(elsewhere))]
    random = np.random.default_rng(3)
    many = unit_rows(60, 4)
    for i in range(60):
        writer = both[random.integers(2)][0]
        add_face(writer, f"person {random.integers(5)}", many.row(i), i)
        if random.random() < 0.2:
            with writer.reading() as session:
                people = identities.list_all(session)
            remove(writer, people[random.integers(len(people))].name)
        if random.random() < 0.3:
            source, copy = both[random.integers(2)]
            assert_agrees(copy, source)
        if random.random() < 0.1:
            both[random.integers(2)][1].save()
    for source, copy in [*both, (database, open_copy())]:
        assert_agrees(copy, source)
    elsewhere.close()


# Forgotten


def no_judge() -> Scorer:
    raise AssertionError("nothing was learned from anybody here")


def forget(database: Database, index: IndexCopy, name: str) -> Receipt:
    home = database.file.parent
    return Eraser(database, index, no_judge, home=home, cache=home / "cache").identity(name)


def everything_in(folder: Path) -> bytes:
    return b"".join(f.read_bytes() for f in sorted(folder.iterdir()) if f.is_file())


def test_whoever_is_forgotten_is_in_no_file_and_no_answer(
    database: Database, tmp_path: Path, open_copy: OpenCopy, face_ids: list[int], rows: Encodings
) -> None:
    copy, other = open_copy(), open_copy()
    copy.save()
    other.catch_up()
    mine = range(4, 30, 6)  # the rows of person 4
    assert b"person 4" in everything_in(tmp_path)
    with database.reading() as session:
        person = identities.get(session, "person 4").id
    receipt = forget(database, copy, "person 4")
    assert (receipt.identity_id, receipt.faces, receipt.whole) == (person, len(mine), True)
    left = everything_in(tmp_path)
    assert b"person 4" not in left and b"person 3" in left
    for i in mine:
        assert rows.vectors[i].tobytes() not in left
        assert rows.vectors[i].astype(np.float16).tobytes() not in left
    assert rows.vectors[3].astype(np.float16).tobytes() in left
    gone = {face_ids[i] for i in mine}
    for asked in (copy, other, open_copy()):
        found = asked.search(rows.vectors[list(mine)], 40).ids
        assert not gone & set(found.ravel().tolist())
        assert_agrees(asked, database)
    with pytest.raises(IdentityNotFound):
        forget(database, copy, "person 4")


def test_forgetting_beside_a_reader_still_takes_the_face_out_of_the_index_file(
    database: Database, file: Path, open_copy: OpenCopy, face_ids: list[int]
) -> None:
    hasty = Database(database.file, busy_timeout=0.05)
    copy = open_copy(hasty)
    copy.save()
    with database.reading() as session:
        faces.count(session)
        with pytest.raises(DatabaseBusy):
            forget(hasty, copy, "person 4")
    assert load_index(ENGINE, DIMENSION, file)[0].ids().tolist() == [
        face for i, face in enumerate(face_ids) if i % 6 != 4
    ]
    hasty.close()


def test_an_index_file_that_cannot_be_written_still_lets_the_database_forget(
    database: Database, file: Path, open_copy: OpenCopy, face_ids: list[int], rows: Encodings
) -> None:
    copy = open_copy()
    file.mkdir()  # nothing can be renamed over it
    with pytest.raises(HomeError, match=file.name):
        forget(database, copy, "person 4")
    left = everything_in(file.parent)
    assert b"person 4" not in left and rows.vectors[4].tobytes() not in left
    assert b"person 3" in left


def test_what_a_killed_process_left_of_a_saved_index_is_erased_too(
    database: Database, file: Path, open_copy: OpenCopy, face_ids: list[int], rows: Encodings
) -> None:
    copy = open_copy()
    copy.save()
    half_written = file.with_name(f"{file.name}a1b2c3d4.part")
    half_written.write_bytes(file.read_bytes())
    forget(database, copy, "person 4")
    assert rows.vectors[4].astype(np.float16).tobytes() not in everything_in(file.parent)


def test_an_index_file_that_cannot_be_written_is_the_galleries_error(
    gallery: Gallery, rows: Encodings, add_face
) -> None:
    add_face(gallery.database, "Ada", rows.row(0), 0)
    (gallery.settings.home / "faces.index").mkdir()
    with pytest.raises(GalleryError):
        gallery.forget("Ada")
    assert gallery.identities() == []
    with Gallery.open(gallery.settings.home, cache=gallery.settings.cache) as again:
        assert again.identities() == []
        assert {f.part for f in again.check() if not f.ok} >= {"database"}


# Candidates


def near(base: np.ndarray, noise: float, count: int, seed: int) -> Encodings:
    """Encodings around one direction."""
    random = np.random.default_rng(seed)
    vectors = base + noise * random.normal(size=(count, DIMENSION)) / np.sqrt(DIMENSION)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Encodings(
        vectors.astype(np.float32), np.ones(count, np.float32), np.ones(count, np.float32)
    )


def test_many_photos_of_one_person_do_not_hide_the_others(
    database: Database, open_copy: OpenCopy, rows: Encodings, face_ids: list[int], add_face
) -> None:
    query = rows.row(39)
    for i in range(100):  # all of them nearer than anyone else
        add_face(database, "often", near(query.vectors[0], 0.1, 100, 5).row(i), 100 + i)
    for wanted in (2, 5, 7):
        found = CandidateSearch(database, open_copy(), identities=wanted).find(query)
        assert len(np.unique(found.stored.identity_ids)) >= wanted
        owners = dict(
            zip(found.stored.face_ids.tolist(), found.stored.identity_ids.tolist(), strict=True)
        )
        assert all(owners[r.id] == r.identity.id == i for i, r in found.nearest.items())
        assert found.nearest.keys() == set(owners.values())
        assert np.unique(list(owners.values()), return_counts=True)[1].max() == 100


def test_of_fewer_identities_than_wanted_all_are_candidates(
    database: Database, open_copy: OpenCopy, rows: Encodings, face_ids: list[int]
) -> None:
    found = CandidateSearch(database, open_copy(), identities=50).find(rows.row(35))
    assert found.stored.face_ids.tolist() == face_ids
    order = [face_ids.index(i) for i in found.stored.face_ids.tolist()]
    assert found.stored.encodings.vectors.tobytes() == rows.vectors[order].tobytes()


def test_an_empty_gallery_has_no_candidates(
    database: Database, open_copy: OpenCopy, rows: Encodings
) -> None:
    found = CandidateSearch(database, open_copy(), identities=10).find(rows.row(0))
    assert found.nearest == {} and len(found.stored.encodings) == 0


def test_the_nearest_identities_are_among_the_candidates(
    database: Database, open_copy: OpenCopy, rows: Encodings, face_ids: list[int], unit_rows
) -> None:
    finder = CandidateSearch(database, open_copy(), identities=3)
    for i in range(10):
        query = unit_rows(10, 6).row(i)
        cosines = rows.vectors[:30] @ query.vectors[0]
        nearest = list(dict.fromkeys(int(j) % 6 for j in np.argsort(-cosines)))[:3]
        found = finder.find(query)
        names = {record.identity.name for record in found.nearest.values()}
        assert {f"person {j}" for j in nearest} <= names
