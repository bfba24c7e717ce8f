"""Exact search in NumPy, float32: the oracle that every engine is tested against."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from indexer.errors import SnapshotUnusable, VectorIndexError
from indexer.protocol import (
    NO_NEIGHBOUR,
    Float32,
    Int64,
    Neighbours,
    checked_ids,
    checked_k,
    checked_vectors,
)
from indexer.snapshot import write_snapshot


class ExactIndex:
    """All rows in one array, all similarities computed. See VectorIndex."""

    engine = "exact"

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._ids = np.empty(0, dtype=np.int64)
        self._vectors = np.empty((0, dimension), dtype=np.float32)

    @classmethod
    def from_payload(cls, payload: bytes, dimension: int) -> ExactIndex:
        """The index that `save` wrote. Raises SnapshotUnusable for another payload."""
        index = cls(dimension)
        try:
            with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
                index.add(arrays["ids"], arrays["vectors"])
        except (OSError, EOFError, ValueError, KeyError, BadZipFile, VectorIndexError) as error:
            raise SnapshotUnusable(f"it holds no rows of length {dimension}: {error}") from error
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
        checked_ids(ids, len(rows), set(self._ids.tolist()))
        self._ids = np.concatenate([self._ids, ids])
        self._vectors = np.concatenate([self._vectors, rows])

    def erase(self, ids: Int64) -> int:
        gone = np.isin(self._ids, ids)
        self._ids, self._vectors = self._ids[~gone], self._vectors[~gone]
        return int(gone.sum())

    def search(self, vectors: Float32, k: int) -> Neighbours:
        queries = checked_vectors(vectors, self._dimension)
        taken = min(checked_k(k), len(self))
        found = np.full((len(queries), k), NO_NEIGHBOUR, dtype=np.int64)
        similarities = np.full((len(queries), k), -np.inf, dtype=np.float32)
        if taken:
            products = queries @ self._vectors.T  # (n, stored)
            order = np.argsort(-products, axis=1, kind="stable")[:, :taken]
            found[:, :taken] = self._ids[order]
            similarities[:, :taken] = np.take_along_axis(products, order, axis=1)
        return Neighbours(found, similarities)

    def save(self, file: Path, marks: Mapping[str, str]) -> None:
        payload = io.BytesIO()
        np.savez(payload, ids=self._ids, vectors=self._vectors)
        write_snapshot(file, self.engine, self._dimension, payload.getvalue(), marks)

    def close(self) -> None:
        self._ids, self._vectors = self._ids[:0], self._vectors[:0]
