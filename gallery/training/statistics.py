"""Thresholds read off scores, and the interval of a share.

A higher score says "same", and so does a score at the threshold itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gallery.types import Bool, Float64, Int64

_CONFIDENCE = (2.5, 97.5)


@dataclass(frozen=True)
class Threshold:
    """score >= value says "same". accuracy : of that rule, on the scores it was picked on."""

    value: float
    accuracy: float


def most_accurate_threshold(scores: Float64, same: Int64) -> Threshold:
    """The threshold with the most right answers, weighing both kinds of pair alike.

    scores, same : (n,). Of equal thresholds the highest is taken.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], same[order] == 1
    accuracy = (
        np.cumsum(hits) / max(1, hits.sum()) + 1 - np.cumsum(~hits) / max(1, (~hits).sum())
    ) / 2
    last_of_equals = np.append(ranked[1:] != ranked[:-1], True)
    best = int(np.argmax(np.where(last_of_equals, accuracy, -1.0)))
    return Threshold(float(ranked[best]), float(accuracy[best]))


def balanced_accuracy(says_same: Bool, same: Int64) -> float:
    """The mean of the shares of right answers on pairs of one person and of two."""
    positive = same == 1
    return float((says_same[positive].mean() + (~says_same[~positive]).mean()) / 2)


def interval(people: Int64, hits: Bool, *, seed: int, draws: int = 1_000) -> tuple[float, float]:
    """95 % bootstrap interval of a share of queries, resampling people: bool (q,) -> low, high.

    Where no query, or every one, is a hit, what so many people cannot rule out.
    """
    places = np.unique(people, return_inverse=True)[1]
    hit, all_of = np.bincount(places, hits), np.bincount(places)
    unseen = 1.0 - 0.05 ** (1.0 / len(all_of))
    if not hits.any():
        return 0.0, unseen
    if hits.all():
        return 1.0 - unseen, 1.0
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(all_of), (draws, len(all_of)))
    low, high = np.percentile(hit[picks].sum(axis=1) / all_of[picks].sum(axis=1), _CONFIDENCE)
    return float(low), float(high)
