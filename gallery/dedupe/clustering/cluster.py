"""Faces into people: near pairs, the head's margins, then agglomeration that resists chains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import DisjointSet
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gallery.dedupe.clustering.constraints import ALWAYS, Bound, Constraints
from gallery.dedupe.clustering.linkage import SIZE_BONUS, joined
from gallery.dedupe.clustering.margins import NearPairs, complete, weighed
from gallery.dedupe.clustering.merge import rejoined, rows_of, spread
from gallery.dedupe.clustering.operating_point import (
    DEFAULT_PRECISION,
    GroupingMarks,
    shipped_marks,
)
from gallery.matching.lookalikes import near_faces
from gallery.matching.operating_point import Adjustment, OperatingPoint
from gallery.matching.scorer import Scorer, own_adjustment
from gallery.types import Bool, Encodings, Float64, Int64
from indexer import Edges

_NEIGHBOURS = 32
_LOOKED_AT_FIRST = 20_000
_LARGEST_COMPONENT = 3_000  # its margins and their sums take some 150 MB
_LEAST_GROUPS = 10


@dataclass(frozen=True)
class Group:
    """Rows of one person, two or more.

    probability : that all of them are.  deciding : the loosest member, and the one it is most
    like.  why : in words.
    """

    rows: tuple[int, ...]
    probability: float
    deciding: tuple[int, int]
    why: str


@dataclass(frozen=True)
class Grouping:
    """What was found, and the operating point it was found at."""

    groups: tuple[Group, ...]
    edges: Edges
    point: OperatingPoint


_Name = tuple[int, int]


def _name(rows: Int64) -> _Name:
    """Of a group: no two have the same first row, and one that grew has another number of them."""
    return int(rows.min()), len(rows)


@dataclass(frozen=True)
class _Tie:
    """The row of a group that is least like the others, the one it is most like, and its mean
    margin to them.
    """

    loosest: int
    nearest: int
    mean: float

    @classmethod
    def of(cls, rows: Int64, margins: Float64) -> _Tie:
        """margins : of all pairs of the rows, (size, size)."""
        means = (margins.sum(axis=1) - margins.diagonal()) / (len(rows) - 1)
        loosest = int(means.argmin())
        others = margins[loosest].copy()
        others[loosest] = -np.inf
        return cls(int(rows[loosest]), int(rows[others.argmax()]), float(means[loosest]))


def same_person_groups(
    encodings: Encodings,
    judge: Scorer,
    *,
    precision: float = DEFAULT_PRECISION,
    constraints: Constraints | None = None,
    marks: GroupingMarks | None = None,
    progress: Callable[[int], None] = lambda _done: None,
) -> Grouping:
    """Groups of two or more faces, so that the wanted share of merged pairs is right.

    Done twice: first at the operating point for people of whom nothing is known, which is the more
    cautious for it; then at the one for people as alike as the groups found first. Of many faces
    the first time looks at a sample, which is enough to say how alike the people are.
    Raises SettingInvalid for a precision out of range.
    """
    marks = shipped_marks() if marks is None else marks
    constraints = Constraints() if constraints is None else constraints
    count = len(encodings)
    some = np.sort(np.random.default_rng(0).permutation(count)[:_LOOKED_AT_FIRST])
    adjustment = _adjustment(encodings.take(some), judge, precision, constraints.of(some), marks)
    point = marks.point(judge.head.marks.calibration, count, precision, adjustment)
    edges = near_faces(encodings, judge, point, _NEIGHBOURS, progress)
    near = NearPairs.of(edges, encodings, judge, point)
    labels, ties = _labels(encodings, near, judge, point, constraints)
    groups = rows_of(labels)
    unseen = [rows for rows in groups if _name(rows) not in ties]
    looked = complete([spread(rows) for rows in unseen], near, encodings, judge, point)
    for rows, (some, matrix) in zip(unseen, looked, strict=True):
        ties[_name(rows)] = _Tie.of(some, matrix)
    found = [_described(rows, ties[_name(rows)], marks, constraints) for rows in groups]
    found.sort(key=lambda g: (-len(g.rows), -g.probability, g.rows))
    return Grouping(tuple(found), edges, point)


def _adjustment(
    encodings: Encodings,
    judge: Scorer,
    precision: float,
    constraints: Constraints,
    marks: GroupingMarks,
) -> Adjustment | None:
    """What these faces' people say of how alike strangers are here; None of too few."""
    point = marks.point(judge.head.marks.calibration, len(encodings), precision)
    edges = near_faces(encodings, judge, point, _NEIGHBOURS)
    near = NearPairs.of(edges, encodings, judge, point)
    labels, _ = _labels(encodings, near, judge, point, constraints)
    if len(np.unique(labels)) < _LEAST_GROUPS:
        return None
    return own_adjustment(judge.head, labels, encodings)


def _labels(
    encodings: Encodings,
    near: NearPairs,
    judge: Scorer,
    point: OperatingPoint,
    constraints: Constraints,
) -> tuple[Int64, dict[_Name, _Tie]]:
    """One label a row, int64 (n,); and of most groups what holds them, since it was looked at."""
    bound = Bound(constraints, encodings, judge, point)
    first, second = near.first, near.second
    margins = bound.weighed(first, second, near.margins)
    if told_pairs := constraints.together - constraints.apart:
        told = np.array(sorted(told_pairs), dtype=np.int64)
        other = margins < ALWAYS  # those that are told may be near as well: each pair once
        first = np.concatenate([first[other], told.min(axis=1)])
        second = np.concatenate([second[other], told.max(axis=1)])
        margins = np.concatenate([margins[other], np.full(len(told), ALWAYS)])
    labels = np.arange(len(encodings), dtype=np.int64)
    unsure: list[Int64] = []
    for rows, whole in _components(len(encodings), first, second, margins):
        if whole:  # every pair of it is over the point, so that every merge would be
            labels[rows] = rows[0]
        else:
            unsure.append(rows)
    ties: dict[_Name, _Tie] = {}
    for rows, matrix in complete(unsure, near, encodings, judge, point):
        inside = joined(weighed(rows, matrix, bound), 0.0)
        labels[rows] = rows[inside]
        for places in rows_of(inside):
            some = spread(places)
            ties[_name(rows[places])] = _Tie.of(rows[some], matrix[np.ix_(some, some)])
    return rejoined(labels, encodings, judge, point, bound), ties


def _components(
    count: int, first: Int64, second: Int64, margins: Float64
) -> list[tuple[Int64, bool]]:
    """Connected rows, and whether all their pairs are over the point.

    Where one component is too large to look at in full, it is taken apart at its weakest links.
    """
    kept = margins > 0
    first, second, margins = first[kept], second[kept], margins[kept]
    graph = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(count, count))
    labels = connected_components(graph, directed=False)[1]
    sizes = np.bincount(labels, minlength=1)
    links = np.bincount(labels[first], minlength=len(sizes))
    order = np.argsort(labels, kind="stable")
    ends = np.cumsum(sizes)
    found: list[tuple[Int64, bool]] = []
    for label in np.flatnonzero(sizes > 1):
        rows = order[ends[label] - sizes[label] : ends[label]]
        if len(rows) <= _LARGEST_COMPONENT:
            found.append((rows, bool(links[label] == len(rows) * (len(rows) - 1) // 2)))
        else:
            inside = labels[first] == label
            blocks = _blocks(rows, first[inside], second[inside], margins[inside])
            found += [(block, False) for block in blocks]
    return found


def _blocks(rows: Int64, first: Int64, second: Int64, margins: Float64) -> list[Int64]:
    """A component in parts of at most so many rows: the strongest links first, as long as what they
    join is not too large. Parts of one person find each other as groups.

    rows : ascending.
    """
    order = np.argsort(-margins, kind="stable")
    ends = (np.searchsorted(rows, side[order]).tolist() for side in (first, second))
    joined = DisjointSet(range(len(rows)))
    for a, b in zip(*ends, strict=True):
        if joined.subset_size(a) + joined.subset_size(b) <= _LARGEST_COMPONENT:
            joined.merge(a, b)
    labels = np.array([joined[i] for i in range(len(rows))])
    return [rows[places] for places in rows_of(labels)]


def _described(rows: Int64, tie: _Tie, marks: GroupingMarks, constraints: Constraints) -> Group:
    over = tie.mean + SIZE_BONUS * float(np.log(len(rows) - 1))
    decided = _said(rows, constraints)
    why = f"{len(rows)} faces that match each other" if len(rows) > 2 else "two faces that match"
    if constraints.photos is not None and _twice(constraints.photos[rows]).any():
        why += "; two of them are in one photo, as in a mirror or a collage"
    return Group(
        rows=tuple(np.sort(rows).tolist()),
        probability=1.0 if decided else marks.probability(over),
        deciding=(tie.loosest, tie.nearest),
        why="as you said" if decided else why,
    )


def _said(rows: Int64, constraints: Constraints) -> bool:
    """Whether the user said of all of these that they are one person."""
    partners = constraints.partners
    left, waiting = set(rows.tolist()), [int(rows[0])]
    while waiting:
        row = waiting.pop()
        left.discard(row)
        waiting += left.intersection(partners.get(row, ()))
    return not left


def _twice(values: Int64) -> Bool:
    found: Bool = np.unique(values, return_counts=True)[1] > 1
    return found
