"""Faces into people: the head's verdicts, then average linkage, which resists chains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from gallery.alike import face_graph
from gallery.judge import Judge
from gallery.operating_point import OperatingPoint
from gallery.types import Encodings, Float64, Int64
from indexer import Edges

_LARGEST_COMPONENT = 6_000  # its pairwise margins and their linkage take some 500 MB
_SPREAD = 64


@dataclass(frozen=True)
class Group:
    """Rows of one person, two or more. probability : that its loosest member belongs to it."""

    rows: tuple[int, ...]
    probability: float


def same_person_groups(encodings: Encodings, edges: Edges, judge: Judge) -> list[Group]:
    """Groups of two or more faces whose mean margin over all their pairs says "same".

    The operating point is that of a gallery of all these faces.
    """
    point = judge.point_of(len(encodings))
    margins = judge.margins(encodings, edges.first, edges.second, point)
    groups: list[Int64] = []
    for rows in _components(len(encodings), edges, margins):
        groups += _linked(rows, encodings, judge, point)
    # Someone with more photos than a face has neighbours here may stand in two groups.
    for i, j in sorted(near_groups(encodings, groups, judge, point), reverse=True):
        # Either may have grown or gone since it was looked at: no chain of groups either.
        both = len(groups[i]) and len(groups[j])
        if both and mean_margin(groups[i], groups[j], encodings, judge, point) > 0:
            groups[i], groups[j] = np.concatenate([groups[i], groups[j]]), groups[j][:0]
    found = [
        Group(tuple(np.sort(rows).tolist()), _sureness(rows, encodings, judge, point))
        for rows in groups
        if len(rows)
    ]
    return sorted(found, key=lambda g: (-len(g.rows), -g.probability, g.rows))


def near_groups(
    encodings: Encodings,
    groups: Sequence[Int64],
    judge: Judge,
    point: OperatingPoint,
    progress: Callable[[float], None] = lambda _share: None,
) -> dict[tuple[int, int], float]:
    """Pairs (i < j) of groups near one another with the mean margin of all their pairs over zero.

    Found by the groups' mean encodings, so that it does not matter how many faces they have.
    progress : called with the share of the pairs that is done.
    """
    if len(groups) < 2:
        return {}
    means = np.stack([encodings.vectors[rows].mean(axis=0) for rows in groups])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    ones = np.ones(len(means), dtype=np.float32)
    near = face_graph(Encodings(means, ones, ones))
    found: dict[tuple[int, int], float] = {}
    pairs = list(zip(near.first.tolist(), near.second.tolist(), strict=True))
    for done, (i, j) in enumerate(pairs, start=1):
        mean = mean_margin(groups[i], groups[j], encodings, judge, point)
        if mean > 0:
            found[i, j] = mean
        progress(done / len(pairs))
    return found


def mean_margin(
    rows: Int64, others: Int64, encodings: Encodings, judge: Judge, point: OperatingPoint
) -> float:
    """Over all pairs of one row and one of the others; of large groups, over a spread of both."""
    rows, others = (
        some[np.linspace(0, len(some) - 1, min(len(some), _SPREAD)).astype(np.int64)]
        for some in (rows, others)
    )
    first, second = np.repeat(rows, len(others)), np.tile(others, len(rows))
    return float(judge.margins(encodings, first, second, point).mean())


def _components(count: int, edges: Edges, margins: Float64) -> list[Int64]:
    """Connected rows; where one component is too large to look at in full, at a higher margin."""
    least = 0.0
    while True:
        kept = margins > least
        ones = np.ones(int(kept.sum()), dtype=np.int8)
        graph = coo_array((ones, (edges.first[kept], edges.second[kept])), shape=(count, count))
        _, labels = connected_components(graph, directed=False)
        sizes = np.bincount(labels, minlength=1)
        if sizes.max(initial=0) <= _LARGEST_COMPONENT:
            order = np.argsort(labels, kind="stable")
            ends = np.cumsum(sizes)[:-1]
            return [rows for rows in np.split(order, ends) if len(rows) > 1]
        least += 1.0


def _linked(rows: Int64, encodings: Encodings, judge: Judge, point: OperatingPoint) -> list[Int64]:
    """One component's groups of two or more rows."""
    first, second = np.triu_indices(len(rows), k=1)
    margins = judge.margins(encodings, rows[first], rows[second], point)
    # Linkage wants distances of zero or more; the cut at margin zero moves with them.
    highest = float(margins.max())
    merges = linkage(highest - margins, method="average")
    labels = fcluster(merges, t=np.nextafter(highest, -np.inf), criterion="distance")
    groups = [rows[labels == label] for label in np.unique(labels)]
    return [group for group in groups if len(group) > 1]


def _sureness(rows: Int64, encodings: Encodings, judge: Judge, point: OperatingPoint) -> float:
    """The probability at the mean margin of a group's loosest member to the others."""
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), _SPREAD)).astype(np.int64)]
    loosest = min(
        mean_margin(rows[i : i + 1], np.delete(rows, i), encodings, judge, point)
        for i in range(len(rows))
    )
    return float(expit(loosest))
