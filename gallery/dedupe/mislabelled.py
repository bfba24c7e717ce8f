"""Faces under the wrong name: unlike half of the name's other faces, and like someone else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.special import expit, logit

from gallery.dedupe.clustering.merge import rows_of_each, sample
from gallery.matching.operating_point import OperatingPoint
from gallery.matching.scorer import Scorer
from gallery.matching.templates import fuse_templates
from gallery.types import Bool, Encodings, Float32, Float64, Int64

_PRIOR = 0.02
"""The share of photos under a wrong name, before a face is compared."""
_SHORTLIST = 10
_EVEN = 0.5
_LEAST_FOR_NOBODY = 3
"""Of two photos that do not match, nothing tells which one is wrong."""
_MOST_ONE_AT_A_TIME = 4
"""Of an identity with at most this many faces, one at a time is called wrong."""
_ROUNDS = 3
_PRODUCTS_AT_ONCE = 20_000_000
_LEAST_PROBABILITY = 1e-9


@dataclass(frozen=True)
class WrongName:
    """A face, by row, under the wrong owner.

    owner : the identity it is under.  suggested : the identity it seems to be, or None.
    nearest : the most similar face of the suggested identity, or else of the owner, by row.
    """

    row: int
    owner: int
    suggested: int | None
    probability: float
    nearest: int


def wrong_names(
    owners: Int64, encodings: Encodings, scorer: Scorer, point: OperatingPoint
) -> list[WrongName]:
    """Faces under the wrong owner, the most certain first.

    owners : int64 (n,).  point : the operating point for this many identities.
    Two probabilities decide: that the face matches the better half of its owner's other faces (so
    that other wrong ones among them do not count), and that it matches another identity as a query
    would. The odds of a wrong name are the odds of the second over those of the first, times the
    prior odds. The faces that remain are compared again without those found.
    """
    found: dict[int, WrongName] = {}
    for _ in range(_ROUNDS):
        remaining = np.array([i for i in range(len(owners)) if i not in found], dtype=np.int64)
        candidates = _round(owners[remaining], encodings.take(remaining), scorer, point)
        accepted = _one_each_of_small(candidates, owners[remaining])
        if not accepted:
            break
        for finding in accepted:
            row, nearest = int(remaining[finding.row]), int(remaining[finding.nearest])
            found[row] = WrongName(
                row, finding.owner, finding.suggested, finding.probability, nearest
            )
    return sorted(found.values(), key=lambda finding: (-finding.probability, finding.row))


def mislabelled_reason(matches_another: bool, name: str) -> str:
    """Why a photo seems to be under a wrong name, in words."""
    if matches_another:
        return f"it does not look like most of {name}'s photos, and matches another's"
    return f"it does not look like most of {name}'s photos, nor like anyone else's"


def _round(
    owners: Int64, encodings: Encodings, scorer: Scorer, point: OperatingPoint
) -> list[WrongName]:
    own_margins, own_nearest = _own_margins(owners, encodings, scorer)
    rows = np.flatnonzero(np.isfinite(own_margins))
    if not len(rows):
        return []
    # As a comparison of two photos, where one person and two people are equally likely.
    verification = scorer.operating_point_for(1)
    at_home = _clipped(verification.probabilities(own_margins[rows].astype(np.float32)))
    doubtful = at_home < 1.0 - _PRIOR  # the others cannot reach even odds
    rows, at_home = rows[doubtful], at_home[doubtful]
    others, elsewhere, matches = _best_elsewhere(rows, owners, encodings, scorer, point)
    prior_odds = logit(_PRIOR)
    sizes = dict(zip(*np.unique(owners, return_counts=True), strict=True))
    findings = []
    for k, row in enumerate(rows.tolist()):
        suggested: int | None = None
        if matches[k]:
            other_odds = max(0.0, logit(_clipped(elsewhere[k])))
            wrong = float(expit(prior_odds + other_odds - logit(at_home[k])))
            suggested = int(others[k])
            nearest = _most_similar(row, owners == others[k], encodings)
        elif sizes[owners[row]] >= _LEAST_FOR_NOBODY:
            wrong = float(expit(prior_odds - logit(at_home[k])))
            nearest = int(own_nearest[row])
        else:
            continue
        if wrong > _EVEN:
            findings.append(WrongName(row, int(owners[row]), suggested, wrong, nearest))
    return findings


def _clipped(probabilities: Float64) -> Float64:
    """Within the range where the log-odds are finite."""
    return np.clip(probabilities, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)


def _own_margins(owners: Int64, encodings: Encodings, scorer: Scorer) -> tuple[Float64, Int64]:
    """Each face's mean margin to the better half of its owner's other faces, NaN if there are
    none; and the most similar of them.
    """
    own_margins, nearest = np.full(len(owners), np.nan), np.arange(len(owners))
    point = scorer.operating_point_for(1)
    first, second = [], []
    for rows in rows_of_each(owners):
        others = sample(rows)
        a, b = np.repeat(rows, len(others)), np.tile(others, len(rows))
        first.append(a[a != b])
        second.append(b[a != b])
    a, b = np.concatenate(first), np.concatenate(second)
    if not len(a):
        return own_margins, nearest
    margins = scorer.margins(encodings, a, b, point) + point.bias
    for start, stop in _runs(a):
        falling = -np.sort(-margins[start:stop])
        own_margins[a[start]] = falling[: (len(falling) + 1) // 2].mean()
        nearest[a[start]] = b[start + int(margins[start:stop].argmax())]
    return own_margins, nearest


def _runs(values: Int64) -> list[tuple[int, int]]:
    """(start, stop) of each run of equal values."""
    cuts = np.flatnonzero(np.diff(values)) + 1
    return list(pairwise(np.r_[0, cuts, len(values)].tolist()))


def _best_elsewhere(
    rows: Int64, owners: Int64, encodings: Encodings, scorer: Scorer, point: OperatingPoint
) -> tuple[Int64, Float64, Bool]:
    """For each row the likeliest other owner, the probability of that, and whether it matches."""
    templates = fuse_templates(owners, encodings)
    count = len(templates.identity_ids)
    if count < 2 or not len(rows):
        return np.full(len(rows), -1), np.zeros(len(rows)), np.zeros(len(rows), dtype=np.bool_)
    shortlist_size = min(_SHORTLIST + 1, count)
    shortlists = np.concatenate(
        [
            np.argpartition(-cosines, shortlist_size - 1, axis=1)[:, :shortlist_size]
            for cosines in _cosine_blocks(encodings.vectors[rows], templates.encodings.vectors)
        ]
    )  # (rows, shortlist_size)
    queries = scorer.head.sides(encodings.take(rows))
    enrolled = scorer.head.sides(templates.encodings)
    margins = scorer.head.margins(
        np.repeat(queries, shortlist_size, axis=0), enrolled[shortlists.ravel()]
    )
    margins = margins.reshape(shortlists.shape)
    margins[templates.identity_ids[shortlists] == owners[rows][:, None]] = -np.inf
    best = np.arange(len(rows)), margins.argmax(axis=1)
    best_margins = np.maximum(margins[best], -1e3).astype(np.float32)
    others: Int64 = templates.identity_ids[shortlists[best]]
    return others, point.probabilities(best_margins), point.is_same(best_margins)


def _cosine_blocks(rows: Float32, others: Float32) -> Iterator[Float32]:
    """The cosines in blocks of rows, so that memory stays bounded."""
    block = max(1, _PRODUCTS_AT_ONCE // max(1, len(others)))
    for start in range(0, len(rows), block):
        yield rows[start : start + block] @ others.T


def _one_each_of_small(findings: list[WrongName], owners: Int64) -> list[WrongName]:
    """The findings, but of a small owner, or without a suggestion, only the most certain: its
    other faces are compared again without that one.
    """
    sizes = dict(zip(*np.unique(owners, return_counts=True), strict=True))
    limited: set[int] = set()
    accepted = []
    for finding in sorted(findings, key=lambda f: (f.suggested is None, -f.probability)):
        if sizes[finding.owner] > _MOST_ONE_AT_A_TIME and finding.suggested is not None:
            accepted.append(finding)
        elif finding.owner not in limited:
            limited.add(finding.owner)
            accepted.append(finding)
    return accepted


def _most_similar(row: int, among: Bool, encodings: Encodings) -> int:
    rows = np.flatnonzero(among)
    return int(rows[int((encodings.vectors[rows] @ encodings.vectors[row]).argmax())])
