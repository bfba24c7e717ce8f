"""Photos under the wrong name: unlike half of their namesakes, and like someone else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.special import expit, logit

from gallery.dedupe.clustering.merge import spread
from gallery.matching.operating_point import OperatingPoint
from gallery.matching.scorer import Scorer
from gallery.matching.templates import fused
from gallery.types import Bool, Encodings, Float32, Float64, Int64

_WRONG_AT_FIRST = 0.02
"""Of a hundred photos two are under a wrong name: what is believed before a face is looked at."""
_SHORTLIST = 10
_EVEN = 0.5
_LEAST_FOR_NOBODY = 3
"""Of two photos that do not match, nobody knows which one is wrong."""
_STEPS = 3
_PRODUCTS_AT_ONCE = 20_000_000


@dataclass(frozen=True)
class WrongName:
    """One face under the wrong owner.

    row : the face.  owner : whom it is under.  suggested : whose it is, or None.  nearest : the row
    that says so.  own : the margin to its namesakes.
    """

    row: int
    owner: int
    suggested: int | None
    probability: float
    nearest: int


def wrong_names(
    owners: Int64, encodings: Encodings, judge: Scorer, point: OperatingPoint
) -> list[WrongName]:
    """The most certain first.

    owners : int64 (n,).  point : the operating point for so many identities.
    Of a face two things are asked: how it matches the better half of its namesakes (so that other
    wrong ones among them do not count), and whether it matches another identity at the point of a
    query. The odds that it is wrong are those of the second over those of the first, times what is
    believed beforehand. Once the surest are out, those left are looked at again without them.
    """
    found: dict[int, WrongName] = {}
    for _ in range(_STEPS):
        left = np.array([i for i in range(len(owners)) if i not in found], dtype=np.int64)
        fresh = _once(owners[left], encodings.take(left), judge, point)
        fresh = _one_of_two(fresh, owners[left])
        if not fresh:
            break
        for one in fresh:
            row = int(left[one.row])
            found[row] = WrongName(
                row, one.owner, one.suggested, one.probability, int(left[one.nearest])
            )
    return sorted(found.values(), key=lambda w: (-w.probability, w.row))


def said(elsewhere: bool, name: str) -> str:
    """Why a photo seems to be under a wrong name."""
    if elsewhere:
        return f"it does not look like most of {name}'s photos, and matches another's"
    return f"it does not look like most of {name}'s photos, nor like anyone else's"


def _once(
    owners: Int64, encodings: Encodings, judge: Scorer, point: OperatingPoint
) -> list[WrongName]:
    own, mates = _own_margins(owners, encodings, judge)
    # As a comparison of two photos would be judged, were it as likely as not that it is one person.
    alone = judge.point_of(1)
    asked = np.flatnonzero(np.isfinite(own))
    if not len(asked):
        return []
    at_home = np.clip(alone.probabilities(own[asked].astype(np.float32)), 1e-9, 1 - 1e-9)
    doubtful = at_home < 1.0 - _WRONG_AT_FIRST  # the others can not reach even odds
    asked, at_home = asked[doubtful], at_home[doubtful]
    others, elsewhere, matches = _best_elsewhere(asked, owners, encodings, judge, point)
    before = logit(_WRONG_AT_FIRST)
    sizes = dict(zip(*np.unique(owners, return_counts=True), strict=True))
    found = []
    for k, row in enumerate(asked.tolist()):
        for_nobody = float(expit(before - logit(at_home[k])))
        if matches[k]:
            surely = np.clip(elsewhere[k], 1e-9, 1 - 1e-9)
            wrong = float(expit(before + max(0.0, logit(surely)) - logit(at_home[k])))
            suggested, nearest = int(others[k]), _most_like(row, owners == others[k], encodings)
        elif sizes[owners[row]] >= _LEAST_FOR_NOBODY:
            wrong, suggested, nearest = for_nobody, None, int(mates[row])
        else:
            continue
        if wrong > _EVEN:
            found.append(WrongName(row, int(owners[row]), suggested, wrong, nearest))
    return found


def _own_margins(owners: Int64, encodings: Encodings, judge: Scorer) -> tuple[Float64, Int64]:
    """Of each face the mean margin to the better half of its namesakes, NaN for who has none; and
    the namesake it is most like.
    """
    own, mates = np.full(len(owners), np.nan), np.arange(len(owners))
    raw = judge.point_of(1)
    first, second = [], []
    order = np.argsort(owners, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(owners[order])) + 1):
        some = spread(rows)
        a, b = np.repeat(rows, len(some)), np.tile(some, len(rows))
        first.append(a[a != b])
        second.append(b[a != b])
    a, b = np.concatenate(first), np.concatenate(second)
    if not len(a):
        return own, mates
    margins = judge.margins(encodings, a, b, raw) + raw.bias
    for start, stop in _runs(a):
        falling = -np.sort(-margins[start:stop])
        own[a[start]] = falling[: (len(falling) + 1) // 2].mean()
        mates[a[start]] = b[start + int(margins[start:stop].argmax())]
    return own, mates


def _runs(values: Int64) -> list[tuple[int, int]]:
    cuts = np.flatnonzero(np.diff(values)) + 1
    edges = np.r_[0, cuts, len(values)].tolist()
    return list(pairwise(edges))


def _best_elsewhere(
    rows: Int64, owners: Int64, encodings: Encodings, judge: Scorer, point: OperatingPoint
) -> tuple[Int64, Float64, Bool]:
    """Of each row the likeliest other owner, the probability of that, and whether it matches."""
    templates = fused(owners, encodings)
    count = len(templates.identity_ids)
    none = np.zeros(len(rows), dtype=np.bool_)
    if count < 2 or not len(rows):
        return np.full(len(rows), -1), np.zeros(len(rows)), none
    keep = min(_SHORTLIST + 1, count)
    near = np.concatenate(
        [
            np.argpartition(-cosines, keep - 1, axis=1)[:, :keep]
            for cosines in _cosines(encodings.vectors[rows], templates.encodings.vectors)
        ]
    )
    sides, enrolled = judge.head.sides(encodings.take(rows)), judge.head.sides(templates.encodings)
    margins = judge.head.margins(np.repeat(sides, keep, axis=0), enrolled[near.ravel()])
    margins = margins.reshape(near.shape)
    margins[templates.identity_ids[near] == owners[rows][:, None]] = -np.inf
    best = margins.argmax(axis=1)
    at = np.arange(len(rows)), best
    found = np.maximum(margins[at], -1e3).astype(np.float32)
    others: Int64 = templates.identity_ids[near[at]]
    return others, point.probabilities(found), point.same(found)


def _cosines(rows: Float32, others: Float32) -> Iterator[Float32]:
    """In blocks of rows, so that memory stays bounded."""
    block = max(1, _PRODUCTS_AT_ONCE // max(1, len(others)))
    for start in range(0, len(rows), block):
        yield rows[start : start + block] @ others.T


def _one_of_two(found: list[WrongName], owners: Int64) -> list[WrongName]:
    """Once a face is out, its namesakes are looked at without it: the surest of each owner."""
    sizes = dict(zip(*np.unique(owners, return_counts=True), strict=True))
    best: dict[int, WrongName] = {}
    kept = []
    for one in sorted(found, key=lambda w: (w.suggested is None, -w.probability)):
        if sizes[one.owner] > 4 and one.suggested is not None:
            kept.append(one)
        elif one.owner not in best:
            best[one.owner] = one
            kept.append(one)
    return kept


def _most_like(row: int, among: Bool, encodings: Encodings) -> int:
    rows = np.flatnonzero(among)
    return int(rows[int((encodings.vectors[rows] @ encodings.vectors[row]).argmax())])
