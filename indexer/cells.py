"""All pairs of similar rows, by cells: a row is compared only with those of its nearest cells.

A k-nearest-neighbour search answers row by row. When all pairs above a similarity are wanted, a
cell at a time, as one matrix product, is several times faster. It is enough if either row of a pair
finds the other, so fewer cells need to be probed than for each row's own neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import faiss
import numpy as np
import numpy.typing as npt

from indexer.graph import Edges
from indexer.protocol import Float32, Int64, checked_vectors

_EXACT_UP_TO = 30_000
_ROWS_PER_CELL = 256
_MAX_CELLS = 4_096
_SAMPLES_PER_CELL = 24
_PROBES = 8
_BLOCK = 4_096
_MAX_UNMERGED = 20_000_000
Int32 = npt.NDArray[np.int32]
_Pairs = tuple[Int64, Int64, Float32]  # first, second, similarities


def near_pairs(
    vectors: Float32,
    min_similarity: float,
    max_neighbours: int,
    *,
    exact_up_to: int = _EXACT_UP_TO,
    probes: int = _PROBES,
    progress: Callable[[int], None] = lambda _: None,
) -> Edges:
    """Return the pairs of rows with an inner product of at least `min_similarity`.

    vectors : float32 (n, dimension).
    max_neighbours : how many nearest pairs a row keeps; a pair stays if either row keeps it.
    exact_up_to : up to this many rows, every pair is compared. Above, only rows that share one of
        the `probes` cells nearest to either: about 0.99 of the pairs of unit rows (see
        tests/bench).
    progress : called with the number of rows done.
    Deterministic. Raises InvalidVectors.
    """
    rows = checked_vectors(vectors, vectors.shape[1])
    blocks = _all_blocks(rows) if len(rows) <= exact_up_to else _cell_blocks(rows, probes)
    merged: _Pairs = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    unmerged: list[_Pairs] = []
    unmerged_count = 0
    for done, (left, right) in blocks:
        products = rows[left] @ rows[right].T
        places = _places_above(products, min_similarity, max_neighbours)
        a, b = left[places // len(right)], right[places % len(right)]
        is_pair = a != b
        a, b, similarities = a[is_pair], b[is_pair], products.ravel()[places[is_pair]]
        unmerged.append((np.minimum(a, b), np.maximum(a, b), similarities))
        unmerged_count += len(a)
        if unmerged_count > _MAX_UNMERGED:
            merged = _merge([merged, *unmerged], len(rows), max_neighbours)
            unmerged, unmerged_count = [], 0
        progress(done)
    return Edges(*_merge([merged, *unmerged], len(rows), max_neighbours))


def nearest_of(vectors: Float32, rows: Int64, k: int) -> Edges:
    """Return the k nearest other rows of each of these rows, exactly.

    vectors : float32 (n, dimension).  rows : int64 (r,).
    Computes r * n products. Raises InvalidVectors.
    """
    stored = checked_vectors(vectors, vectors.shape[1])
    count = min(k, len(stored) - 1) + 1  # a row is its own nearest
    products, ids = faiss.knn(stored[rows], stored, count, faiss.METRIC_INNER_PRODUCT)
    a, b, similarities = np.repeat(rows, count), ids.ravel(), products.ravel()
    is_pair = a != b
    a, b, similarities = a[is_pair], b[is_pair], similarities[is_pair]
    first, second = np.minimum(a, b), np.maximum(a, b)
    _, unique = np.unique(first * len(stored) + second, return_index=True)
    return Edges(first[unique], second[unique], similarities[unique])


def _places_above(products: Float32, min_similarity: float, max_neighbours: int) -> Int64:
    """Return places in the flat products of at least `min_similarity`.

    Of a row with more than `max_neighbours`, only the best.
    """
    places = np.flatnonzero(products.ravel() >= min_similarity)
    place_rows = places // products.shape[1]
    counts = np.bincount(place_rows, minlength=len(products))
    full = np.flatnonzero(counts > max_neighbours + 1)  # a row may be among its own neighbours
    if not len(full):
        return places
    best = np.argpartition(-products[full], max_neighbours, axis=1)[:, : max_neighbours + 1]
    others = places[~np.isin(place_rows, full)]
    return np.concatenate([others, (full[:, None] * products.shape[1] + best).ravel()])


def _merge(parts: list[_Pairs], count: int, max_neighbours: int) -> _Pairs:
    """Return each pair once, and only the nearest of each row. count : of rows."""
    first, second, similarities = (np.concatenate(column) for column in zip(*parts, strict=True))
    keys = first * count + second
    order = keys.argsort()  # as np.unique, but with the faster sort
    keys = keys[order]
    unique = order[np.r_[True, keys[1:] != keys[:-1]][: len(order)]]
    first, second, similarities = first[unique], second[unique], similarities[unique]
    degrees = np.bincount(first, minlength=count) + np.bincount(second, minlength=count)
    is_crowded = (degrees[first] > max_neighbours) & (degrees[second] > max_neighbours)
    if is_crowded.any():
        ends = np.concatenate([first, second])
        pairs = np.tile(np.arange(len(first)), 2)
        order = np.lexsort((-similarities[pairs], ends))
        starts = np.cumsum(np.r_[0, np.bincount(ends, minlength=count)])[:-1]
        ranks = np.empty(len(order), dtype=np.int64)
        ranks[order] = np.arange(len(order)) - starts[ends[order]]
        stays = np.zeros(len(first), dtype=np.bool_)
        stays[pairs[ranks < max_neighbours]] = True
        first, second, similarities = first[stays], second[stays], similarities[stays]
    return first, second, similarities


def _all_blocks(rows: Float32) -> Iterator[tuple[int, tuple[Int64, Int64]]]:
    """Yield (rows done, (a block of rows, all rows))."""
    all_rows = np.arange(len(rows), dtype=np.int64)
    block = max(64, min(_BLOCK, 30_000_000 // max(1, len(rows))))
    for start in range(0, len(rows), block):
        left = all_rows[start : start + block]
        yield start + len(left), (left, all_rows)


def _cell_blocks(rows: Float32, probes: int) -> Iterator[tuple[int, tuple[Int64, Int64]]]:
    """Yield (rows done, (rows that probe a cell, rows in the cell))."""
    count, dimension = rows.shape
    cells = min(_MAX_CELLS, count // _ROWS_PER_CELL)
    sample = np.random.default_rng(0).choice(
        count, min(count, cells * _SAMPLES_PER_CELL), replace=False
    )
    kmeans = faiss.Kmeans(
        dimension, cells, niter=6, seed=1, spherical=True, min_points_per_centroid=1
    )
    kmeans.train(rows[np.sort(sample)])
    centres = kmeans.centroids
    assert centres is not None
    nearest = np.concatenate(
        [
            faiss.knn(rows[s : s + 65_536], centres, probes, faiss.METRIC_INNER_PRODUCT)[1]
            for s in range(0, count, 65_536)
        ]
    ).astype(np.int32)  # (n, probes)
    probing, probing_ends = _by_cell(nearest.ravel(), cells)
    members, member_ends = _by_cell(nearest[:, 0], cells)
    for cell in range(cells):
        right = members[member_ends[cell - 1] if cell else 0 : member_ends[cell]]
        left = probing[probing_ends[cell - 1] if cell else 0 : probing_ends[cell]] // probes
        # A crowded cell (many photos of one person) is split, to bound the memory.
        for i in range(0, len(left), _BLOCK):
            for j in range(0, len(right), _BLOCK):
                yield int(member_ends[cell]), (left[i : i + _BLOCK], right[j : j + _BLOCK])


def _by_cell(cell_of: Int32, cells: int) -> tuple[Int64, Int64]:
    """Return places ordered by their cell, and the end of each cell in this order."""
    order = np.argsort(cell_of, kind="stable")
    return order, np.cumsum(np.bincount(cell_of, minlength=cells))
