"""Pairs of similar 64-bit strings, by Hamming distance."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from indexer.errors import InvalidVectors
from indexer.protocol import Int64

UInt8 = npt.NDArray[np.uint8]
_FLAT_UP_TO = 20_000
_PARTS, _PART_BITS = 4, 16
_BATCH = 2_000


def near_bits(
    queries: UInt8, stored: UInt8, max_distance: int, max_pairs: int = 1_000
) -> tuple[Int64, Int64]:
    """Return the pairs of a query and a stored string that differ in at most this many bits.

    queries : uint8 (m, 8).  stored : uint8 (n, 8).
    max_distance : in bits, 0 to 11.
    max_pairs : how many of its nearest pairs a query keeps; without a limit, n equal strings would
        make n squared pairs.
    Returns rows of `queries` and rows of `stored`, int64 (p,) each. Raises InvalidVectors.

    Above 20,000 stored strings the search uses four hash tables, one for each 16 bits. It misses
    nothing: if two strings differ in at most 11 bits, one of the four parts differs in at most 2.
    """
    for rows in (queries, stored):
        if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != 8:
            raise InvalidVectors(f"{rows.dtype} rows of shape {rows.shape}, expected uint8 (n, 8)")
    if not 0 <= max_distance <= 11:
        raise InvalidVectors(f"a distance of {max_distance} bits, expected 0 to 11")
    if len(stored) <= _FLAT_UP_TO:
        index: Any = faiss.IndexBinaryFlat(64)
    else:
        index = faiss.IndexBinaryMultiHash(64, _PARTS, _PART_BITS)
        index.nflip = max_distance // _PARTS
    index.add(np.ascontiguousarray(stored))
    first, second = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for start in range(0, len(queries), _BATCH):
        batch = np.ascontiguousarray(queries[start : start + _BATCH])
        # The radius is exclusive.
        limits, distances, stored_rows = index.range_search(batch, max_distance + 1)
        starts = limits.astype(np.int64)
        query_rows = np.repeat(np.arange(len(batch)), np.diff(starts))
        order = np.lexsort((stored_rows, distances, query_rows))
        nearest = order[np.arange(len(order)) - starts[query_rows] < max_pairs]
        first.append(query_rows[nearest] + start)
        second.append(stored_rows[nearest].astype(np.int64))
    return np.concatenate(first), np.concatenate(second)
