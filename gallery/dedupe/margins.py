"""The head's margins of near pairs, and of all pairs within groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gallery.dedupe.constraints import Bound
from gallery.judge import Judge
from gallery.operating_point import OperatingPoint
from gallery.types import Encodings, Float64, Int64
from indexer import Edges

_PAIRS_AT_ONCE = 500_000


@dataclass(frozen=True)
class NearPairs:
    """Pairs of rows and their margins at a point: int64, int64 and float64 (p,)."""

    first: Int64
    second: Int64
    margins: Float64

    @classmethod
    def of(
        cls, edges: Edges, encodings: Encodings, judge: Judge, point: OperatingPoint
    ) -> NearPairs:
        """Those of a graph."""
        margins = judge.margins(encodings, edges.first, edges.second, point)
        return cls(edges.first, edges.second, margins)

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
            NearPairs(first[start:stop], second[start:stop], margins[start:stop])
            for start, stop in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
        ]


def complete(
    groups: Sequence[Int64],
    near: NearPairs,
    encodings: Encodings,
    judge: Judge,
    point: OperatingPoint,
) -> Iterator[tuple[Int64, Float64]]:
    """Each group with the margins of all its pairs, float64 (size, size), zeros on the diagonal.

    near : pairs of which the margin is known, so that only the others are asked of the head.
    """
    known = near.inside(groups, len(encodings)) if groups else []
    for some in _batches(groups):
        matrices, missing, first, second = [], [], [], []
        for rows, pairs in zip(groups[some], known[some], strict=True):
            matrix = np.full((len(rows), len(rows)), np.nan)
            matrix[pairs.first, pairs.second] = matrix[pairs.second, pairs.first] = pairs.margins
            np.fill_diagonal(matrix, 0.0)
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
