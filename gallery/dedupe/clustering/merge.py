"""Clusters that are one person: proposed by their mean encodings, decided by all their pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gallery.dedupe.clustering.constraints import ConstrainedMargins
from gallery.dedupe.clustering.linkage import SIZE_BONUS
from gallery.matching.lookalikes import candidate_pairs
from gallery.matching.operating_point import OperatingPoint
from gallery.matching.scorer import Scorer
from gallery.types import Encodings, Float64, Int64

_NEIGHBOURS = 32
_SAMPLE = 64
_PAIRS_AT_ONCE = 1_000


def merged_clusters(
    labels: Int64,
    encodings: Encodings,
    scorer: Scorer,
    point: OperatingPoint,
    constrained: ConstrainedMargins,
) -> Int64:
    """The labels with clusters of one person merged. A person with more photos than a face has
    neighbours may start out in two clusters.
    """
    clusters = rows_by_label(labels)
    scores = matching_groups(encodings, clusters, scorer, point)
    apart = _clusters_apart(clusters, constrained, len(labels))
    for i, j in sorted(scores, key=lambda pair: -scores[pair]):
        if not (len(clusters[i]) and len(clusters[j])) or j in apart.get(i, ()):
            continue
        # Either may have grown since: scoring again keeps clusters from forming chains.
        if _scores([(i, j)], clusters, encodings, scorer, point, constrained)[0] > 0:
            clusters[i], clusters[j] = np.concatenate([clusters[i], clusters[j]]), clusters[j][:0]
            for other in apart.pop(j, set()):
                apart.setdefault(i, set()).add(other)
                apart[other] = apart[other] - {j} | {i}
    for rows in clusters:
        if len(rows):
            labels[rows] = rows.min()
    return labels


def _clusters_apart(
    clusters: Sequence[Int64], constrained: ConstrainedMargins, count: int
) -> dict[int, set[int]]:
    """For each cluster, those that the user decided are someone else. A sample of the pairs of
    large clusters may not include the pair that was decided on.
    """
    apart: dict[int, set[int]] = {}
    if not constrained.apart:
        return apart
    cluster_of = np.full(count, -1)
    for i, rows in enumerate(clusters):
        cluster_of[rows] = i
    for a, b in constrained.apart:
        i, j = int(cluster_of[a]), int(cluster_of[b])
        if i >= 0 and j >= 0 and i != j:
            apart.setdefault(i, set()).add(j)
            apart.setdefault(j, set()).add(i)
    return apart


def rows_by_label(labels: Int64) -> list[Int64]:
    """The rows of each label that has two or more."""
    # Most labels of a large folder have one row: not an array for each of them.
    inverse, sizes = np.unique(labels, return_inverse=True, return_counts=True)[1:]
    several = np.flatnonzero(sizes[inverse] > 1)
    return [several[rows] for rows in rows_of_each(labels[several]) if len(rows)]


def rows_of_each(labels: Int64) -> list[Int64]:
    """The rows of each label, ascending, in the order of the labels."""
    order = np.argsort(labels, kind="stable")
    sizes = np.unique(labels, return_counts=True)[1]
    return np.split(order, np.cumsum(sizes)[:-1])


def matching_groups(
    encodings: Encodings,
    groups: Sequence[Int64],
    scorer: Scorer,
    point: OperatingPoint,
    progress: Callable[[float], None] = lambda _share: None,
) -> dict[tuple[int, int], float]:
    """Pairs (i < j) of groups with a score above zero, and that score (see linkage.Merge).

    groups : rows of each. Pairs are proposed by the groups' mean encodings, however many faces
    they have.
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
    mean_encodings = Encodings(means, norms, agreement)
    edges = candidate_pairs(mean_encodings, scorer, point, _NEIGHBOURS)
    # A mean strays less than single faces: groups unlike by their means are unlike face by face.
    margins = scorer.margins(mean_encodings, edges.first, edges.second, point)
    sizes = np.log([len(rows) for rows in groups])
    alike = margins + SIZE_BONUS * (sizes[edges.first] + sizes[edges.second]) > 0
    pairs = list(zip(edges.first[alike].tolist(), edges.second[alike].tolist(), strict=True))
    scores: dict[tuple[int, int], float] = {}
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        batch = pairs[start : start + _PAIRS_AT_ONCE]
        batch_scores = _scores(batch, groups, encodings, scorer, point)
        for pair, score in zip(batch, batch_scores, strict=True):
            if score > 0:
                scores[pair] = float(score)
        progress((start + len(batch)) / len(pairs))
    return scores


@dataclass(frozen=True)
class MatchingPair:
    """Two groups, by index, that seem to be one person.

    deciding : the most similar pair of their faces, by row.
    """

    groups: tuple[int, int]
    probability: float
    deciding: tuple[int, int]


def matching_pairs(
    encodings: Encodings,
    groups: Sequence[Int64],
    scorer: Scorer,
    point: OperatingPoint,
    progress: Callable[[float], None] = lambda _share: None,
) -> Iterator[MatchingPair]:
    """Describe each pair that matching_groups returns, with the same arguments."""
    for (i, j), score in matching_groups(encodings, groups, scorer, point, progress).items():
        margin = np.array([score + point.bias], dtype=np.float32)
        probability = float(point.probabilities(margin)[0])
        deciding = _most_similar_rows(encodings, groups[i], groups[j])
        yield MatchingPair((i, j), probability, deciding)


def _scores(
    pairs: Sequence[tuple[int, int]],
    groups: Sequence[Int64],
    encodings: Encodings,
    scorer: Scorer,
    point: OperatingPoint,
    constrained: ConstrainedMargins | None = None,
) -> Float64:
    """For each pair of groups, the mean margin over the pairs between them plus the size bonus,
    float64 (p,). Large groups are sampled.
    """
    pairs_between = [_pairs_between(groups[i], groups[j]) for i, j in pairs]
    first, second = (np.concatenate(side) for side in zip(*pairs_between, strict=True))
    sizes = np.array([len(rows) for rows, _ in pairs_between])
    margins = scorer.margins(encodings, first, second, point)
    if constrained is not None:
        margins = constrained.apply(first, second, margins)
    sums = np.bincount(np.repeat(np.arange(len(pairs)), sizes), margins, len(pairs))
    bonus = [SIZE_BONUS * np.log(len(groups[i]) * len(groups[j])) for i, j in pairs]
    scores: Float64 = sums / sizes + np.array(bonus)
    return scores


def _pairs_between(rows: Int64, others: Int64) -> tuple[Int64, Int64]:
    """All pairs of one of the rows and one of the others; of large groups, of a sample of both."""
    rows, others = sample(rows), sample(others)
    return np.repeat(rows, len(others)), np.tile(others, len(rows))


def sample(rows: Int64) -> Int64:
    """At most 64 of the rows, evenly spaced."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), _SAMPLE)).astype(np.int64)]


def _most_similar_rows(encodings: Encodings, rows: Int64, others: Int64) -> tuple[int, int]:
    """The most similar pair of one of the rows and one of the others."""
    cosines = encodings.vectors[rows] @ encodings.vectors[others].T
    a, b = np.unravel_index(int(cosines.argmax()), cosines.shape)
    return int(rows[a]), int(others[b])
