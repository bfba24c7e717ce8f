"""Every index engine keeps the same contract, tested against an oracle in NumPy."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from indexer import (
    DuplicateId,
    InvalidVectors,
    VectorIndex,
)
from tests.contract.rows import (
    DIMENSION,
    TOLERANCE,
    Float32,
    Int64,
    assert_nearest,
    empty,
    int64,
    load,
    unit,
)


@pytest.mark.parametrize("dimension", [1, 16, 128])
@pytest.mark.parametrize("k", [1, 7, 100])
def test_search_agrees_with_numpy(engine: str, dimension: int, k: int) -> None:
    rows, queries = unit(400, 1, dimension), unit(20, 2, dimension)
    ids = np.random.default_rng(3).choice(2**62, size=400, replace=False)
    opened = empty(engine, dimension)
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


# The engines agree after any sequence of operations


class EnginesAgree(RuleBasedStateMachine):
    """Random additions, erasures, saves and loads on all engines, beside a dictionary."""

    ids = st.lists(st.integers(0, 40), max_size=12)

    @initialize()
    def open(self) -> None:
        self.indexes = {engine: empty(engine) for engine in TOLERANCE}
        self.stored: dict[int, Float32] = {}

    @rule(new_ids=ids, seed=st.integers(0, 1000))
    def add(self, new_ids: list[int], seed: int) -> None:
        ids, rows = int64(*new_ids), unit(len(new_ids), seed)
        is_valid = len(set(new_ids)) == len(new_ids) and not set(new_ids) & self.stored.keys()
        for index in self.indexes.values():
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
        for index in self.indexes.values():
            assert index.erase(int64(*erased_ids)) == len(erased)
        for i in erased:
            del self.stored[i]

    @rule()
    def save_and_load(self) -> None:
        with TemporaryDirectory() as folder:
            for engine, index in self.indexes.items():
                file = Path(folder, engine)
                index.save(file, {"engine": engine})
                self.indexes[engine], metadata = load(engine, DIMENSION, file)
                assert metadata == {"engine": engine}

    @rule(seed=st.integers(0, 1000), k=st.integers(1, 20))
    def search(self, seed: int, k: int) -> None:
        queries = unit(3, seed)
        for engine, tolerance in TOLERANCE.items():
            found = self.indexes[engine].search(queries, k)
            assert_nearest(found, self.stored, queries, k, tolerance)

    @invariant()
    def have_the_same_ids(self) -> None:
        for index in self.indexes.values():
            assert len(index) == len(self.stored)
            assert index.ids().tolist() == sorted(self.stored)


EnginesAgree.TestCase.settings = settings(max_examples=25, stateful_step_count=20)


TestEnginesAgree = EnginesAgree.TestCase
