"""A search by short codes finds what an exact one finds, and nothing is left of erased rows."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest

from indexer import faiss_index, load_index, short_codes
from indexer.faiss_index import FaissIndex
from indexer.short_codes import LEAST_RECALL
from tests.contract.rows import Float32, unit

PEOPLE, PHOTOS, DIMENSION = 2_000, 3, 128


@pytest.fixture(scope="module")
def rows() -> Float32:
    """Three rows of each person, near each other."""
    people = np.repeat(unit(PEOPLE, 1, DIMENSION), PHOTOS, axis=0)
    near = people + 0.06 * np.random.default_rng(2).normal(size=people.shape)
    return (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def exact(rows: Float32) -> FaissIndex:
    index = FaissIndex(DIMENSION)
    index.add(np.arange(len(rows)) * 7, rows)
    return index


@pytest.fixture
def coded(rows: Float32) -> FaissIndex:
    index = FaissIndex(DIMENSION)
    index.add(np.arange(len(rows)) * 7, rows)
    index.speed_up()
    return index


def test_nearest_rows_are_found_as_often_as_it_says(
    exact: FaissIndex, coded: FaissIndex, rows: Float32
) -> None:
    shortlist = coded.shortlist
    assert shortlist is not None and exact.shortlist is None
    assert (shortlist.rows, shortlist.sampled) == (len(rows), 1_000)
    assert shortlist.length < len(rows) and shortlist.recall >= LEAST_RECALL
    same = coded.search(rows, 2).ids == exact.search(rows, 2).ids
    assert same.mean() > 0.998
    strangers = unit(500, 8, DIMENSION)
    same = coded.search(strangers, 1).ids == exact.search(strangers, 1).ids
    assert same.mean() > 0.99
    assert "by short codes" in coded.described() and "exact" in exact.described()


def test_codes_are_saved(coded: FaissIndex, rows: Float32, tmp_path: Path) -> None:
    coded.save(tmp_path / "index", {})
    loaded, _ = load_index("faiss", DIMENSION, tmp_path / "index")
    assert isinstance(loaded, FaissIndex) and loaded.shortlist == coded.shortlist
    for index in (loaded, coded):
        index.erase(np.arange(0, 700, 7))
        index.add(np.array([1, 2]), rows[:2])
    before, after = (index.search(rows[:200], 5) for index in (coded, loaded))
    np.testing.assert_array_equal(before.ids, after.ids)
    assert after.ids[:2, 0].tolist() == [1, 2]


@pytest.mark.parametrize("erased", [[0], [5_999], [0, 5_999], range(5_900, 6_000), range(5_999)])
def test_codes_of_erased_rows_are_gone(coded: FaissIndex, rows: Float32, erased: list[int]) -> None:
    """To the bit: the codes are those of the rows that are left, also after others are added."""
    codes = faiss.deserialize_index(faiss.serialize_index(coded._codes))
    codes.reset()
    coded.erase(np.array(erased) * 7)
    left = np.delete(rows, list(erased), axis=0).astype(np.float16).astype(np.float32)
    codes.add(left)
    assert faiss.serialize_index(coded._codes).tobytes() == faiss.serialize_index(codes).tobytes()
    new = unit(50, 9, DIMENSION)
    coded.add(np.arange(50) * 7 + 1, new)
    codes.add(new)
    assert faiss.serialize_index(coded._codes).tobytes() == faiss.serialize_index(codes).tobytes()


@pytest.mark.parametrize("count", [0, 1, 2, 40, 5_000])
def test_rows_may_be_few_or_all_the_same(count: int) -> None:
    index = FaissIndex(DIMENSION)
    index.add(np.arange(count), np.repeat(unit(1, 3, DIMENSION), count, axis=0))
    index.speed_up()
    assert index.ids().tolist() == list(range(count))
    found = index.search(unit(1, 3, DIMENSION), 5).ids[0]
    assert (found >= 0).sum() == min(count, 5)
    index.add(np.array([9_999]), unit(1, 4, DIMENSION))
    assert index.search(unit(1, 4, DIMENSION), 1).ids.tolist() == [[9_999]]


def test_without_enough_recall_it_stays_exact(
    exact: FaissIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(short_codes, "LEAST_RECALL", 1.1)  # no list is long enough
    exact.speed_up()
    assert exact.shortlist is None and "exact" in exact.described()


def test_slow_is_what_is_slow_here_or_has_multiplied(
    exact: FaissIndex, coded: FaissIndex, rows: Float32, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not exact.is_slow()
    monkeypatch.setattr(faiss_index, "_FEWEST_TO_CODE", len(rows))
    monkeypatch.setattr(faiss_index, "SLOW_SECONDS", 1_000.0)
    assert not exact.is_slow()
    monkeypatch.setattr(faiss_index, "SLOW_SECONDS", 0.0)
    assert exact.is_slow() and not coded.is_slow()
    for times in range(1, 5):
        coded.add(np.arange(len(rows)) * 7 + times, rows)
    assert coded.is_slow()
