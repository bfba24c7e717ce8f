"""Rows, ids and tolerances that the contract's tests share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from indexer import NO_NEIGHBOUR, Neighbours, VectorIndex, load_index, open_index
from indexer.faiss_index import FaissIndex

Float32 = npt.NDArray[np.float32]


Int64 = npt.NDArray[np.int64]


DIMENSION = 16


# How far similarities may be from the oracle's: float32 sums, and rows in half precision.
TOLERANCE = {"exact": 1e-6, "faiss": 1e-3, "faiss, coded": 1e-3}


def empty(engine: str, dimension: int = DIMENSION) -> VectorIndex:
    """An empty index. A coded one has a shortlist of all rows, so that it is exact, too."""
    name, _, coded = engine.partition(", ")
    index = open_index(name, dimension)
    if coded:
        assert isinstance(index, FaissIndex)
        index.add(np.arange(50), unit(50, 99, dimension))
        index.speed_up()
        assert index.shortlist is not None
        index.shortlist = replace(index.shortlist, length=100_000)
        assert index.erase(np.arange(50)) == 50
    return index


def load(engine: str, dimension: int, file: Path) -> tuple[VectorIndex, dict[str, str]]:
    """load_index, with the names of `empty`."""
    return load_index(engine.partition(", ")[0], dimension, file)


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
