"""The head's margins of near pairs, and of all pairs within clusters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gallery.dedupe.clustering.constraints import ConstrainedMargins
from gallery.matching.operating_point import OperatingPoint
from gallery.matching.scorer import Scorer
from gallery.types import Encodings, Float32, Float64, Int64
from indexer import Edges

_PAIRS_AT_ONCE = 500_000
_LARGE_CLUSTER = 200
_LINE_SAMPLE, _LEAST_COSINE_RANGE = 400, 1e-3
_LINE_QUANTILE = 0.95
"""At most this share of random pairs, the least similar, is estimated by a line. Nearer pairs may
be of one person, with margins above the line. No figure of `gallery evaluate dedupe` changed by it.
"""


@dataclass(frozen=True)
class NearPairs:
    """Pairs of rows and their margins at an operating point: int64, int64 and float64 (p,).

    least : their lowest cosine; hardly a pair below it matches.
    """

    first: Int64
    second: Int64
    margins: Float64
    least: float

    @classmethod
    def of(
        cls, edges: Edges, encodings: Encodings, scorer: Scorer, point: OperatingPoint
    ) -> NearPairs:
        """The edges of a graph, with their margins."""
        margins = scorer.margins(encodings, edges.first, edges.second, point)
        least = float(edges.similarities.min(initial=1.0))
        return cls(edges.first, edges.second, margins, least)

    def within(self, clusters: Sequence[Int64], count: int) -> list[NearPairs]:
        """For each cluster the pairs within it, by position in the cluster. Clusters are disjoint.

        count : of all rows.
        """
        sizes = np.array([len(rows) for rows in clusters])
        members = np.concatenate(clusters)
        cluster_of, position = np.full(count, -1), np.zeros(count, dtype=np.int64)
        cluster_of[members] = np.repeat(np.arange(len(clusters)), sizes)
        position[members] = np.arange(len(members)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        owners = cluster_of[self.first]
        inside = np.flatnonzero((owners >= 0) & (owners == cluster_of[self.second]))
        inside = inside[np.argsort(owners[inside], kind="stable")]
        ends = np.searchsorted(owners[inside], np.arange(len(clusters) + 1))
        first, second = position[self.first[inside]], position[self.second[inside]]
        margins = self.margins[inside]
        return [
            NearPairs(first[start:stop], second[start:stop], margins[start:stop], self.least)
            for start, stop in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
        ]


def margin_matrices(
    clusters: Sequence[Int64],
    near_pairs: NearPairs,
    encodings: Encodings,
    scorer: Scorer,
    point: OperatingPoint,
) -> Iterator[tuple[Int64, Float64]]:
    """Each cluster with the margins of all its pairs, float64 (size, size), zeros on the diagonal.

    near_pairs : pairs with known margins; only the others are scored by the head. In a large
        cluster most pairs are strangers, which only count in a mean: their margins are estimated
        by a line fitted to some of the least similar pairs.
    """
    line = None
    if any(len(rows) > _LARGE_CLUSTER for rows in clusters):
        line = _StrangerLine.fit(encodings, scorer, point, near_pairs.least)
    known = near_pairs.within(clusters, len(encodings)) if clusters else []
    for batch in _batches(clusters):
        matrices, missing, first, second = [], [], [], []
        for rows, pairs in zip(clusters[batch], known[batch], strict=True):
            matrix = np.full((len(rows), len(rows)), np.nan)
            matrix[pairs.first, pairs.second] = matrix[pairs.second, pairs.first] = pairs.margins
            np.fill_diagonal(matrix, 0.0)
            if line is not None and len(rows) > _LARGE_CLUSTER:
                line.fill(matrix, encodings.vectors[rows])
            i, j = np.nonzero(np.isnan(matrix))
            upper = i < j
            matrices.append(matrix)
            missing.append((i[upper], j[upper]))
            first.append(rows[i[upper]])
            second.append(rows[j[upper]])
        scored = scorer.margins(encodings, np.concatenate(first), np.concatenate(second), point)
        start = 0
        for rows, matrix, (i, j) in zip(clusters[batch], matrices, missing, strict=True):
            matrix[i, j] = matrix[j, i] = scored[start : start + len(i)]
            start += len(i)
            yield rows, matrix


@dataclass(frozen=True)
class _StrangerLine:
    """The margins of pairs with a cosine below `least`: offset + slope * cosine."""

    least: float
    slope: float
    offset: float

    @classmethod
    def fit(
        cls, encodings: Encodings, scorer: Scorer, point: OperatingPoint, least: float
    ) -> _StrangerLine:
        """Least squares over the pairs of a sample of rows."""
        rows = np.sort(np.random.default_rng(0).permutation(len(encodings))[:_LINE_SAMPLE])
        i, j = np.triu_indices(len(rows), k=1)
        first, second = rows[i], rows[j]
        cosines = (encodings.vectors[rows] @ encodings.vectors[rows].T)[i, j]
        least = min(least, float(np.quantile(cosines, _LINE_QUANTILE)))
        below = cosines < least
        if below.sum() < _LINE_SAMPLE or np.ptp(cosines[below]) < _LEAST_COSINE_RANGE:
            return cls(-2.0, 0.0, 0.0)  # all are alike: the head scores every pair
        margins = scorer.margins(encodings, first[below], second[below], point)
        slope, offset = np.polyfit(cosines[below], margins, 1)
        return cls(least, float(slope), float(offset))

    def fill(self, matrix: Float64, vectors: Float32) -> None:
        """Fill the unknown margins (NaN) of pairs below `least`. vectors : of the matrix's rows."""
        cosines = vectors @ vectors.T
        unknown = np.isnan(matrix) & (cosines < self.least)
        matrix[unknown] = self.offset + self.slope * cosines[unknown]


def constrained_matrix(rows: Int64, matrix: Float64, constrained: ConstrainedMargins) -> Float64:
    """A cluster's margins, (size, size), with the constraints applied; zeros on the diagonal."""
    i, j = np.triu_indices(len(rows), k=1)
    result = np.zeros_like(matrix)
    result[i, j] = result[j, i] = constrained.apply(rows[i], rows[j], matrix[i, j])
    return result


def _batches(clusters: Sequence[Int64]) -> Iterator[slice]:
    """Runs of clusters with a bounded number of pairs together, or of a single larger one."""
    start = pairs = 0
    for k, rows in enumerate(clusters):
        own_pairs = len(rows) * (len(rows) - 1) // 2
        if k > start and pairs + own_pairs > _PAIRS_AT_ONCE:
            yield slice(start, k)
            start, pairs = k, 0
        pairs += own_pairs
    if start < len(clusters):
        yield slice(start, len(clusters))
