"""Every engine of the index keeps the same contract, against an oracle in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from indexer import (
    NO_NEIGHBOUR,
    DuplicateId,
    InvalidVectors,
    Neighbours,
    SnapshotUnusable,
    UnknownEngine,
    VectorIndex,
    load_index,
    open_index,
)
from indexer.snapshot import write_snapshot

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]

DIMENSION = 16
# What a similarity may differ from the oracle's: float32 sums, and rows kept in half precision.
TOLERANCE = {"exact": 1e-6, "faiss": 1e-3}


@pytest.fixture(params=sorted(TOLERANCE))
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def index(engine: str) -> Iterator[VectorIndex]:
    opened = open_index(engine, DIMENSION)
    yield opened
    opened.close()


def unit(count: int, seed: int, dimension: int = DIMENSION) -> Float32:
    rows = np.random.default_rng(seed).normal(size=(count, dimension))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def int64(*ids: int) -> Int64:
    return np.array(ids, dtype=np.int64)


def assert_nearest(
    found: Neighbours, stored: dict[int, Float32], queries: Float32, k: int, tolerance: float
) -> None:
    """The k nearest, up to the order of those that are nearer to each other than the tolerance."""
    assert found.ids.dtype == np.int64 and found.ids.shape == (len(queries), k)
    assert found.similarities.dtype == np.float32 and found.similarities.shape == (len(queries), k)
    taken = min(k, len(stored))
    assert (found.ids[:, taken:] == NO_NEIGHBOUR).all()
    assert (found.similarities[:, taken:] == -np.inf).all()
    if not taken:
        return
    rows = np.stack(list(stored.values())).astype(np.float64)
    for query, ids, similarities in zip(queries, found.ids, found.similarities, strict=True):
        true = rows @ query
        true_of = dict(zip(stored, true, strict=True))
        ids, similarities = ids[:taken], similarities[:taken]
        assert len(set(ids.tolist())) == taken
        assert (np.diff(similarities) <= 0).all()
        claimed = np.array([true_of[i] for i in ids.tolist()])
        np.testing.assert_allclose(similarities, claimed, atol=tolerance)
        # Recall: place by place no stored row is nearer than the one found.
        np.testing.assert_allclose(similarities, -np.sort(-true)[:taken], atol=tolerance)


@pytest.mark.parametrize("dimension", [1, 16, 128])
@pytest.mark.parametrize("k", [1, 7, 100])
def test_search_finds_what_numpy_finds(engine: str, dimension: int, k: int) -> None:
    rows, queries = unit(400, 1, dimension), unit(20, 2, dimension)
    ids = np.random.default_rng(3).choice(2**62, size=400, replace=False)
    opened = open_index(engine, dimension)
    opened.add(ids[:150], rows[:150])
    opened.add(ids[150:], rows[150:])
    assert opened.dimension == dimension and len(opened) == 400
    stored = dict(zip(ids.tolist(), rows, strict=True))
    assert_nearest(opened.search(queries, k), stored, queries, k, TOLERANCE[engine])


def test_a_stored_row_finds_itself_first(index: VectorIndex) -> None:
    rows = unit(300, 4)
    index.add(np.arange(300), rows)
    found = index.search(rows, 1)
    assert (found.ids[:, 0] == np.arange(300)).all()
    np.testing.assert_allclose(found.similarities, 1.0, atol=2e-3)


def test_more_neighbours_than_rows_ends_in_no_neighbour(index: VectorIndex, engine: str) -> None:
    rows, queries = unit(3, 5), unit(4, 6)
    index.add(int64(10, 20, 30), rows)
    stored = dict(zip((10, 20, 30), rows, strict=True))
    assert_nearest(index.search(queries, 9), stored, queries, 9, TOLERANCE[engine])


def test_an_empty_index_finds_no_one(index: VectorIndex) -> None:
    assert len(index) == 0 and index.ids().tolist() == []
    assert_nearest(index.search(unit(2, 7), 3), {}, unit(2, 7), 3, 0.0)


def test_no_queries_have_no_answers(index: VectorIndex) -> None:
    index.add(int64(1), unit(1, 8))
    assert index.search(unit(0, 8), 5).ids.shape == (0, 5)


def test_adding_and_erasing_nothing_changes_nothing(index: VectorIndex) -> None:
    index.add(int64(1), unit(1, 9))
    index.add(int64(), unit(0, 9))
    assert index.erase(int64()) == 0
    assert index.ids().tolist() == [1]


def test_ids_are_sorted_whatever_the_order_of_adding(index: VectorIndex) -> None:
    index.add(int64(5, 3, 2**62, 0), unit(4, 10))
    index.add(int64(4), unit(1, 11))
    assert index.ids().dtype == np.int64
    assert index.ids().tolist() == [0, 3, 4, 5, 2**62]


def test_erased_rows_are_found_no_more(index: VectorIndex, engine: str) -> None:
    rows = unit(200, 12)
    index.add(np.arange(200), rows)
    gone = np.arange(0, 200, 3)
    assert index.erase(gone) == len(gone)
    kept = {i: rows[i] for i in range(200) if i % 3}
    assert index.ids().tolist() == sorted(kept)
    assert_nearest(index.search(rows[:30], 5), kept, rows[:30], 5, TOLERANCE[engine])


def test_erasing_unknown_ids_is_no_error(index: VectorIndex) -> None:
    index.add(int64(1, 2), unit(2, 13))
    assert index.erase(int64(2, 3, 3, -1, 2**62)) == 1
    assert index.erase(int64(2)) == 0
    assert index.ids().tolist() == [1]


def test_an_erased_id_can_be_added_again_with_another_row(index: VectorIndex, engine: str) -> None:
    rows = unit(4, 14)
    index.add(int64(1, 2, 3), rows[:3])
    index.erase(int64(2))
    index.add(int64(2), rows[3:])
    stored = {1: rows[0], 3: rows[2], 2: rows[3]}
    assert_nearest(index.search(rows, 3), stored, rows, 3, TOLERANCE[engine])


def test_everything_can_be_erased_and_filled_again(index: VectorIndex, engine: str) -> None:
    rows = unit(50, 15)
    index.add(np.arange(50), rows)
    assert index.erase(np.arange(50)) == 50
    assert len(index) == 0
    index.add(np.arange(50), rows[::-1])
    stored = dict(enumerate(rows[::-1]))
    assert_nearest(index.search(rows, 2), stored, rows, 2, TOLERANCE[engine])


def _with_nan(value: float) -> Float32:
    rows = unit(3, 16)
    rows[1, 4] = value
    return rows


@pytest.mark.parametrize(
    ("ids", "vectors", "error"),
    [
        pytest.param(int64(7, 8, 1), unit(3, 16), DuplicateId, id="an id that is stored"),
        pytest.param(int64(7, 8, 7), unit(3, 16), DuplicateId, id="an id given twice"),
        pytest.param(int64(7, -1, 8), unit(3, 16), DuplicateId, id="a negative id"),
        pytest.param(int64(7, 8), unit(3, 16), InvalidVectors, id="fewer ids than rows"),
        pytest.param(int64(7, 8, 9)[:, None], unit(3, 16), InvalidVectors, id="ids in two axes"),
        pytest.param(
            np.array([7, 8, 9], np.int32), unit(3, 16), InvalidVectors, id="ids of another type"
        ),
        pytest.param(
            np.array([7.0, 8.0, 9.0]), unit(3, 16), InvalidVectors, id="ids that are no integers"
        ),
        pytest.param(
            int64(7, 8, 9), unit(3, 16).astype(float), InvalidVectors, id="rows of another type"
        ),
        pytest.param(int64(7, 8, 9), unit(3, 16, 15), InvalidVectors, id="rows too short"),
        pytest.param(int64(7, 8, 9), unit(3, 16, 17), InvalidVectors, id="rows too long"),
        pytest.param(int64(7), unit(1, 16)[0], InvalidVectors, id="a row in one axis"),
        pytest.param(int64(7, 8, 9), _with_nan(np.nan), InvalidVectors, id="a row with NaN"),
        pytest.param(int64(7, 8, 9), _with_nan(np.inf), InvalidVectors, id="a row with infinity"),
    ],
)
def test_what_cannot_be_added_is_refused_and_nothing_half_added(
    index: VectorIndex, engine: str, ids: Int64, vectors: Float32, error: type[Exception]
) -> None:
    first = unit(2, 17)
    index.add(int64(1, 2), first)
    with pytest.raises(error):
        index.add(ids, vectors)
    assert len(index) == 2 and index.ids().tolist() == [1, 2]
    stored = {1: first[0], 2: first[1]}
    assert_nearest(index.search(first, 3), stored, first, 3, TOLERANCE[engine])
    index.add(int64(7, 8, 9), unit(3, 18))  # what was refused left no trace
    assert index.ids().tolist() == [1, 2, 7, 8, 9]


@pytest.mark.parametrize("vectors", [unit(2, 16, 15), unit(2, 16).astype(float), _with_nan(np.nan)])
def test_queries_that_are_no_rows_are_refused(index: VectorIndex, vectors: Float32) -> None:
    index.add(int64(1), unit(1, 19))
    with pytest.raises(InvalidVectors):
        index.search(vectors, 1)


@pytest.mark.parametrize("k", [0, -1])
def test_less_than_one_neighbour_is_refused(index: VectorIndex, k: int) -> None:
    with pytest.raises(InvalidVectors, match=str(k)):
        index.search(unit(1, 20), k)


def test_the_callers_arrays_are_neither_changed_nor_kept(index: VectorIndex, engine: str) -> None:
    rows, queries, ids = unit(20, 21), unit(5, 22), np.arange(20)
    for array in (rows, queries, ids):
        array.setflags(write=False)
    index.add(ids, rows)
    index.search(queries, 30)
    index.erase(ids[:5])
    later = rows.copy()
    index.erase(ids)
    mine, my_ids = rows.copy(), ids.copy()
    index.add(my_ids, mine)
    mine[:], my_ids[:] = 0.0, 99  # what the caller does afterwards is not the index's matter
    stored = dict(zip(range(20), later, strict=True))
    assert_nearest(index.search(queries, 4), stored, queries, 4, TOLERANCE[engine])


def test_rows_that_lie_apart_in_memory_are_taken(index: VectorIndex, engine: str) -> None:
    wide, fortran = unit(20, 23, 2 * DIMENSION), np.asfortranarray(unit(10, 24))
    apart = np.ascontiguousarray(wide)[::2, ::2]
    every_other = np.arange(40)[::4]
    index.add(every_other, apart)
    index.add(np.arange(100, 110), fortran)
    stored = dict(zip([*every_other.tolist(), *range(100, 110)], [*apart, *fortran], strict=True))
    assert_nearest(index.search(apart, 3), stored, apart, 3, TOLERANCE[engine])


# Saving and loading


@pytest.fixture
def saved(engine: str, tmp_path: Path) -> Path:
    """A saved index of 30 rows, unit(30, 25) under the ids 0 to 29."""
    file = tmp_path / "faces.index"
    opened = open_index(engine, DIMENSION)
    opened.add(np.arange(30), unit(30, 25))
    opened.save(file, {"position": "41", "gallery": "ünïcode\nline"})
    opened.close()
    return file


def test_a_saved_index_comes_back_with_its_marks(engine: str, saved: Path) -> None:
    loaded, marks = load_index(engine, DIMENSION, saved)
    assert marks == {"position": "41", "gallery": "ünïcode\nline"}
    assert loaded.ids().tolist() == list(range(30))
    rows = unit(30, 25)
    stored = dict(enumerate(rows))
    assert_nearest(loaded.search(rows, 5), stored, rows, 5, TOLERANCE[engine])
    with pytest.raises(DuplicateId):
        loaded.add(int64(29), rows[:1])
    assert loaded.erase(int64(0, 1)) == 2
    loaded.add(int64(1, 50), rows[:2])
    stored = {**dict(list(enumerate(rows))[2:]), 1: rows[0], 50: rows[1]}
    assert_nearest(loaded.search(rows, 5), stored, rows, 5, TOLERANCE[engine])


def test_a_loaded_index_answers_exactly_as_before(engine: str, index: VectorIndex, saved: Path):
    index.add(np.arange(30), unit(30, 25))
    loaded, _ = load_index(engine, DIMENSION, saved)
    before, after = (i.search(unit(9, 26), 30) for i in (index, loaded))
    np.testing.assert_array_equal(before.ids, after.ids)
    np.testing.assert_array_equal(before.similarities, after.similarities)


def test_an_empty_index_comes_back_empty(engine: str, index: VectorIndex, tmp_path: Path) -> None:
    index.save(tmp_path / "empty", {})
    loaded, marks = load_index(engine, DIMENSION, tmp_path / "empty")
    assert len(loaded) == 0 and marks == {}
    loaded.add(int64(3), unit(1, 27))
    assert loaded.search(unit(1, 27), 1).ids.tolist() == [[3]]


def test_every_length_it_may_be_cut_to_is_refused(engine: str, saved: Path) -> None:
    whole = saved.read_bytes()
    for length in [0, 1, *range(2, len(whole), 97), len(whole) - 1]:
        saved.write_bytes(whole[:length])
        with pytest.raises(SnapshotUnusable):
            load_index(engine, DIMENSION, saved)


def test_bytes_behind_its_end_are_refused(engine: str, saved: Path) -> None:
    saved.write_bytes(saved.read_bytes() + b"\0")
    with pytest.raises(SnapshotUnusable):
        load_index(engine, DIMENSION, saved)


def test_every_flipped_bit_of_the_header_and_many_of_the_rest_are_noticed(
    engine: str, saved: Path
) -> None:
    whole = saved.read_bytes()
    header = whole.index(b"\n") + 1
    step = max(1, (len(whole) - header) // 100)
    unnoticed: list[bytes] = []
    for place in [*range(header), *range(header, len(whole), step), len(whole) - 1]:
        for bit in (0, 2, 5):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            saved.write_bytes(flipped)
            try:
                load_index(engine, DIMENSION, saved)
            except SnapshotUnusable:
                continue
            unnoticed.append(bytes(flipped[max(0, place - 12) : place + 12]))
    assert not unnoticed, f"{len(unnoticed)} flipped bits were loaded, near {unnoticed[:5]}"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\n", id="an empty line"),
        pytest.param(b"hello\n", id="text"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(100), id="a picture"),
        pytest.param(b"[]\n", id="JSON that is no object"),
        pytest.param(b'{"form": "vector-index-1"}\n', id="half a header"),
        pytest.param(b"{" * 100_000, id="a long line"),
    ],
)
def test_files_that_are_no_index_are_refused(engine: str, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "no.index"
    file.write_bytes(content)
    with pytest.raises(SnapshotUnusable):
        load_index(engine, DIMENSION, file)


def test_a_well_sealed_file_with_a_foreign_payload_is_refused(engine: str, tmp_path: Path) -> None:
    file = tmp_path / "foreign.index"
    for payload in (b"", b"anything else", bytes(1000)):
        write_snapshot(file, engine, DIMENSION, payload, {})
        with pytest.raises(SnapshotUnusable):
            load_index(engine, DIMENSION, file)


def test_a_missing_file_and_a_folder_are_refused(engine: str, tmp_path: Path) -> None:
    for file in (tmp_path / "nowhere" / "faces.index", tmp_path):
        with pytest.raises(SnapshotUnusable, match=file.name):
            load_index(engine, DIMENSION, file)


def test_another_engines_or_dimensions_file_is_refused(engine: str, saved: Path) -> None:
    other = next(name for name in TOLERANCE if name != engine)
    with pytest.raises(SnapshotUnusable, match=engine):
        load_index(other, DIMENSION, saved)
    with pytest.raises(SnapshotUnusable, match=str(DIMENSION)):
        load_index(engine, DIMENSION + 1, saved)


def test_an_engine_that_is_not_there_is_named() -> None:
    with pytest.raises(UnknownEngine, match=r"'hnsw'.*exact, faiss"):
        open_index("hnsw", DIMENSION)


def test_saving_that_fails_leaves_the_file_before_it_and_no_rest(
    engine: str,
    saved: Path,
    index: VectorIndex,
    small_disk: Callable[[int], AbstractContextManager[None]],
) -> None:
    index.add(np.arange(1000), unit(1000, 28))
    before = saved.read_bytes()
    with small_disk(8 * 1024), pytest.raises(OSError):
        index.save(saved, {"position": "42"})
    assert saved.read_bytes() == before
    assert [f.name for f in saved.parent.iterdir()] == [saved.name]
    assert load_index(engine, DIMENSION, saved)[1]["position"] == "41"
    index.save(saved, {"position": "42"})  # once there is room again
    loaded, marks = load_index(engine, DIMENSION, saved)
    assert len(loaded) == 1000 and marks == {"position": "42"}


def test_a_rename_that_fails_leaves_the_file_before_it_and_no_rest(
    engine: str, tmp_path: Path, index: VectorIndex
) -> None:
    (tmp_path / "faces.index").mkdir()  # nothing can be renamed over a folder
    with pytest.raises(OSError):
        index.save(tmp_path / "faces.index", {})
    assert [f.name for f in tmp_path.iterdir()] == ["faces.index"]


# The engines agree, whatever happens to them


class EnginesAgree(RuleBasedStateMachine):
    """Random additions, erasures, saves and loads on both engines, beside a dictionary."""

    some_ids = st.lists(st.integers(0, 40), max_size=12)

    @initialize()
    def open(self) -> None:
        self.exact = open_index("exact", DIMENSION)
        self.faiss = open_index("faiss", DIMENSION)
        self.stored: dict[int, Float32] = {}

    @rule(wanted=some_ids, seed=st.integers(0, 1000))
    def add(self, wanted: list[int], seed: int) -> None:
        ids, rows = int64(*wanted), unit(len(wanted), seed)
        allowed = len(set(wanted)) == len(wanted) and not set(wanted) & self.stored.keys()
        for index in (self.exact, self.faiss):
            if allowed:
                index.add(ids, rows)
            else:
                with pytest.raises(DuplicateId):
                    index.add(ids, rows)
        if allowed:
            self.stored |= dict(zip(wanted, rows, strict=True))

    @rule(unwanted=some_ids)
    def erase(self, unwanted: list[int]) -> None:
        gone = set(unwanted) & self.stored.keys()
        for index in (self.exact, self.faiss):
            assert index.erase(int64(*unwanted)) == len(gone)
        for i in gone:
            del self.stored[i]

    @rule()
    def save_and_load(self) -> None:
        with TemporaryDirectory() as folder:
            for name in ("exact", "faiss"):
                file = Path(folder, name)
                getattr(self, name).save(file, {"engine": name})
                loaded, marks = load_index(name, DIMENSION, file)
                assert marks == {"engine": name}
                setattr(self, name, loaded)

    @rule(seed=st.integers(0, 1000), k=st.integers(1, 20))
    def search(self, seed: int, k: int) -> None:
        queries = unit(3, seed)
        for name, tolerance in TOLERANCE.items():
            found = getattr(self, name).search(queries, k)
            assert_nearest(found, self.stored, queries, k, tolerance)

    @invariant()
    def hold_the_same_ids(self) -> None:
        for index in (self.exact, self.faiss):
            assert len(index) == len(self.stored)
            assert index.ids().tolist() == sorted(self.stored)


EnginesAgree.TestCase.settings = settings(max_examples=25, stateful_step_count=20)
TestEnginesAgree = EnginesAgree.TestCase
