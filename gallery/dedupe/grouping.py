"""Faces into people: near pairs, the head's margins, then agglomeration that resists chains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gallery.alike import SAME_PICTURE_COSINE, near_faces
from gallery.dedupe.agglomeration import SIZE_BONUS, joined
from gallery.dedupe.precision import DEFAULT_PRECISION, GroupingMarks, shipped_marks
from gallery.judge import Judge, own_adjustment
from gallery.operating_point import OperatingPoint
from gallery.types import Bool, Encodings, Float64, Int64
from indexer import Edges

_NEIGHBOURS = 32
_LARGEST_COMPONENT = 3_000  # its margins and their sums take some 150 MB
_SPREAD = 64
_PAIRS_AT_ONCE = 500_000
_GROUPS_AT_ONCE = 1_000
_LEAST_GROUPS = 10
_NEVER, _ALWAYS = -1e6, 1e6
_ORDINARY = 0.5
"""Two faces of one photo count as a pair of strangers of the middling kind does."""


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
class Constraints:
    """What is known besides the faces.

    photos : int64 (n,), of each row, or None. Two faces of one photo are two people, unless they
        are one picture (a mirror, a collage); it is weighed, and many pairs can outweigh it.
    apart, together : pairs of rows that the user decided on; these are final.
    """

    photos: Int64 | None = None
    apart: frozenset[tuple[int, int]] = field(default_factory=frozenset)
    together: frozenset[tuple[int, int]] = field(default_factory=frozenset)


@dataclass(frozen=True)
class Grouping:
    """What was found, and the operating point it was found at."""

    groups: tuple[Group, ...]
    edges: Edges
    point: OperatingPoint


def same_person_groups(
    encodings: Encodings,
    judge: Judge,
    *,
    precision: float = DEFAULT_PRECISION,
    constraints: Constraints | None = None,
    marks: GroupingMarks | None = None,
    progress: Callable[[int], None] = lambda _done: None,
) -> Grouping:
    """Groups of two or more faces, so that the wanted share of merged pairs is right.

    Done twice: first at the operating point for people of whom nothing is known, which is the more
    cautious for it; then at the one for people as alike as the groups found first.
    Raises SettingInvalid for a precision out of range.
    """
    marks = shipped_marks() if marks is None else marks
    constraints = Constraints() if constraints is None else constraints
    calibration = judge.head.marks.calibration
    point = marks.point(calibration, len(encodings), precision)
    edges = near_faces(encodings, judge, point.bias, _NEIGHBOURS, progress)
    labels = _labels(encodings, edges, judge, point, constraints)
    if len(np.unique(labels)) >= _LEAST_GROUPS:
        adjustment = own_adjustment(judge.head, labels, encodings)
        adjusted = marks.point(calibration, len(encodings), precision, adjustment)
        if adjusted.bias < point.bias:
            edges = near_faces(encodings, judge, adjusted.bias, _NEIGHBOURS)
        point = adjusted
        labels = _labels(encodings, edges, judge, point, constraints)
    found: list[Group] = []
    groups = _rows_of(labels)
    for start in range(0, len(groups), _GROUPS_AT_ONCE):
        batch = groups[start : start + _GROUPS_AT_ONCE]
        matrices = _complete_margins(
            [spread(rows) for rows in batch], encodings, judge, point, None
        )
        for rows, matrix in zip(batch, matrices, strict=True):
            found.append(_described(rows, matrix, marks, constraints))
    found.sort(key=lambda g: (-len(g.rows), -g.probability, g.rows))
    return Grouping(tuple(found), edges, point)


def _labels(
    encodings: Encodings,
    edges: Edges,
    judge: Judge,
    point: OperatingPoint,
    constraints: Constraints,
) -> Int64:
    """One label a row, int64 (n,)."""
    count = len(encodings)
    margins = judge.margins(encodings, edges.first, edges.second, point)
    first, second = edges.first, edges.second
    if constraints.together:
        more = np.array(sorted(constraints.together), dtype=np.int64)
        first, second = np.concatenate([first, more[:, 0]]), np.concatenate([second, more[:, 1]])
        margins = np.concatenate([margins, np.full(len(more), _ALWAYS)])
    bound = _Bound(constraints, encodings, judge, point)
    margins = bound.weighed(first, second, margins)
    labels = np.arange(count, dtype=np.int64)
    open_components: list[Int64] = []
    for rows, complete in _components(count, first, second, margins):
        if complete:  # every pair of it is over the point, so that every merge would be
            labels[rows] = rows[0]
        else:
            open_components.append(rows)
    for some in _batches(open_components):
        matrices = _complete_margins(some, encodings, judge, point, bound)
        for rows, matrix in zip(some, matrices, strict=True):
            labels[rows] = rows[joined(matrix, 0.0)]
    return _rejoined(labels, encodings, judge, point, bound)


class _Bound:
    """Margins with what is known besides the faces."""

    def __init__(
        self, constraints: Constraints, encodings: Encodings, judge: Judge, point: OperatingPoint
    ) -> None:
        self._photos = constraints.photos
        self._vectors = encodings.vectors
        curve = judge.head.marks.calibration.strangers
        self._ordinary = point.adjustment.here(curve.margin_at(_ORDINARY)) - point.bias
        self._count = len(encodings)
        self._apart = self._keys(constraints.apart)
        self._together = self._keys(constraints.together)

    def _keys(self, pairs: Iterable[tuple[int, int]]) -> Int64:
        return np.array(sorted(min(p) * self._count + max(p) for p in pairs), dtype=np.int64)

    def weighed(self, first: Int64, second: Int64, margins: Float64) -> Float64:
        """The margins of these pairs, float64 (p,)."""
        found = margins
        if self._photos is not None:
            same = np.flatnonzero(self._photos[first] == self._photos[second])
            a, b = self._vectors[first[same]], self._vectors[second[same]]
            two = same[np.einsum("ij,ij->i", a, b) < SAME_PICTURE_COSINE]
            found = found.copy()
            found[two] = np.minimum(found[two], self._ordinary)
        if len(self._apart) or len(self._together):
            keys = np.minimum(first, second) * self._count + np.maximum(first, second)
            found = np.where(np.isin(keys, self._together), _ALWAYS, found)
            found = np.where(np.isin(keys, self._apart), _NEVER, found)
        return found


def _components(
    count: int, first: Int64, second: Int64, margins: Float64
) -> list[tuple[Int64, bool]]:
    """Connected rows, and whether all their pairs are over the point.

    Where one component is too large to look at in full, it is taken apart at a higher margin.
    """
    found: list[tuple[Int64, bool]] = []
    kept, least = margins > 0, 0.0
    while kept.any():
        ones = np.ones(int(kept.sum()), dtype=np.int8)
        graph = coo_array((ones, (first[kept], second[kept])), shape=(count, count))
        _, labels = connected_components(graph, directed=False)
        sizes = np.bincount(labels, minlength=1)
        links = np.bincount(labels[first[kept]], minlength=len(sizes))
        order = np.argsort(labels, kind="stable")
        ends = np.cumsum(sizes)
        for label in np.flatnonzero((sizes > 1) & (sizes <= _LARGEST_COMPONENT)):
            rows = order[ends[label] - sizes[label] : ends[label]]
            found.append((rows, bool(links[label] == sizes[label] * (sizes[label] - 1) // 2)))
        too_large = sizes > _LARGEST_COMPONENT
        least += 1.0
        kept &= too_large[labels[first]] & (margins > least)
    return found


def _batches(components: Sequence[Int64]) -> Iterable[list[Int64]]:
    """Components with at most so many pairs together, or one alone."""
    some: list[Int64] = []
    pairs = 0
    for rows in components:
        more = len(rows) * (len(rows) - 1) // 2
        if some and pairs + more > _PAIRS_AT_ONCE:
            yield some
            some, pairs = [], 0
        some.append(rows)
        pairs += more
    if some:
        yield some


def _complete_margins(
    components: Sequence[Int64],
    encodings: Encodings,
    judge: Judge,
    point: OperatingPoint,
    bound: _Bound | None,
) -> list[Float64]:
    """The margins of all pairs of each component, float64 (size, size)."""
    above = [np.triu_indices(len(rows), k=1) for rows in components]
    first = np.concatenate([rows[i] for rows, (i, _) in zip(components, above, strict=True)])
    second = np.concatenate([rows[j] for rows, (_, j) in zip(components, above, strict=True)])
    margins = judge.margins(encodings, first, second, point)
    if bound is not None:
        margins = bound.weighed(first, second, margins)
    found: list[Float64] = []
    start = 0
    for rows, (i, j) in zip(components, above, strict=True):
        matrix = np.zeros((len(rows), len(rows)))
        matrix[i, j] = matrix[j, i] = margins[start : start + len(i)]
        found.append(matrix)
        start += len(i)
    return found


def _rejoined(
    labels: Int64, encodings: Encodings, judge: Judge, point: OperatingPoint, bound: _Bound
) -> Int64:
    """Someone with more photos than a face has neighbours may stand in two groups: join them."""
    groups = _rows_of(labels)
    near = near_groups(encodings, groups, judge, point)
    for i, j in sorted(near, key=lambda pair: -near[pair]):
        # Either may have grown or gone since it was looked at: no chain of groups either.
        if not (len(groups[i]) and len(groups[j])):
            continue
        score = _score(groups[i], groups[j], encodings, judge, point, bound)
        if score > 0:
            groups[i], groups[j] = np.concatenate([groups[i], groups[j]]), groups[j][:0]
    for rows in groups:
        if len(rows):
            labels[rows] = rows.min()
    return labels


def _rows_of(labels: Int64) -> list[Int64]:
    """The rows of each label that has two or more."""
    order = np.argsort(labels, kind="stable")
    sizes = np.unique(labels, return_counts=True)[1]
    parts = np.split(order, np.cumsum(sizes)[:-1])
    return [rows for rows in parts if len(rows) > 1]


def near_groups(
    encodings: Encodings,
    groups: Sequence[Int64],
    judge: Judge,
    point: OperatingPoint,
    progress: Callable[[float], None] = lambda _share: None,
) -> dict[tuple[int, int], float]:
    """Pairs (i < j) of groups with their score, where it is over zero (see agglomeration.Merge).

    Found by the groups' mean encodings, so that it does not matter how many faces they have.
    progress : called with the share of the pairs that is done.
    """
    if len(groups) < 2:
        return {}
    means = np.stack([encodings.vectors[rows].mean(axis=0) for rows in groups])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    norms, agreement = (
        np.array([values[rows].mean() for rows in groups], dtype=np.float32)
        for values in (encodings.norms, encodings.agreement)
    )
    near = near_faces(Encodings(means, norms, agreement), judge, point.bias, _NEIGHBOURS)
    found: dict[tuple[int, int], float] = {}
    pairs = list(zip(near.first.tolist(), near.second.tolist(), strict=True))
    for start in range(0, len(pairs), _GROUPS_AT_ONCE):
        some = pairs[start : start + _GROUPS_AT_ONCE]
        for pair, score in zip(some, _scores(some, groups, encodings, judge, point), strict=True):
            if score > 0:
                found[pair] = float(score)
        progress((start + len(some)) / len(pairs))
    return found


def _scores(
    pairs: Sequence[tuple[int, int]],
    groups: Sequence[Int64],
    encodings: Encodings,
    judge: Judge,
    point: OperatingPoint,
) -> Float64:
    """As _score, of many pairs of groups at once, float64 (p,)."""
    between = [_between(groups[i], groups[j]) for i, j in pairs]
    first, second = (np.concatenate(side) for side in zip(*between, strict=True))
    sizes = np.array([len(a) for a, _ in between])
    margins = judge.margins(encodings, first, second, point)
    sums = np.bincount(np.repeat(np.arange(len(pairs)), sizes), margins, len(pairs))
    bonus = [SIZE_BONUS * np.log(len(groups[i]) * len(groups[j])) for i, j in pairs]
    found: Float64 = sums / sizes + np.array(bonus)
    return found


def _between(rows: Int64, others: Int64) -> tuple[Int64, Int64]:
    """All pairs of one row and one of the others; of large groups, of a spread of both."""
    rows, others = spread(rows), spread(others)
    return np.repeat(rows, len(others)), np.tile(others, len(rows))


def _score(
    rows: Int64,
    others: Int64,
    encodings: Encodings,
    judge: Judge,
    point: OperatingPoint,
    bound: _Bound | None = None,
) -> float:
    """Mean margin over all pairs between them, of large groups over a spread of both, and bonus."""
    bonus = SIZE_BONUS * np.log(len(rows) * len(others))
    first, second = _between(rows, others)
    margins = judge.margins(encodings, first, second, point)
    if bound is not None:
        margins = bound.weighed(first, second, margins)
    return float(margins.mean() + bonus)


def spread(rows: Int64) -> Int64:
    """At most 64 of the rows, evenly."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), _SPREAD)).astype(np.int64)]


def _described(
    rows: Int64, margins: Float64, marks: GroupingMarks, constraints: Constraints
) -> Group:
    """margins : of all pairs of a spread of the rows."""
    some = spread(rows)
    matrix = margins.copy()
    np.fill_diagonal(matrix, np.nan)
    means = np.nanmean(matrix, axis=1)
    loosest = int(means.argmin())
    nearest = int(np.nanargmax(matrix[loosest]))
    over = float(means[loosest] + SIZE_BONUS * np.log(len(rows) - 1))
    decided = _said(rows, constraints.together)
    why = f"{len(rows)} faces that match each other" if len(rows) > 2 else "two faces that match"
    if constraints.photos is not None and _twice(constraints.photos[rows]).any():
        why += "; two of them are in one photo, as in a mirror or a collage"
    return Group(
        rows=tuple(np.sort(rows).tolist()),
        probability=1.0 if decided else marks.probability(over),
        deciding=(int(some[loosest]), int(some[nearest])),
        why="as you said" if decided else why,
    )


def _said(rows: Int64, together: frozenset[tuple[int, int]]) -> bool:
    """Whether the user said of all of these that they are one person."""
    inside = {row for pair in together for row in pair}
    return bool(together) and set(rows.tolist()) <= inside


def _twice(values: Int64) -> Bool:
    found: Bool = np.unique(values, return_counts=True)[1] > 1
    return found
