"""All near pairs among many rows, by cells: rows meet only those of the cells nearest to them.

A k-nearest-neighbour search answers row by row; whoever wants every pair over a similarity can have
them a cell at a time, as one product of matrices, which is several times faster. Either row of a
pair may find the other, so that fewer cells need to be probed than for a row's own neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import faiss
import numpy as np

from indexer.graph import Edges
from indexer.protocol import Float32, Int64, checked_vectors

_EXACT_UP_TO = 30_000
_ROWS_A_CELL = 256
_MOST_CELLS = 4_096
_SAMPLE_A_CELL = 24
_PROBES = 8
_BLOCK = 4_096
_MOST_LOOSE = 20_000_000
_Pairs = tuple[Int64, Int64, Float32]


def near_pairs(
    vectors: Float32,
    least: float,
    most: int,
    *,
    exact_up_to: int = _EXACT_UP_TO,
    probes: int = _PROBES,
    progress: Callable[[int], None] = lambda _: None,
) -> Edges:
    """Pairs of rows, float32 (n, dimension), with an inner product of at least `least`.

    most : a row keeps so many of its nearest; a pair stays when either of its rows keeps it.
    Up to `exact_up_to` rows every pair is looked at; beyond, rows that share one of the `probes`
    cells nearest to either (for rows of unit length about 0.99 of the pairs, see tests/bench).
    Deterministic. progress : called with the number of rows done. Raises InvalidVectors.
    """
    rows = checked_vectors(vectors, vectors.shape[1])
    blocks = _every(rows) if len(rows) <= exact_up_to else _celled(rows, probes)
    kept: _Pairs = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    loose: list[_Pairs] = []
    waiting = 0
    for done, (mine, theirs) in blocks:
        products = rows[mine] @ rows[theirs].T
        found = _over(products, least, most)
        a, b = mine[found // len(theirs)], theirs[found % len(theirs)]
        real = a != b
        a, b, near = a[real], b[real], products.ravel()[found[real]]
        loose.append((np.minimum(a, b), np.maximum(a, b), near))
        waiting += len(a)
        if waiting > _MOST_LOOSE:
            kept, loose, waiting = _once([kept, *loose], len(rows), most), [], 0
        progress(done)
    return Edges(*_once([kept, *loose], len(rows), most))


def nearest_of(vectors: Float32, rows: Int64, most: int) -> Edges:
    """Of each of some rows, int64 (r,), the `most` others nearest to it, exactly.

    Takes r times n products. Raises InvalidVectors.
    """
    everyone = checked_vectors(vectors, vectors.shape[1])
    most = min(most, len(everyone) - 1)
    near, ids = faiss.knn(everyone[rows], everyone, most + 1, faiss.METRIC_INNER_PRODUCT)
    first = np.repeat(rows, most + 1)
    second, similarities = ids.ravel(), near.ravel()
    real = first != second
    first, second, similarities = first[real], second[real], similarities[real]
    first, second = np.minimum(first, second), np.maximum(first, second)
    _, once = np.unique(first * len(everyone) + second, return_index=True)
    return Edges(first[once], second[once], similarities[once])


def _over(products: Float32, least: float, most: int) -> Int64:
    """Places in the flat products of at least `least`; of a row with more than `most`, the best."""
    found = np.flatnonzero(products.ravel() >= least)
    counts = np.bincount(found // products.shape[1], minlength=len(products))
    full = np.flatnonzero(counts > most + 1)  # a row may be among its own
    if not len(full):
        return found
    best = np.argpartition(-products[full], most, axis=1)[:, : most + 1]
    others = found[~np.isin(found // products.shape[1], full)]
    return np.concatenate([others, (full[:, None] * products.shape[1] + best).ravel()])


def _once(parts: list[_Pairs], count: int, most: int) -> _Pairs:
    """Each pair once, and of each row its nearest."""
    first, second, near = (np.concatenate(column) for column in zip(*parts, strict=True))
    numbers = first * count + second
    order = numbers.argsort()  # as np.unique, with the quicker sort
    numbers = numbers[order]
    once = order[np.r_[True, numbers[1:] != numbers[:-1]][: len(order)]]
    first, second, near = first[once], second[once], near[once]
    degree = np.bincount(first, minlength=count) + np.bincount(second, minlength=count)
    crowded = (degree[first] > most) & (degree[second] > most)
    if crowded.any():
        ends = np.concatenate([first, second])
        pairs = np.tile(np.arange(len(first)), 2)
        order = np.lexsort((-near[pairs], ends))
        starts = np.cumsum(np.r_[0, np.bincount(ends, minlength=count)])[:-1]
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order)) - starts[ends[order]]
        stays = np.zeros(len(first), dtype=np.bool_)
        stays[pairs[rank < most]] = True
        first, second, near = first[stays], second[stays], near[stays]
    return first, second, near


def _every(rows: Float32) -> Iterator[tuple[int, tuple[Int64, Int64]]]:
    everyone = np.arange(len(rows), dtype=np.int64)
    block = max(64, min(_BLOCK, 30_000_000 // max(1, len(rows))))
    for start in range(0, len(rows), block):
        some = everyone[start : start + block]
        yield start + len(some), (some, everyone)


def _celled(rows: Float32, probes: int) -> Iterator[tuple[int, tuple[Int64, Int64]]]:
    """For each cell: the rows that probe it, and the rows it holds."""
    count, dimension = rows.shape
    cells = min(_MOST_CELLS, count // _ROWS_A_CELL)
    drawn = np.random.default_rng(0).choice(
        count, min(count, cells * _SAMPLE_A_CELL), replace=False
    )
    means = faiss.Kmeans(
        dimension, cells, niter=6, seed=1, spherical=True, min_points_per_centroid=1
    )
    means.train(rows[np.sort(drawn)])
    centres = means.centroids
    assert centres is not None
    nearest = np.concatenate(
        [
            faiss.knn(rows[s : s + 65_536], centres, probes, faiss.METRIC_INNER_PRODUCT)[1]
            for s in range(0, count, 65_536)
        ]
    ).astype(np.int32)  # (n, probes)
    probing = np.argsort(nearest.ravel(), kind="stable")
    probing_ends = np.cumsum(np.bincount(nearest.ravel(), minlength=cells))
    holding = np.argsort(nearest[:, 0], kind="stable")
    holding_ends = np.cumsum(np.bincount(nearest[:, 0], minlength=cells))
    for cell in range(cells):
        held = holding[holding_ends[cell - 1] if cell else 0 : holding_ends[cell]]
        asking = probing[probing_ends[cell - 1] if cell else 0 : probing_ends[cell]] // probes
        # A crowded cell (many photos of one person) is taken in parts, so that memory is bounded.
        for start in range(0, len(asking), _BLOCK):
            for other in range(0, len(held), _BLOCK):
                some = asking[start : start + _BLOCK], held[other : other + _BLOCK]
                yield int(holding_ends[cell]), some
