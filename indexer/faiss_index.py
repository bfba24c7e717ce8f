"""The default engine: FAISS over half-precision rows; exact, or by short codes where that is slow.

A half-precision inner product of unit rows is accurate to about 1e-3, so rows with nearly equal
similarities may come in another order than the oracle's. For exact similarities, compute them from
the original rows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import faiss
import numpy as np

from indexer.errors import InvalidVectors, SnapshotUnusable
from indexer.id_set import IdSet
from indexer.protocol import (
    NO_NEIGHBOUR,
    Float32,
    Int64,
    Neighbours,
    checked_k,
    checked_vectors,
)
from indexer.short_codes import FEWEST_CODED, Shortlist, build_codes, remove_codes, shortlist_for
from indexer.snapshot import write_snapshot

SLOW_SECONDS = 0.001
"""An exact search of one row that takes longer on this machine is slow."""
_FEWEST_TO_CODE = 50_000
"""Rows. With fewer, an exact search is not even timed."""
_LEAST_FACTOR = 4.0
"""A shortlist has this many times the neighbours that are asked for, at least."""
_OUTGROWN = 4
"""A shortlist was measured for up to this many times its rows."""
_TIMED_SEARCHES = 5
_THREADS_FROM = 200_000
"""Similarities for which several threads pay. To wake them took 19 ms for a hundred rows."""
_CODED_AS = 200
"""To store and code a row takes about as long as so many similarities."""
_THREADS = faiss.omp_get_max_threads()
_LARGEST_HALF = float(np.finfo(np.float16).max)
_FAISS: Any = faiss  # its type hints lack some classes and attributes


@contextmanager
def _threads_for(similarities: int) -> Iterator[None]:
    """Use one thread for few similarities, for as long as the block runs."""
    if similarities < _THREADS_FROM:
        faiss.omp_set_num_threads(1)  # of this thread alone
    try:
        yield
    finally:
        faiss.omp_set_num_threads(_THREADS)


class FaissIndex:
    """See VectorIndex. shortlist : of a search by short codes; None if a search is exact."""

    engine = "faiss"

    def __init__(self, dimension: int) -> None:
        self._rows: Any = faiss.IndexScalarQuantizer(
            dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
        self._index: Any = faiss.IndexIDMap(self._rows)
        self._codes: Any = None
        """Of the rows, in the same order."""
        self._stored = IdSet()
        self.shortlist: Shortlist | None = None
        self._timed = 0, 0.0

    @classmethod
    def from_payload(
        cls, payload: BinaryIO, dimension: int, details: Mapping[str, Any]
    ) -> FaissIndex:
        """Return the index that `save` wrote. Raises SnapshotUnusable if FAISS cannot read it."""
        index = cls(dimension)
        try:
            index._index = faiss.read_index(_FAISS.PyCallbackIOReader(payload.read))
            if details:
                index._codes = faiss.read_index(_FAISS.PyCallbackIOReader(payload.read))
                index.shortlist = Shortlist(**details)
        except (RuntimeError, TypeError) as error:
            raise SnapshotUnusable(f"FAISS cannot read it: {error}") from error
        if not isinstance(index._index, faiss.IndexIDMap) or index.dimension != dimension:
            raise SnapshotUnusable(f"it is not an id map to rows of length {dimension}")
        if index._codes is not None and index._codes.ntotal != index._index.ntotal:
            raise SnapshotUnusable("its rows and their codes are not equally many")
        index._rows = _FAISS.downcast_index(index._index.index)
        index._stored = IdSet(index._ids_by_position())
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
            with _threads_for(len(ids) * _CODED_AS):
                self._index.add_with_ids(rows, np.ascontiguousarray(ids))
                if self._codes is not None:
                    self._codes.add(rows)
            self._stored.add(ids)

    def erase(self, ids: Int64) -> int:
        erased = self._stored.remove(ids)
        if len(erased):
            if self._codes is None:
                self._index.remove_ids(erased)
            else:
                positions = np.flatnonzero(np.isin(self._ids_by_position(), erased))
                self._index.remove_ids(erased)
                remove_codes(self._codes, positions, self._decoded)
        return len(erased)

    def search(self, vectors: Float32, k: int) -> Neighbours:
        queries = checked_vectors(vectors, self.dimension)
        k = checked_k(k)
        with _threads_for(0 if len(queries) == 1 else len(queries) * len(self)):
            if self.shortlist is None or len(self) <= k:
                similarities, ids = self._index.search(queries, k)
            else:
                similarities, ids = self._search_by_codes(queries, k, self.shortlist.length)
        similarities[ids == NO_NEIGHBOUR] = -np.inf
        return Neighbours(ids, similarities)

    def is_slow(self) -> bool:
        if self.shortlist is not None:
            return len(self) > _OUTGROWN * self.shortlist.rows
        return len(self) >= _FEWEST_TO_CODE and self.seconds() > SLOW_SECONDS

    def described(self) -> str:
        milliseconds = f"{1000 * self.seconds():.1f} ms a search"
        if self.shortlist is None:
            return f"exact, {milliseconds}"
        found = self.shortlist
        return (
            f"by short codes, {milliseconds}: of {found.length:,} candidates the nearest by their"
            f" rows; {found.recall:.1%} of {found.sampled:,} rows found their nearest other, of"
            f" {found.rows:,} then"
        )

    def speed_up(self) -> None:
        if len(self) < FEWEST_CODED:
            return
        codes = build_codes(self._decoded, len(self), self.dimension)
        self._codes, before = codes, self._codes
        shortlist = shortlist_for(
            lambda queries, length: self._search_by_codes(queries, 2, length)[0],
            lambda queries: self._index.search(queries, 2)[0],
            self._decoded,
            len(self),
        )
        if shortlist is None:
            self._codes = before
        else:
            self.shortlist, self._timed = shortlist, (0, 0.0)

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
        details = {} if self.shortlist is None else asdict(self.shortlist)

        def write(out: BinaryIO) -> None:
            faiss.write_index(self._index, _FAISS.PyCallbackIOWriter(out.write))
            if self.shortlist is not None:
                faiss.write_index(self._codes, _FAISS.PyCallbackIOWriter(out.write))

        write_snapshot(file, self.engine, self.dimension, write, metadata, details)

    def close(self) -> None:
        self._index.reset()
        self._codes = self.shortlist = None
        self._stored = IdSet()

    def _search_by_codes(self, queries: Float32, k: int, shortlist: int) -> tuple[Float32, Int64]:
        """The nearest by their rows among the nearest by their codes: similarities and ids."""
        refined = _FAISS.IndexRefine(self._codes, self._rows)
        refined.k_factor = max(1.0, min(max(shortlist / k, _LEAST_FACTOR), len(self) / k))
        similarities, positions = refined.search(queries, k)
        ids = self._ids_by_position()
        missing = positions < 0
        found = np.where(missing, NO_NEIGHBOUR, ids[np.where(missing, 0, positions)])
        return similarities, found

    def _decoded(self, positions: Int64) -> Float32:
        """The rows at these positions."""
        width = 2 * self.dimension
        codes = faiss.rev_swig_ptr(self._rows.codes.data(), len(self) * width)
        halves = codes.reshape(-1, width)[positions].view(np.float16)
        return halves.astype(np.float32)

    def _ids_by_position(self) -> Int64:
        """All ids in the order of their rows. A view: it is valid until the index changes."""
        if not self._index.ntotal:
            return np.empty(0, dtype=np.int64)
        ids: Int64 = faiss.rev_swig_ptr(self._index.id_map.data(), int(self._index.ntotal))
        return ids.astype(np.int64, copy=False)
