"""Near pairs among short bit strings, by the Hamming distance."""

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
_BLOCK = 2_000


def near_bits(
    queries: UInt8, stored: UInt8, most: int, of_each: int = 1_000
) -> tuple[Int64, Int64]:
    """Pairs (query, stored row) of 64-bit strings, uint8 (m, 8) and (n, 8), that differ in at most
    `most` bits, int64 (p,) each.

    of_each : a query has so many of its nearest, so that n strings that are all alike are not n
        squared pairs.
    Beyond 20,000 stored rows through four tables of 16 bits each, which finds all pairs up to 11
    bits: one of the four parts then differs in two bits at most. Raises InvalidVectors.
    """
    for rows in (queries, stored):
        if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != 8:
            raise InvalidVectors(f"{rows.dtype} rows of shape {rows.shape}, expected uint8 (n, 8)")
    if not 0 <= most <= 11:
        raise InvalidVectors(f"{most} bits, expected 0 to 11")
    if len(stored) <= _FLAT_UP_TO:
        index: Any = faiss.IndexBinaryFlat(64)
    else:
        index = faiss.IndexBinaryMultiHash(64, _PARTS, _PART_BITS)
        index.nflip = most // _PARTS
    index.add(np.ascontiguousarray(stored))
    first, second = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for start in range(0, len(queries), _BLOCK):
        some = np.ascontiguousarray(queries[start : start + _BLOCK])
        limits, distances, found = index.range_search(some, most + 1)  # an exclusive radius
        starts = limits.astype(np.int64)
        asking = np.repeat(np.arange(len(some)), np.diff(starts))
        order = np.lexsort((found, distances, asking))
        kept = order[np.arange(len(order)) - starts[asking] < of_each]
        first.append(asking[kept] + start)
        second.append(found[kept].astype(np.int64))
    return np.concatenate(first), np.concatenate(second)
