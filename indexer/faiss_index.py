"""The default engine: FAISS, exact search over half-precision rows.

Rows are stored as float16 under an id map. A half-precision inner product of unit rows is accurate
to about 1e-3, so rows with nearly equal similarities may come in another order than the oracle's.
For exact similarities, compute them from the original rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from indexer.errors import InvalidVectors, SnapshotUnusable
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

_THREADS_FROM = 200_000
"""Similarities for which several threads pay. To wake them took 19 ms for a hundred rows."""
_THREADS = faiss.omp_get_max_threads()
_LARGEST_HALF = float(np.finfo(np.float16).max)


class FaissIndex:
    """See VectorIndex."""

    engine = "faiss"

    def __init__(self, dimension: int) -> None:
        rows = faiss.IndexScalarQuantizer(
            dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
        self._index: Any = faiss.IndexIDMap2(rows)
        self._stored: set[int] = set()

    @classmethod
    def from_payload(cls, payload: bytes, dimension: int) -> FaissIndex:
        """Return the index that `save` wrote. Raises SnapshotUnusable if FAISS cannot read it."""
        index = cls(dimension)
        try:
            index._index = faiss.deserialize_index(np.frombuffer(payload, dtype=np.uint8))
        except RuntimeError as error:
            raise SnapshotUnusable(f"FAISS cannot read it: {error}") from error
        if not isinstance(index._index, faiss.IndexIDMap2) or index.dimension != dimension:
            raise SnapshotUnusable(f"it is not an id map to rows of length {dimension}")
        index._stored = set(index.ids().tolist())
        return index

    @property
    def dimension(self) -> int:
        return int(self._index.d)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def ids(self) -> Int64:
        return np.sort(faiss.vector_to_array(self._index.id_map).astype(np.int64))

    def add(self, ids: Int64, vectors: Float32) -> None:
        rows = checked_vectors(vectors, self.dimension)
        if np.abs(rows).max(initial=0.0) > _LARGEST_HALF:
            raise InvalidVectors(f"values over {_LARGEST_HALF:,.0f} do not fit in half precision")
        new_ids = checked_ids(ids, len(rows), self._stored)
        if new_ids:
            self._index.add_with_ids(rows, np.ascontiguousarray(ids))
            self._stored.update(new_ids)

    def erase(self, ids: Int64) -> int:
        erased = self._stored.intersection(ids.tolist())
        if erased:
            self._index.remove_ids(np.fromiter(erased, dtype=np.int64))
            self._stored -= erased
        return len(erased)

    def search(self, vectors: Float32, k: int) -> Neighbours:
        queries = checked_vectors(vectors, self.dimension)
        k = checked_k(k)
        if len(queries) * len(self) < _THREADS_FROM:
            faiss.omp_set_num_threads(1)  # of this thread alone
        try:
            similarities, ids = self._index.search(queries, k)
        finally:
            faiss.omp_set_num_threads(_THREADS)
        similarities[ids == NO_NEIGHBOUR] = -np.inf
        return Neighbours(ids, similarities)

    def save(self, file: Path, metadata: Mapping[str, str]) -> None:
        payload = faiss.serialize_index(self._index).tobytes()
        write_snapshot(file, self.engine, self.dimension, payload, metadata)

    def close(self) -> None:
        self._index.reset()
        self._stored.clear()
