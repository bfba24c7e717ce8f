"""The most accurate threshold of scores, and the confidence interval of a share.

A higher score means "same"; so does a score equal to the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gallery.types import Bool, Float64, Int64

_CONFIDENCE = (2.5, 97.5)


@dataclass(frozen=True)
class Threshold:
    """score >= value means "same". accuracy : balanced, on the scores it was chosen on."""

    value: float
    accuracy: float


def most_accurate_threshold(scores: Float64, same: Int64) -> Threshold:
    """The threshold with the highest balanced accuracy; of equally good ones the highest.

    scores, same : (n,).
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], same[order] == 1
    accuracy = (
        np.cumsum(hits) / max(1, hits.sum()) + 1 - np.cumsum(~hits) / max(1, (~hits).sum())
    ) / 2
    is_last_of_equals = np.append(ranked[1:] != ranked[:-1], True)
    best = int(np.argmax(np.where(is_last_of_equals, accuracy, -1.0)))
    return Threshold(float(ranked[best]), float(accuracy[best]))


def balanced_accuracy(says_same: Bool, same: Int64) -> float:
    """The mean of the accuracies on pairs of the same person and of two people."""
    positive = same == 1
    return float((says_same[positive].mean() + (~says_same[~positive]).mean()) / 2)


def interval(people: Int64, hits: Bool, *, seed: int, draws: int = 1_000) -> tuple[float, float]:
    """95 % bootstrap interval over people of the share of queries that are hits: low, high.

    people : of each query, int64 (q,).  hits : bool (q,).
    If no query is a hit, or all are, the bound is the share that n people cannot rule out at 95 %.
    """
    numbers = np.unique(people, return_inverse=True)[1]
    hit_counts, query_counts = np.bincount(numbers, hits), np.bincount(numbers)
    count = len(query_counts)
    undetected = 1.0 - 0.05 ** (1.0 / count)
    if not hits.any():
        return 0.0, undetected
    if hits.all():
        return 1.0 - undetected, 1.0
    picks = np.random.default_rng(seed).integers(0, count, (draws, count))
    shares = hit_counts[picks].sum(axis=1) / query_counts[picks].sum(axis=1)
    low, high = np.percentile(shares, _CONFIDENCE)
    return float(low), float(high)
