"""The default engine: FAISS over half-precision rows, exact until that is slow, then by cells.

A half-precision inner product of unit rows is accurate to about 1e-3, so rows with nearly equal
similarities may come in another order than the oracle's. For exact similarities, compute them from
the original rows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import faiss
import numpy as np

from indexer.errors import InvalidVectors, SnapshotUnusable
from indexer.id_set import IdSet
from indexer.inverted_file import Grouping, group
from indexer.protocol import (
    NO_NEIGHBOUR,
    Float32,
    Int64,
    Neighbours,
    checked_k,
    checked_vectors,
)
from indexer.snapshot import write_snapshot

SLOW_SECONDS = 0.001
"""An exact search of one row that takes longer on this machine is slow."""
_FEWEST_TO_GROUP = 50_000
"""Rows. With fewer, an exact search is not even timed."""
_OUTGROWN = 4
"""An inverted file with this many times the rows that it was made for needs more cells."""
_TIMED_SEARCHES = 5
_THREADS_FROM = 200_000
"""Similarities for which several threads pay. To wake them took 19 ms for a hundred rows."""
_THREADS = faiss.omp_get_max_threads()
_LARGEST_HALF = float(np.finfo(np.float16).max)
_BLOCK = 65_536
_FAISS: Any = faiss  # its type hints lack some classes and attributes


class FaissIndex:
    """See VectorIndex. grouping : of an inverted file; None if a search looks at every row."""

    engine = "faiss"

    def __init__(self, dimension: int) -> None:
        rows = faiss.IndexScalarQuantizer(
            dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
        self._index: Any = faiss.IndexIDMap(rows)
        self._stored = IdSet()
        self.grouping: Grouping | None = None
        self._timed = 0, 0.0

    @classmethod
    def from_payload(
        cls, payload: BinaryIO, dimension: int, details: Mapping[str, Any]
    ) -> FaissIndex:
        """Return the index that `save` wrote. Raises SnapshotUnusable if FAISS cannot read it."""
        index = cls(dimension)
        try:
            index._index = faiss.read_index(_FAISS.PyCallbackIOReader(payload.read))
            index.grouping = Grouping(**details) if details else None
        except (RuntimeError, TypeError) as error:
            raise SnapshotUnusable(f"FAISS cannot read it: {error}") from error
        kind = faiss.IndexIVFScalarQuantizer if details else faiss.IndexIDMap
        if not isinstance(index._index, kind) or index.dimension != dimension:
            raise SnapshotUnusable(f"it is not an index of rows of length {dimension}")
        index._stored = IdSet(index._ids_as_stored())
        return index

    @property
    def dimension(self) -> int:
        return int(self._index.d)

    def __len__(self) -> int:
        return len(self._stored)

    def ids(self) -> Int64:
        return self._stored.ids.copy()

    def add(self, ids: Int64, vectors: Float32) -> None:
        rows = checked_vectors(vectors, self.dimension)
        if np.abs(rows).max(initial=0.0) > _LARGEST_HALF:
            raise InvalidVectors(f"values over {_LARGEST_HALF:,.0f} do not fit in half precision")
        self._stored.check_new(ids, len(rows))
        if len(ids):
            self._index.add_with_ids(rows, np.ascontiguousarray(ids))
            self._stored.add(ids)

    def erase(self, ids: Int64) -> int:
        erased = self._stored.remove(ids)
        if len(erased):
            before = self._sizes()
            self._index.remove_ids(erased)
            self._recentre(np.flatnonzero(self._sizes() != before))
        return len(erased)

    def search(self, vectors: Float32, k: int) -> Neighbours:
        queries = checked_vectors(vectors, self.dimension)
        k = checked_k(k)
        if len(queries) * len(self) < _THREADS_FROM or (self.grouping and len(queries) == 1):
            faiss.omp_set_num_threads(1)  # of this thread alone
        try:
            similarities, ids = self._index.search(queries, k)
        finally:
            faiss.omp_set_num_threads(_THREADS)
        similarities[ids == NO_NEIGHBOUR] = -np.inf
        return Neighbours(ids, similarities)

    def is_outgrown(self) -> bool:
        if self.grouping is not None:
            return len(self) > _OUTGROWN * self.grouping.rows
        return len(self) >= _FEWEST_TO_GROUP and self.seconds() > SLOW_SECONDS

    def described(self) -> str:
        milliseconds = f"{1000 * self.seconds():.1f} ms a search"
        if self.grouping is None:
            return f"exact, {milliseconds}"
        grouping = self.grouping
        return (
            f"by cells, {milliseconds}: it looks into {grouping.probes:,} of {grouping.cells:,},"
            f" and found the nearest of {grouping.recall:.1%} of {grouping.sampled:,} rows when it"
            f" was made for {grouping.rows:,}"
        )

    def regrouped(self) -> FaissIndex:
        index = FaissIndex(self.dimension)
        index._index, index.grouping = group(_Blocks(self), len(self), self.dimension)
        index._stored = IdSet(self._stored.ids)
        return index

    def probe(self, cells: int) -> None:
        """Let searches look into this many cells of an inverted file."""
        self._index.nprobe = cells

    def seconds(self) -> float:
        """How long a search for one row takes on this machine: timed when the rows have doubled."""
        rows, seconds = self._timed
        if not rows <= len(self) < 2 * rows:
            query, times = np.zeros((1, self.dimension), dtype=np.float32), []
            for _ in range(_TIMED_SEARCHES):
                start = time.perf_counter()
                self.search(query, 1)
                times.append(time.perf_counter() - start)
            seconds = sorted(times)[_TIMED_SEARCHES // 2]
            self._timed = len(self), seconds
        return seconds

    def save(self, file: Path, metadata: Mapping[str, str]) -> None:
        details = {} if self.grouping is None else asdict(self.grouping)

        def write(out: BinaryIO) -> None:
            faiss.write_index(self._index, _FAISS.PyCallbackIOWriter(out.write))

        write_snapshot(file, self.engine, self.dimension, write, metadata, details)

    def close(self) -> None:
        self._index.reset()
        self._stored = IdSet()

    def blocks(self) -> Iterator[tuple[Int64, Float32]]:
        """Yield all ids and rows, as they are stored, a block at a time."""
        if self.grouping is None:
            ids, codes = self._ids_as_stored(), _FAISS.downcast_index(self._index.index).codes
            for start in range(0, len(ids), _BLOCK):
                block = ids[start : start + _BLOCK]
                yield block, self._rows(codes.data(), start, len(block))
            return
        lists = self._index.invlists
        for cell in range(self._index.nlist):
            size = lists.list_size(cell)
            if size:
                ids = faiss.rev_swig_ptr(lists.get_ids(cell), size).copy()
                yield ids, self._rows(lists.get_codes(cell), 0, size)

    def _sizes(self) -> Int64:
        """How many rows each cell of an inverted file has, int64 (cells,)."""
        cells = 0 if self.grouping is None else self.grouping.cells
        sizes = (self._index.invlists.list_size(cell) for cell in range(cells))
        return np.fromiter(sizes, dtype=np.int64, count=cells)

    def _recentre(self, cells: Int64) -> None:
        """Compute the centres of cells from the rows that are in them now.

        The centre of a small cell would else tell of rows that were erased.
        """
        for cell in cells.tolist():
            size = self._index.invlists.list_size(cell)
            rows = self._rows(self._index.invlists.get_codes(cell), 0, size)
            mean = rows.sum(axis=0)
            centres = _FAISS.downcast_index(self._index.quantizer)
            stored = faiss.rev_swig_ptr(centres.get_xb(), self._index.nlist * self.dimension)
            length = float(np.linalg.norm(mean))
            stored.reshape(-1, self.dimension)[cell] = mean / length if length else 0.0

    def _rows(self, codes: Any, start: int, count: int) -> Float32:
        """Decode rows from where FAISS keeps their codes."""
        width = 2 * self.dimension
        stored = faiss.rev_swig_ptr(codes, (start + count) * width)[start * width :]
        return stored.view(np.float16).reshape(count, self.dimension).astype(np.float32)

    def _ids_as_stored(self) -> Int64:
        """All ids in the order of their rows."""
        if self.grouping is None:
            ids: Int64 = faiss.vector_to_array(self._index.id_map).astype(np.int64)
            return ids
        lists = self._index.invlists
        cells = range(self._index.nlist)
        blocks = [
            faiss.rev_swig_ptr(lists.get_ids(cell), lists.list_size(cell)).copy()
            for cell in cells
            if lists.list_size(cell)
        ]
        return np.concatenate([np.empty(0, dtype=np.int64), *blocks])


class _Blocks:
    """The blocks of an index, as often as they are asked for."""

    def __init__(self, index: FaissIndex) -> None:
        self._index = index

    def __iter__(self) -> Iterator[tuple[Int64, Float32]]:
        return self._index.blocks()
