"""Exact search in NumPy, float32: the oracle that every other engine is tested against."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib.format import read_array

from indexer.errors import SnapshotUnusable, VectorIndexError
from indexer.id_set import IdSet
from indexer.protocol import (
    NO_NEIGHBOUR,
    Float32,
    Int64,
    Neighbours,
    checked_k,
    checked_vectors,
)
from indexer.snapshot import write_snapshot


class ExactIndex:
    """All rows in one array; every similarity is computed. See VectorIndex."""

    engine = "exact"

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._ids = np.empty(0, dtype=np.int64)
        self._vectors = np.empty((0, dimension), dtype=np.float32)

    @classmethod
    def from_payload(
        cls, payload: BinaryIO, dimension: int, _details: Mapping[str, Any]
    ) -> ExactIndex:
        """Return the index that `save` wrote. Raises SnapshotUnusable for any other payload."""
        index = cls(dimension)
        try:
            ids, vectors = (read_array(payload, allow_pickle=False) for _ in range(2))
            index.add(ids, vectors)
        except (OSError, EOFError, ValueError, VectorIndexError) as error:
            raise SnapshotUnusable(
                f"its payload is not rows of length {dimension}: {error}"
            ) from error
        return index

    @property
    def dimension(self) -> int:
        return self._dimension

    def __len__(self) -> int:
        return len(self._ids)

    def ids(self) -> Int64:
        return np.sort(self._ids)

    def add(self, ids: Int64, vectors: Float32) -> None:
        rows = checked_vectors(vectors, self._dimension)
        IdSet(self._ids).check_new(ids, len(rows))
        self._ids = np.concatenate([self._ids, ids])
        self._vectors = np.concatenate([self._vectors, rows])

    def erase(self, ids: Int64) -> int:
        is_erased = np.isin(self._ids, ids)
        self._ids, self._vectors = self._ids[~is_erased], self._vectors[~is_erased]
        return int(is_erased.sum())

    def search(self, vectors: Float32, k: int) -> Neighbours:
        queries = checked_vectors(vectors, self._dimension)
        count = min(checked_k(k), len(self))
        ids = np.full((len(queries), k), NO_NEIGHBOUR, dtype=np.int64)
        similarities = np.full((len(queries), k), -np.inf, dtype=np.float32)
        if count:
            products = queries @ self._vectors.T  # (n, stored)
            order = np.argsort(-products, axis=1, kind="stable")[:, :count]
            ids[:, :count] = self._ids[order]
            similarities[:, :count] = np.take_along_axis(products, order, axis=1)
        return Neighbours(ids, similarities)

    def is_slow(self) -> bool:
        return False

    def described(self) -> str:
        return "exact"

    def speed_up(self) -> None:
        """It is the oracle: it stays exact."""

    def save(self, file: Path, metadata: Mapping[str, str]) -> None:
        def write(out: BinaryIO) -> None:
            np.save(out, self._ids)
            np.save(out, self._vectors)

        write_snapshot(file, self.engine, self._dimension, write, metadata, {})

    def close(self) -> None:
        self._ids, self._vectors = self._ids[:0], self._vectors[:0]
