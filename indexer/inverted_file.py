"""FAISS's inverted file: rows in cells around centres, of which a search looks into the nearest.

How many cells a search looks into is measured: enough that of a sample of the stored rows, nearly
all find their nearest other row, or one as near.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np

from indexer.protocol import Float32, Int64

LEAST_RECALL = 0.999
_SAMPLED = 1_000
_AS_NEAR = 1e-3
"""What half precision may change of a similarity."""
_CELLS_PER_ROOT = 2.0
_FEWEST_PROBES = 1 / 16
"""Of the cells. With fewer, the nearest row is found, but not those that are hardly nearer than
others."""
_TRAINING_ROWS = 40
"""For each cell."""
_ITERATIONS = 8


@dataclass(frozen=True)
class Grouping:
    """How the rows of an inverted file were grouped.

    rows : how many there were.  cells, probes : how many there are, and how many a search looks
    into.  recall : the share of the sample that found the nearest other row.  sampled : its size.
    """

    rows: int
    cells: int
    probes: int
    recall: float
    sampled: int


def group(
    blocks: Iterable[tuple[Int64, Float32]], count: int, dimension: int
) -> tuple[Any, Grouping]:
    """Build an inverted file of half-precision rows.

    blocks : ids, int64 (n,), and rows, float32 (n, dimension), `count` in all; iterated twice, so
        not an iterator.
    Returns FAISS's index, and how it was made. Deterministic but for rounding.
    """
    cells = max(1, min(int(_CELLS_PER_ROOT * count**0.5), count // 4))
    random = np.random.default_rng(0)
    training = np.sort(random.choice(count, min(count, cells * _TRAINING_ROWS), replace=False))
    sample = np.sort(random.choice(count, min(count, _SAMPLED), replace=False))
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(dimension),
        dimension,
        cells,
        faiss.ScalarQuantizer.QT_fp16,
        faiss.METRIC_INNER_PRODUCT,
        False,  # rows are stored as they are, not as differences to their centre
    )
    index.cp.niter, index.cp.seed, index.cp.spherical = _ITERATIONS, 1, True
    index.cp.min_points_per_centroid = 1
    _, rows = _picked(blocks, training, dimension)
    index.train(rows if count else np.zeros((1, dimension), dtype=np.float32))
    for ids, rows in blocks:
        index.add_with_ids(np.ascontiguousarray(rows), np.ascontiguousarray(ids))
    recall = _probe_enough(index, *_picked(blocks, sample, dimension))
    return index, Grouping(count, cells, index.nprobe, recall, len(sample))


def _picked(
    blocks: Iterable[tuple[Int64, Float32]], places: Int64, dimension: int
) -> tuple[Int64, Float32]:
    """The ids and rows at these places, ascending, among those of all blocks."""
    ids, rows = [np.empty(0, np.int64)], [np.empty((0, dimension), np.float32)]
    start = 0
    for block_ids, block_rows in blocks:
        here = places[(places >= start) & (places < start + len(block_ids))] - start
        start += len(block_ids)
        ids.append(block_ids[here])
        rows.append(block_rows[here])
    return np.concatenate(ids), np.concatenate(rows)


def _probe_enough(index: Any, own: Int64, queries: Float32) -> float:
    """Set how many cells are looked into, doubled until the recall is enough; return the recall."""
    index.nprobe = index.nlist
    nearest = _nearest_others(index, own, queries)
    probes, recall = max(1, int(index.nlist * _FEWEST_PROBES)), 1.0
    while True:
        index.nprobe = min(probes, index.nlist)
        found = _nearest_others(index, own, queries)
        if len(own):
            recall = float((found >= nearest - _AS_NEAR).mean())
        if recall >= LEAST_RECALL or probes >= index.nlist:
            return recall
        probes *= 2


def _nearest_others(index: Any, own: Int64, queries: Float32) -> Float32:
    """The similarity of the nearest row of each query but its own, float32 (n,)."""
    similarities, ids = index.search(queries, 2)
    first_is_own = ids[:, 0] == own
    others: Float32 = np.where(first_is_own, similarities[:, 1], similarities[:, 0])
    return others
