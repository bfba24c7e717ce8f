"""Short codes of rows, a quarter of a byte for each number, to find candidates quickly.

FAISS compares a query with all codes some ten times as fast as with half-precision rows. The rows
that are nearest by their codes, the shortlist, are then compared by themselves. How long it has to
be is measured: of a sample of the stored rows, nearly all must find their nearest other row, or one
as near.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np

from indexer.protocol import Float32, Int64

LEAST_RECALL = 0.999
_SAMPLED = 1_000
_AS_NEAR = 1e-3
"""What half precision may change of a similarity."""
_SHORTLISTS = (256, 512, 1_024, 2_048, 4_096)
FEWEST_CODED = 16
"""Rows that codes can be trained on: each of their numbers is one of 16."""
_TRAINING_ROWS = 65_536
_BLOCK = 65_536

Rows = Callable[[Int64], Float32]
"""Returns the rows at these positions, float32 (n, dimension)."""


@dataclass(frozen=True)
class Shortlist:
    """length : of the shortlist, in rows.

    rows : how many there were when it was measured.  sampled : how many were searched for.
    recall : the share of these that found their nearest other row.
    """

    length: int
    rows: int
    sampled: int
    recall: float


def build_codes(rows: Rows, count: int, dimension: int) -> Any:
    """Return FAISS's index of the codes of `count` rows, by position. Deterministic."""
    codes = faiss.IndexPQFastScan(dimension, -(-dimension // 2), 4, faiss.METRIC_INNER_PRODUCT)
    codes.pq.cp.min_points_per_centroid = 1  # else it warns
    random = np.random.default_rng(0)
    picked = np.sort(random.choice(count, min(count, _TRAINING_ROWS), replace=False))
    codes.train(_distinct(rows(picked)))
    for start in range(0, count, _BLOCK):
        codes.add(rows(np.arange(start, min(start + _BLOCK, count))))
    return codes


def _distinct(rows: Float32) -> Float32:
    """The rows without copies, at least `FEWEST_CODED`: on many copies k-means takes minutes."""
    firsts = np.sort(np.unique(rows, axis=0, return_index=True)[1])
    return np.resize(rows[firsts], (max(len(firsts), FEWEST_CODED), rows.shape[1]))


def remove_codes(codes: Any, positions: Int64, rows: Rows) -> None:
    """Remove codes, and write those of the last, incomplete block anew.

    FAISS leaves erased codes in the room behind the last one, where later ones would mix with them.
    rows : without those that are removed.
    """
    codes.remove_ids(positions)
    count, block = int(codes.ntotal), int(codes.bbs)
    codes.ntotal = count - count % block
    if count > codes.ntotal:
        content = faiss.rev_swig_ptr(codes.codes.data(), codes.codes.size())
        content[codes.ntotal * codes.M2 // 2 :] = 0  # half a byte for each of M2 numbers
        codes.add(rows(np.arange(codes.ntotal, count)))


def shortlist_for(
    search: Callable[[Float32, int], Float32],
    exact: Callable[[Float32], Float32],
    rows: Rows,
    count: int,
) -> Shortlist | None:
    """Return the shortest list with which the recall is enough; None if none is.

    search : returns the two highest similarities of each query, with a shortlist of this length.
    exact : the same without one; float32 (n, 2).
    """
    sample = np.sort(np.random.default_rng(1).choice(count, min(count, _SAMPLED), replace=False))
    queries = rows(sample)
    nearest = exact(queries)[:, 1]  # each is its own nearest, or another is as near
    for length in _SHORTLISTS:
        recall = float((search(queries, length)[:, 1] >= nearest - _AS_NEAR).mean())
        if recall >= LEAST_RECALL:
            return Shortlist(length, count, len(sample), recall)
    return None
