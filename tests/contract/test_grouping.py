"""An inverted file finds what an exact search finds, and says of how many rows it does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from indexer import VectorIndex, faiss_index, load_index
from indexer.faiss_index import FaissIndex
from indexer.inverted_file import LEAST_RECALL
from tests.contract.rows import Float32, unit

PEOPLE, PHOTOS = 2_000, 3


@pytest.fixture(scope="module")
def rows() -> Float32:
    """Three rows of each person, near each other."""
    people = np.repeat(unit(PEOPLE, 1, 64), PHOTOS, axis=0)
    near = people + 0.06 * np.random.default_rng(2).normal(size=people.shape)
    return (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def exact(rows: Float32) -> FaissIndex:
    index = FaissIndex(64)
    index.add(np.arange(len(rows)) * 7, rows)
    return index


def nearest_others(index: VectorIndex, rows: Float32, ids: np.ndarray) -> np.ndarray:
    found = index.search(rows, 2).ids
    return np.where(found[:, 0] == ids, found[:, 1], found[:, 0])


def test_nearest_rows_are_found_as_often_as_it_says(exact: FaissIndex, rows: Float32) -> None:
    grouped = exact.regrouped()
    assert grouped.grouping is not None and exact.grouping is None
    grouping = grouped.grouping
    assert grouping.rows == len(rows) and grouping.sampled == 1_000
    assert 1 < grouping.probes < grouping.cells
    assert grouping.recall >= LEAST_RECALL
    ids = np.arange(len(rows)) * 7
    same = nearest_others(grouped, rows, ids) == nearest_others(exact, rows, ids)
    assert same.mean() > 0.995
    assert grouped.ids().tolist() == exact.ids().tolist()


def test_rows_are_kept_to_the_bit_whatever_is_grouped(exact: FaissIndex) -> None:
    once = exact.regrouped()
    twice = once.regrouped()
    for index in (once, twice):
        assert stored(index) == stored(exact)


def stored(index: FaissIndex) -> dict[int, bytes]:
    return {
        int(i): row.tobytes()
        for ids, rows in index.blocks()
        for i, row in zip(ids, rows, strict=True)
    }


def test_grouping_is_saved(exact: FaissIndex, tmp_path: Path) -> None:
    grouped = exact.regrouped()
    grouped.save(tmp_path / "index", {})
    loaded, _ = load_index("faiss", 64, tmp_path / "index")
    assert isinstance(loaded, FaissIndex)
    assert loaded.grouping == grouped.grouping
    assert stored(loaded) == stored(exact)


def test_half_of_the_rows_can_be_erased_and_others_added(exact: FaissIndex, rows: Float32) -> None:
    grouped = exact.regrouped()
    ids = np.arange(len(rows)) * 7
    assert grouped.erase(ids[: len(ids) // 2]) == len(ids) // 2
    grouped.add(ids[:600] + 1, rows[:600])
    assert len(grouped) == len(ids) // 2 + 600
    assert grouped.search(rows[:600], 1).ids[:, 0].tolist() == (ids[:600] + 1).tolist()
    assert set(grouped.ids().tolist()) == {*ids[len(ids) // 2 :], *(ids[:600] + 1)}


def test_centres_tell_nothing_of_erased_rows(exact: FaissIndex, rows: Float32) -> None:
    """A person with many photos has a cell alone."""
    photos = rows[:1] + 0.005 * unit(200, 10, 64)
    photos = (photos / np.linalg.norm(photos, axis=1, keepdims=True)).astype(np.float32)
    erased = np.arange(100_000, 100_200)
    exact.erase(np.arange(PHOTOS) * 7)
    exact.add(erased, photos)
    whole = exact.regrouped()
    exact.erase(erased)
    assert nearest_centre(whole, photos[0]) > 0.99
    assert whole.erase(erased) == 200
    assert nearest_centre(whole, photos[0]) < 0.9
    ids, rows = np.arange(PHOTOS, len(rows)) * 7, rows[PHOTOS:]
    same = nearest_others(whole, rows, ids) == nearest_others(exact, rows, ids)
    assert same.mean() > 0.995


def nearest_centre(index: FaissIndex, row: Float32) -> float:
    return float(index._index.quantizer.search(row[None], 1)[0][0, 0])


@pytest.mark.parametrize("count", [0, 1, 2, 5_000])
def test_rows_may_be_few_or_all_the_same(count: int) -> None:
    index = FaissIndex(16)
    index.add(np.arange(count), np.repeat(unit(1, 3), count, axis=0))
    grouped = index.regrouped()
    assert grouped.ids().tolist() == list(range(count))
    found = grouped.search(unit(1, 3), 5).ids[0]
    assert (found >= 0).sum() == min(count, 5)
    grouped.add(np.array([9_999]), unit(1, 4))
    assert grouped.search(unit(1, 4), 1).ids.tolist() == [[9_999]]


def test_outgrown_is_what_is_slow_here_or_has_multiplied(
    exact: FaissIndex, rows: Float32, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not exact.is_outgrown()
    monkeypatch.setattr(faiss_index, "_FEWEST_TO_GROUP", len(rows))
    monkeypatch.setattr(faiss_index, "SLOW_SECONDS", 1_000.0)
    assert not exact.is_outgrown()
    monkeypatch.setattr(faiss_index, "SLOW_SECONDS", 0.0)
    assert exact.is_outgrown()
    grouped = exact.regrouped()
    assert not grouped.is_outgrown()
    for times in range(1, 5):
        grouped.add(np.arange(len(rows)) * 7 + times, rows)
    assert grouped.is_outgrown()
