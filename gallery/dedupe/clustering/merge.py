"""Groups that are one person: by their means found, by all their pairs judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gallery.dedupe.clustering.constraints import Bound
from gallery.dedupe.clustering.linkage import SIZE_BONUS
from gallery.matching.lookalikes import near_faces
from gallery.matching.operating_point import OperatingPoint
from gallery.matching.scorer import Scorer
from gallery.types import Encodings, Float64, Int64

_NEIGHBOURS = 32
_SPREAD = 64
_GROUPS_AT_ONCE = 1_000


def rejoined(
    labels: Int64, encodings: Encodings, judge: Scorer, point: OperatingPoint, bound: Bound
) -> Int64:
    """Someone with more photos than a face has neighbours may stand in two groups: join them."""
    groups = rows_of(labels)
    near = near_groups(encodings, groups, judge, point)
    apart = _told_apart(groups, bound, len(labels))
    for i, j in sorted(near, key=lambda pair: -near[pair]):
        # Either may have grown or gone since it was looked at: no chain of groups either.
        if not (len(groups[i]) and len(groups[j])) or j in apart.get(i, ()):
            continue
        if _scores([(i, j)], groups, encodings, judge, point, bound)[0] > 0:
            groups[i], groups[j] = np.concatenate([groups[i], groups[j]]), groups[j][:0]
            for other in apart.pop(j, set()):
                apart.setdefault(i, set()).add(other)
                apart[other] = apart[other] - {j} | {i}
    for rows in groups:
        if len(rows):
            labels[rows] = rows.min()
    return labels


def _told_apart(groups: Sequence[Int64], bound: Bound, count: int) -> dict[int, set[int]]:
    """Of each group those that the user told apart from it: a spread of both may not show that."""
    found: dict[int, set[int]] = {}
    if not bound.apart:
        return found
    group = np.full(count, -1)
    for i, rows in enumerate(groups):
        group[rows] = i
    for a, b in bound.apart:
        i, j = int(group[a]), int(group[b])
        if i >= 0 and j >= 0 and i != j:
            found.setdefault(i, set()).add(j)
            found.setdefault(j, set()).add(i)
    return found


def rows_of(labels: Int64) -> list[Int64]:
    """The rows of each label that has two or more."""
    order = np.argsort(labels, kind="stable")
    sizes = np.unique(labels, return_counts=True)[1]
    parts = np.split(order, np.cumsum(sizes)[:-1])
    return [rows for rows in parts if len(rows) > 1]


def near_groups(
    encodings: Encodings,
    groups: Sequence[Int64],
    judge: Scorer,
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
    means_of = Encodings(means, norms, agreement)
    near = near_faces(means_of, judge, point, _NEIGHBOURS)
    # A mean strays less than the faces do: who is not alike by it is not alike face by face.
    margins = judge.margins(means_of, near.first, near.second, point)
    sizes = np.log([len(rows) for rows in groups])
    alike = margins + SIZE_BONUS * (sizes[near.first] + sizes[near.second]) > 0
    found: dict[tuple[int, int], float] = {}
    pairs = list(zip(near.first[alike].tolist(), near.second[alike].tolist(), strict=True))
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
    judge: Scorer,
    point: OperatingPoint,
    bound: Bound | None = None,
) -> Float64:
    """Of pairs of groups the mean margin over all pairs between them, of large groups over a spread
    of both, and the bonus; float64 (p,).
    """
    between = [_between(groups[i], groups[j]) for i, j in pairs]
    first, second = (np.concatenate(side) for side in zip(*between, strict=True))
    sizes = np.array([len(a) for a, _ in between])
    margins = judge.margins(encodings, first, second, point)
    if bound is not None:
        margins = bound.weighed(first, second, margins)
    sums = np.bincount(np.repeat(np.arange(len(pairs)), sizes), margins, len(pairs))
    bonus = [SIZE_BONUS * np.log(len(groups[i]) * len(groups[j])) for i, j in pairs]
    found: Float64 = sums / sizes + np.array(bonus)
    return found


def _between(rows: Int64, others: Int64) -> tuple[Int64, Int64]:
    """All pairs of one row and one of the others; of large groups, of a spread of both."""
    rows, others = spread(rows), spread(others)
    return np.repeat(rows, len(others)), np.tile(others, len(rows))


def spread(rows: Int64) -> Int64:
    """At most 64 of the rows, evenly."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), _SPREAD)).astype(np.int64)]
