"""The head's margins of near pairs, and of all pairs within groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gallery.dedupe.clustering.constraints import Bound
from gallery.matching.operating_point import OperatingPoint
from gallery.matching.scorer import Scorer
from gallery.types import Encodings, Float32, Float64, Int64
from indexer import Edges

_PAIRS_AT_ONCE = 500_000
_LARGE, _SAMPLE, _SPREAD = 200, 400, 1e-3
_STRANGERS = 0.95
"""This share of random pairs, the least alike, is left to a line at most: nearer pairs may be one
person's, whose margins are above it. No figure of `gallery evaluate dedupe` changed by it."""


@dataclass(frozen=True)
class NearPairs:
    """Pairs of rows and their margins at a point: int64, int64 and float64 (p,).

    least : the lowest cosine of them: hardly a pair below it matches.
    """

    first: Int64
    second: Int64
    margins: Float64
    least: float

    @classmethod
    def of(
        cls, edges: Edges, encodings: Encodings, judge: Scorer, point: OperatingPoint
    ) -> NearPairs:
        """Those of a graph."""
        margins = judge.margins(encodings, edges.first, edges.second, point)
        least = float(edges.similarities.min(initial=1.0))
        return cls(edges.first, edges.second, margins, least)

    def inside(self, groups: Sequence[Int64], count: int) -> list[NearPairs]:
        """Of each group its pairs, by the places of their rows in it. Groups share no row.

        count : of all rows.
        """
        sizes = np.array([len(rows) for rows in groups])
        members = np.concatenate(groups)
        group, place = np.full(count, -1), np.zeros(count, dtype=np.int64)
        group[members] = np.repeat(np.arange(len(groups)), sizes)
        place[members] = np.arange(len(members)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        owners = group[self.first]
        own = np.flatnonzero((owners >= 0) & (owners == group[self.second]))
        own = own[np.argsort(owners[own], kind="stable")]
        ends = np.searchsorted(owners[own], np.arange(len(groups) + 1))
        first, second, margins = place[self.first[own]], place[self.second[own]], self.margins[own]
        return [
            NearPairs(first[start:stop], second[start:stop], margins[start:stop], self.least)
            for start, stop in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
        ]


def complete(
    groups: Sequence[Int64],
    near: NearPairs,
    encodings: Encodings,
    judge: Scorer,
    point: OperatingPoint,
) -> Iterator[tuple[Int64, Float64]]:
    """Each group with the margins of all its pairs, float64 (size, size), zeros on the diagonal.

    near : pairs of which the margin is known, so that only the others are asked of the head. Of a
        large group most pairs are strangers, who only count in a mean: a line through some of the
        least alike says their margins.
    """
    far = None
    if any(len(rows) > _LARGE for rows in groups):
        far = _Far.of(encodings, judge, point, near.least)
    known = near.inside(groups, len(encodings)) if groups else []
    for some in _batches(groups):
        matrices, missing, first, second = [], [], [], []
        for rows, pairs in zip(groups[some], known[some], strict=True):
            matrix = np.full((len(rows), len(rows)), np.nan)
            matrix[pairs.first, pairs.second] = matrix[pairs.second, pairs.first] = pairs.margins
            np.fill_diagonal(matrix, 0.0)
            if far is not None and len(rows) > _LARGE:
                far.fill(matrix, encodings.vectors[rows])
            above, beside = np.nonzero(np.isnan(matrix))
            matrices.append(matrix)
            once = above < beside
            missing.append((above[once], beside[once]))
            first.append(rows[above[once]])
            second.append(rows[beside[once]])
        asked = judge.margins(encodings, np.concatenate(first), np.concatenate(second), point)
        start = 0
        for rows, matrix, (i, j) in zip(groups[some], matrices, missing, strict=True):
            matrix[i, j] = matrix[j, i] = asked[start : start + len(i)]
            start += len(i)
            yield rows, matrix


@dataclass(frozen=True)
class _Far:
    """The margins of pairs with a cosine under `least`: offset + slope * cosine."""

    least: float
    slope: float
    offset: float

    @classmethod
    def of(cls, encodings: Encodings, judge: Scorer, point: OperatingPoint, least: float) -> _Far:
        """By pairs of a sample."""
        rows = np.sort(np.random.default_rng(0).permutation(len(encodings))[:_SAMPLE])
        i, j = np.triu_indices(len(rows), k=1)
        first, second = rows[i], rows[j]
        cosines = (encodings.vectors[rows] @ encodings.vectors[rows].T)[i, j]
        least = min(least, float(np.quantile(cosines, _STRANGERS)))
        under = cosines < least
        if under.sum() < _SAMPLE or np.ptp(cosines[under]) < _SPREAD:
            return cls(-2.0, 0.0, 0.0)  # all are alike: every pair is asked of the head
        margins = judge.margins(encodings, first[under], second[under], point)
        slope, offset = np.polyfit(cosines[under], margins, 1)
        return cls(least, float(slope), float(offset))

    def fill(self, matrix: Float64, vectors: Float32) -> None:
        """What is not known and far in a matrix of the margins of these rows."""
        cosines = vectors @ vectors.T
        unknown = np.isnan(matrix) & (cosines < self.least)
        matrix[unknown] = self.offset + self.slope * cosines[unknown]


def weighed(rows: Int64, matrix: Float64, bound: Bound) -> Float64:
    """A group's margins, (size, size), with what is known besides the faces."""
    i, j = np.triu_indices(len(rows), k=1)
    found = np.zeros_like(matrix)
    found[i, j] = found[j, i] = bound.weighed(rows[i], rows[j], matrix[i, j])
    return found


def _batches(groups: Sequence[Int64]) -> Iterator[slice]:
    """Runs of groups that have at most so many pairs together, or of one alone."""
    start = pairs = 0
    for k, rows in enumerate(groups):
        more = len(rows) * (len(rows) - 1) // 2
        if k > start and pairs + more > _PAIRS_AT_ONCE:
            yield slice(start, k)
            start, pairs = k, 0
        pairs += more
    if start < len(groups):
        yield slice(start, len(groups))
