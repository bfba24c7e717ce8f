"""Every index engine keeps the same contract, tested against an oracle in NumPy."""

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
# How far similarities may be from the oracle's: float32 sums, and rows in half precision.
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
    """Assert that these are the k nearest; similarities within the tolerance may swap places."""
    assert found.ids.dtype == np.int64 and found.ids.shape == (len(queries), k)
    assert found.similarities.dtype == np.float32 and found.similarities.shape == (len(queries), k)
    count = min(k, len(stored))
    assert (found.ids[:, count:] == NO_NEIGHBOUR).all()
    assert (found.similarities[:, count:] == -np.inf).all()
    if not count:
        return
    rows = np.stack(list(stored.values())).astype(np.float64)
    for query, ids, similarities in zip(queries, found.ids, found.similarities, strict=True):
        exact = rows @ query
        exact_by_id = dict(zip(stored, exact, strict=True))
        ids, similarities = ids[:count], similarities[:count]
        assert len(set(ids.tolist())) == count
        assert (np.diff(similarities) <= 0).all()
        exact_of_found = np.array([exact_by_id[i] for i in ids.tolist()])
        np.testing.assert_allclose(similarities, exact_of_found, atol=tolerance)
        # Recall: at each rank, no stored row is nearer than the one found.
        np.testing.assert_allclose(similarities, -np.sort(-exact)[:count], atol=tolerance)


@pytest.mark.parametrize("dimension", [1, 16, 128])
@pytest.mark.parametrize("k", [1, 7, 100])
def test_search_agrees_with_numpy(engine: str, dimension: int, k: int) -> None:
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


def test_missing_neighbours_are_marked(index: VectorIndex, engine: str) -> None:
    rows, queries = unit(3, 5), unit(4, 6)
    index.add(int64(10, 20, 30), rows)
    stored = dict(zip((10, 20, 30), rows, strict=True))
    assert_nearest(index.search(queries, 9), stored, queries, 9, TOLERANCE[engine])


def test_empty_index_has_no_neighbours(index: VectorIndex) -> None:
    assert len(index) == 0 and index.ids().tolist() == []
    assert_nearest(index.search(unit(2, 7), 3), {}, unit(2, 7), 3, 0.0)


def test_no_queries_have_no_results(index: VectorIndex) -> None:
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


def test_erased_rows_are_not_found(index: VectorIndex, engine: str) -> None:
    rows = unit(200, 12)
    index.add(np.arange(200), rows)
    erased = np.arange(0, 200, 3)
    assert index.erase(erased) == len(erased)
    stored = {i: rows[i] for i in range(200) if i % 3}
    assert index.ids().tolist() == sorted(stored)
    assert_nearest(index.search(rows[:30], 5), stored, rows[:30], 5, TOLERANCE[engine])


def test_erasing_unknown_ids_is_ignored(index: VectorIndex) -> None:
    index.add(int64(1, 2), unit(2, 13))
    assert index.erase(int64(2, 3, 3, -1, 2**62)) == 1
    assert index.erase(int64(2)) == 0
    assert index.ids().tolist() == [1]


def test_erased_id_can_be_reused(index: VectorIndex, engine: str) -> None:
    rows = unit(4, 14)
    index.add(int64(1, 2, 3), rows[:3])
    index.erase(int64(2))
    index.add(int64(2), rows[3:])
    stored = {1: rows[0], 3: rows[2], 2: rows[3]}
    assert_nearest(index.search(rows, 3), stored, rows, 3, TOLERANCE[engine])


def test_emptied_index_can_be_refilled(index: VectorIndex, engine: str) -> None:
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
        pytest.param(int64(7, 8, 1), unit(3, 16), DuplicateId, id="stored id"),
        pytest.param(int64(7, 8, 7), unit(3, 16), DuplicateId, id="repeated id"),
        pytest.param(int64(7, -1, 8), unit(3, 16), DuplicateId, id="negative id"),
        pytest.param(int64(7, 8), unit(3, 16), InvalidVectors, id="fewer ids than rows"),
        pytest.param(
            int64(7, 8, 9)[:, None], unit(3, 16), InvalidVectors, id="two-dimensional ids"
        ),
        pytest.param(np.array([7, 8, 9], np.int32), unit(3, 16), InvalidVectors, id="int32 ids"),
        pytest.param(np.array([7.0, 8.0, 9.0]), unit(3, 16), InvalidVectors, id="float ids"),
        pytest.param(int64(7, 8, 9), unit(3, 16).astype(float), InvalidVectors, id="float64 rows"),
        pytest.param(int64(7, 8, 9), unit(3, 16, 15), InvalidVectors, id="rows too short"),
        pytest.param(int64(7, 8, 9), unit(3, 16, 17), InvalidVectors, id="rows too long"),
        pytest.param(int64(7), unit(1, 16)[0], InvalidVectors, id="one-dimensional row"),
        pytest.param(int64(7, 8, 9), _with_nan(np.nan), InvalidVectors, id="NaN"),
        pytest.param(int64(7, 8, 9), _with_nan(np.inf), InvalidVectors, id="infinity"),
    ],
)
def test_invalid_rows_are_refused_and_nothing_is_added(
    index: VectorIndex, engine: str, ids: Int64, vectors: Float32, error: type[Exception]
) -> None:
    first = unit(2, 17)
    index.add(int64(1, 2), first)
    with pytest.raises(error):
        index.add(ids, vectors)
    assert len(index) == 2 and index.ids().tolist() == [1, 2]
    stored = {1: first[0], 2: first[1]}
    assert_nearest(index.search(first, 3), stored, first, 3, TOLERANCE[engine])
    index.add(int64(7, 8, 9), unit(3, 18))
    assert index.ids().tolist() == [1, 2, 7, 8, 9]


@pytest.mark.parametrize("vectors", [unit(2, 16, 15), unit(2, 16).astype(float), _with_nan(np.nan)])
def test_invalid_queries_are_refused(index: VectorIndex, vectors: Float32) -> None:
    index.add(int64(1), unit(1, 19))
    with pytest.raises(InvalidVectors):
        index.search(vectors, 1)


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_refused(index: VectorIndex, k: int) -> None:
    with pytest.raises(InvalidVectors, match=str(k)):
        index.search(unit(1, 20), k)


def test_arrays_of_the_caller_are_neither_changed_nor_kept(index: VectorIndex, engine: str) -> None:
    rows, queries, ids = unit(20, 21), unit(5, 22), np.arange(20)
    for array in (rows, queries, ids):
        array.setflags(write=False)
    index.add(ids, rows)
    index.search(queries, 30)
    index.erase(ids[:5])
    index.erase(ids)
    added_rows, added_ids = rows.copy(), ids.copy()
    index.add(added_ids, added_rows)
    added_rows[:], added_ids[:] = 0.0, 99  # must not reach the index
    stored = dict(zip(range(20), rows, strict=True))
    assert_nearest(index.search(queries, 4), stored, queries, 4, TOLERANCE[engine])


def test_non_contiguous_rows_can_be_added(index: VectorIndex, engine: str) -> None:
    wide, fortran = unit(20, 23, 2 * DIMENSION), np.asfortranarray(unit(10, 24))
    strided = np.ascontiguousarray(wide)[::2, ::2]
    strided_ids = np.arange(40)[::4]
    index.add(strided_ids, strided)
    index.add(np.arange(100, 110), fortran)
    stored = dict(zip([*strided_ids.tolist(), *range(100, 110)], [*strided, *fortran], strict=True))
    assert_nearest(index.search(strided, 3), stored, strided, 3, TOLERANCE[engine])


# Saving and loading


@pytest.fixture
def saved(engine: str, tmp_path: Path) -> Path:
    """A saved index of 30 rows: unit(30, 25) under ids 0 to 29."""
    file = tmp_path / "faces.index"
    opened = open_index(engine, DIMENSION)
    opened.add(np.arange(30), unit(30, 25))
    opened.save(file, {"position": "41", "gallery": "ünïcode\nline"})
    opened.close()
    return file


def test_saved_index_is_loaded_with_its_metadata(engine: str, saved: Path) -> None:
    loaded, metadata = load_index(engine, DIMENSION, saved)
    assert metadata == {"position": "41", "gallery": "ünïcode\nline"}
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


def test_loaded_index_gives_the_same_results(engine: str, index: VectorIndex, saved: Path):
    index.add(np.arange(30), unit(30, 25))
    loaded, _ = load_index(engine, DIMENSION, saved)
    before, after = (i.search(unit(9, 26), 30) for i in (index, loaded))
    np.testing.assert_array_equal(before.ids, after.ids)
    np.testing.assert_array_equal(before.similarities, after.similarities)


def test_empty_index_can_be_saved_and_loaded(
    engine: str, index: VectorIndex, tmp_path: Path
) -> None:
    index.save(tmp_path / "empty", {})
    loaded, metadata = load_index(engine, DIMENSION, tmp_path / "empty")
    assert len(loaded) == 0 and metadata == {}
    loaded.add(int64(3), unit(1, 27))
    assert loaded.search(unit(1, 27), 1).ids.tolist() == [[3]]


def test_truncated_file_is_refused(engine: str, saved: Path) -> None:
    whole = saved.read_bytes()
    for length in [0, 1, *range(2, len(whole), 97), len(whole) - 1]:
        saved.write_bytes(whole[:length])
        with pytest.raises(SnapshotUnusable):
            load_index(engine, DIMENSION, saved)


def test_trailing_bytes_are_refused(engine: str, saved: Path) -> None:
    saved.write_bytes(saved.read_bytes() + b"\0")
    with pytest.raises(SnapshotUnusable):
        load_index(engine, DIMENSION, saved)


def test_flipped_bits_are_detected(engine: str, saved: Path) -> None:
    whole = saved.read_bytes()
    header = whole.index(b"\n") + 1
    step = max(1, (len(whole) - header) // 100)
    undetected: list[bytes] = []
    for place in [*range(header), *range(header, len(whole), step), len(whole) - 1]:
        for bit in (0, 2, 5):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            saved.write_bytes(flipped)
            try:
                load_index(engine, DIMENSION, saved)
            except SnapshotUnusable:
                continue
            undetected.append(bytes(flipped[max(0, place - 12) : place + 12]))
    assert not undetected, f"{len(undetected)} flipped bits loaded, near {undetected[:5]}"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\n", id="empty line"),
        pytest.param(b"hello\n", id="text"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(100), id="image"),
        pytest.param(b"[]\n", id="JSON list"),
        pytest.param(b'{"form": "vector-index-1"}\n', id="half a header"),
        pytest.param(b"{" * 100_000, id="long line"),
    ],
)
def test_other_files_are_refused(engine: str, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "other.index"
    file.write_bytes(content)
    with pytest.raises(SnapshotUnusable):
        load_index(engine, DIMENSION, file)


def test_valid_checksum_with_a_foreign_payload_is_refused(engine: str, tmp_path: Path) -> None:
    file = tmp_path / "foreign.index"
    for payload in (b"", b"anything else", bytes(1000)):
        write_snapshot(file, engine, DIMENSION, payload, {})
        with pytest.raises(SnapshotUnusable):
            load_index(engine, DIMENSION, file)


def test_missing_file_and_folder_are_refused(engine: str, tmp_path: Path) -> None:
    for file in (tmp_path / "nowhere" / "faces.index", tmp_path):
        with pytest.raises(SnapshotUnusable, match=file.name):
            load_index(engine, DIMENSION, file)


def test_file_of_another_engine_or_dimension_is_refused(engine: str, saved: Path) -> None:
    other = next(name for name in TOLERANCE if name != engine)
    with pytest.raises(SnapshotUnusable, match=engine):
        load_index(other, DIMENSION, saved)
    with pytest.raises(SnapshotUnusable, match=str(DIMENSION)):
        load_index(engine, DIMENSION + 1, saved)


def test_unknown_engine_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownEngine, match=r"'hnsw'.*exact, faiss"):
        open_index("hnsw", DIMENSION)


def test_failed_save_leaves_the_old_file_and_no_temporary(
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
    index.save(saved, {"position": "42"})  # with enough space
    loaded, metadata = load_index(engine, DIMENSION, saved)
    assert len(loaded) == 1000 and metadata == {"position": "42"}


def test_failed_rename_leaves_no_temporary(engine: str, tmp_path: Path, index: VectorIndex) -> None:
    (tmp_path / "faces.index").mkdir()  # nothing can be renamed over a folder
    with pytest.raises(OSError):
        index.save(tmp_path / "faces.index", {})
    assert [f.name for f in tmp_path.iterdir()] == ["faces.index"]


# The engines agree after any sequence of operations


class EnginesAgree(RuleBasedStateMachine):
    """Random additions, erasures, saves and loads on both engines, beside a dictionary."""

    ids = st.lists(st.integers(0, 40), max_size=12)

    @initialize()
    def open(self) -> None:
        self.exact = open_index("exact", DIMENSION)
        self.faiss = open_index("faiss", DIMENSION)
        self.stored: dict[int, Float32] = {}

    @rule(new_ids=ids, seed=st.integers(0, 1000))
    def add(self, new_ids: list[int], seed: int) -> None:
        ids, rows = int64(*new_ids), unit(len(new_ids), seed)
        is_valid = len(set(new_ids)) == len(new_ids) and not set(new_ids) & self.stored.keys()
        for index in (self.exact, self.faiss):
            if is_valid:
                index.add(ids, rows)
            else:
                with pytest.raises(DuplicateId):
                    index.add(ids, rows)
        if is_valid:
            self.stored |= dict(zip(new_ids, rows, strict=True))

    @rule(erased_ids=ids)
    def erase(self, erased_ids: list[int]) -> None:
        erased = set(erased_ids) & self.stored.keys()
        for index in (self.exact, self.faiss):
            assert index.erase(int64(*erased_ids)) == len(erased)
        for i in erased:
            del self.stored[i]

    @rule()
    def save_and_load(self) -> None:
        with TemporaryDirectory() as folder:
            for name in ("exact", "faiss"):
                file = Path(folder, name)
                getattr(self, name).save(file, {"engine": name})
                loaded, metadata = load_index(name, DIMENSION, file)
                assert metadata == {"engine": name}
                setattr(self, name, loaded)

    @rule(seed=st.integers(0, 1000), k=st.integers(1, 20))
    def search(self, seed: int, k: int) -> None:
        queries = unit(3, seed)
        for name, tolerance in TOLERANCE.items():
            found = getattr(self, name).search(queries, k)
            assert_nearest(found, self.stored, queries, k, tolerance)

    @invariant()
    def have_the_same_ids(self) -> None:
        for index in (self.exact, self.faiss):
            assert len(index) == len(self.stored)
            assert index.ids().tolist() == sorted(self.stored)


EnginesAgree.TestCase.settings = settings(max_examples=25, stateful_step_count=20)
TestEnginesAgree = EnginesAgree.TestCase
