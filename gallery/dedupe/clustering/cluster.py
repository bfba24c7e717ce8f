"""Cluster faces by person: near pairs, the head's margins, then linkage that resists chains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import DisjointSet
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gallery.dedupe.clustering.constraints import ALWAYS, ConstrainedMargins, Constraints
from gallery.dedupe.clustering.linkage import SIZE_BONUS, labels_at
from gallery.dedupe.clustering.margins import NearPairs, constrained_matrix, margin_matrices
from gallery.dedupe.clustering.merge import merged_clusters, rows_by_label, sample
from gallery.dedupe.clustering.operating_point import (
    DEFAULT_PRECISION,
    ClusteringCalibration,
    shipped_calibration,
)
from gallery.matching.gallery_margins import SAMPLED_IDENTITIES, gallery_impostors
from gallery.matching.impostors import Impostors
from gallery.matching.lookalikes import candidate_pairs
from gallery.matching.operating_point import OperatingPoint
from gallery.matching.scorer import Scorer
from gallery.types import Encodings, Float64, Int64
from indexer import Edges

_NEIGHBOURS = 32
_ADJUSTMENT_SAMPLE = 20_000
_LARGEST_COMPONENT = 3_000  # its margins and their sums take some 150 MB
_LEAST_CLUSTERS = 10


@dataclass(frozen=True)
class Cluster:
    """Two or more rows of one person.

    probability : that all of them are.  deciding : the loosest member, and the row it is most
    similar to.  why : in words.
    """

    rows: tuple[int, ...]
    probability: float
    deciding: tuple[int, int]
    why: str


@dataclass(frozen=True)
class Clustering:
    """The clusters, the near pairs of faces, and the operating point."""

    clusters: tuple[Cluster, ...]
    edges: Edges
    point: OperatingPoint


_Key = tuple[int, int]


def _key(rows: Int64) -> _Key:
    """Identifies a cluster: no two share a first row, and one that grew has another size."""
    return int(rows.min()), len(rows)


@dataclass(frozen=True)
class _LoosestMember:
    """The row least similar to the rest of its cluster, the row it is most similar to, and its
    mean margin to the others.
    """

    row: int
    nearest: int
    mean: float

    @classmethod
    def of(cls, rows: Int64, margins: Float64) -> _LoosestMember:
        """margins : of all pairs of the rows, (size, size)."""
        means = (margins.sum(axis=1) - margins.diagonal()) / (len(rows) - 1)
        loosest = int(means.argmin())
        others = margins[loosest].copy()
        others[loosest] = -np.inf
        return cls(int(rows[loosest]), int(rows[others.argmax()]), float(means[loosest]))


def same_person_clusters(
    encodings: Encodings,
    scorer: Scorer,
    *,
    precision: float = DEFAULT_PRECISION,
    constraints: Constraints | None = None,
    calibration: ClusteringCalibration | None = None,
    progress: Callable[[int], None] = lambda _done: None,
) -> Clustering:
    """Clusters of two or more faces, largest first, at a wanted share of correct pairs.

    Clustering runs twice: first at the operating point for unknown people, which is the more
    cautious one; then at the point adjusted to how alike the people found first are. The first run
    uses a sample of many faces, which is enough to estimate that.
    progress : called with the number of faces compared.
    Raises SettingInvalid for a precision out of range.
    """
    calibration = (
        shipped_calibration(scorer.head.metadata.encoder) if calibration is None else calibration
    )
    constraints = Constraints() if constraints is None else constraints
    count = len(encodings)
    rows = np.sort(np.random.default_rng(0).permutation(count)[:_ADJUSTMENT_SAMPLE])
    impostors = _impostors(
        encodings.take(rows), scorer, precision, constraints.of(rows), calibration
    )
    point = calibration.point(scorer.head.metadata.calibration, count, precision, impostors)
    edges = candidate_pairs(encodings, scorer, point, _NEIGHBOURS, progress)
    near_pairs = NearPairs.of(edges, encodings, scorer, point)
    labels, loosest = _labels(encodings, near_pairs, scorer, point, constraints)
    clusters = rows_by_label(labels)
    missing = [rows for rows in clusters if _key(rows) not in loosest]
    samples = margin_matrices(
        [sample(rows) for rows in missing], near_pairs, encodings, scorer, point
    )
    for rows, (sampled, matrix) in zip(missing, samples, strict=True):
        loosest[_key(rows)] = _LoosestMember.of(sampled, matrix)
    described = [
        _described(rows, loosest[_key(rows)], calibration, constraints) for rows in clusters
    ]
    described.sort(key=lambda cluster: (-len(cluster.rows), -cluster.probability, cluster.rows))
    return Clustering(tuple(described), edges, point)


def _impostors(
    encodings: Encodings,
    scorer: Scorer,
    precision: float,
    constraints: Constraints,
    calibration: ClusteringCalibration,
) -> Impostors | None:
    """How alike different people are among these faces; None if there are too few to tell."""
    point = calibration.point(scorer.head.metadata.calibration, len(encodings), precision)
    edges = candidate_pairs(encodings, scorer, point, _NEIGHBOURS)
    near_pairs = NearPairs.of(edges, encodings, scorer, point)
    labels, _ = _labels(encodings, near_pairs, scorer, point, constraints)
    found = np.unique(labels)
    if len(found) < _LEAST_CLUSTERS:
        return None
    # The labels are only numbers of this run: there is no sample to keep up with, as in a gallery.
    drawn = np.random.default_rng(len(found)).permutation(found)[:SAMPLED_IDENTITIES]
    rows = np.flatnonzero(np.isin(labels, drawn))
    return gallery_impostors(scorer.head, labels[rows], encodings.take(rows)).for_pairs()


def _labels(
    encodings: Encodings,
    near_pairs: NearPairs,
    scorer: Scorer,
    point: OperatingPoint,
    constraints: Constraints,
) -> tuple[Int64, dict[_Key, _LoosestMember]]:
    """A label for each row, int64 (n,); and the loosest member of those clusters of which all
    margins were needed.
    """
    constrained = ConstrainedMargins(constraints, encodings, scorer, point)
    links = _links(near_pairs, constraints, constrained)
    labels = np.arange(len(encodings), dtype=np.int64)
    partial: list[Int64] = []
    for rows, is_complete in _components(len(encodings), *links):
        if is_complete:  # every pair is above the point, so every merge would be
            labels[rows] = rows[0]
        else:
            partial.append(rows)
    loosest: dict[_Key, _LoosestMember] = {}
    for rows, matrix in margin_matrices(partial, near_pairs, encodings, scorer, point):
        inside = labels_at(constrained_matrix(rows, matrix, constrained), 0.0)
        labels[rows] = rows[inside]
        for positions in rows_by_label(inside):
            sampled = sample(positions)
            loosest[_key(rows[positions])] = _LoosestMember.of(
                rows[sampled], matrix[np.ix_(sampled, sampled)]
            )
    return merged_clusters(labels, encodings, scorer, point, constrained), loosest


def _links(
    near_pairs: NearPairs, constraints: Constraints, constrained: ConstrainedMargins
) -> tuple[Int64, Int64, Float64]:
    """The near pairs and those that the user put together: first, second and margin, each pair
    once.
    """
    margins = constrained.apply(near_pairs.first, near_pairs.second, near_pairs.margins)
    together = constraints.together - constraints.apart
    if not together:
        return near_pairs.first, near_pairs.second, margins
    pairs = np.array(sorted(together), dtype=np.int64)
    others = margins < ALWAYS  # near pairs that are not among them
    return (
        np.concatenate([near_pairs.first[others], pairs.min(axis=1)]),
        np.concatenate([near_pairs.second[others], pairs.max(axis=1)]),
        np.concatenate([margins[others], np.full(len(pairs), ALWAYS)]),
    )


def _components(
    count: int, first: Int64, second: Int64, margins: Float64
) -> list[tuple[Int64, bool]]:
    """The rows of each connected component, and whether all its pairs are above the point.

    A component too large for a full matrix is split at its weakest links.
    """
    above = margins > 0
    first, second, margins = first[above], second[above], margins[above]
    graph = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(count, count))
    labels = connected_components(graph, directed=False)[1]
    sizes = np.bincount(labels, minlength=1)
    links = np.bincount(labels[first], minlength=len(sizes))
    order = np.argsort(labels, kind="stable")
    ends = np.cumsum(sizes)
    components: list[tuple[Int64, bool]] = []
    for label in np.flatnonzero(sizes > 1):
        rows = order[ends[label] - sizes[label] : ends[label]]
        if len(rows) <= _LARGEST_COMPONENT:
            components.append((rows, bool(links[label] == len(rows) * (len(rows) - 1) // 2)))
        else:
            inside = labels[first] == label
            blocks = _blocks(rows, first[inside], second[inside], margins[inside])
            components += [(block, False) for block in blocks]
    return components


def _blocks(rows: Int64, first: Int64, second: Int64, margins: Float64) -> list[Int64]:
    """A component in blocks of bounded size: the strongest links first, as long as what they join
    is small enough. Blocks of one person are merged again as clusters.

    rows : ascending.
    """
    order = np.argsort(-margins, kind="stable")
    ends = (np.searchsorted(rows, side[order]).tolist() for side in (first, second))
    blocks = DisjointSet(range(len(rows)))
    for a, b in zip(*ends, strict=True):
        if blocks.subset_size(a) + blocks.subset_size(b) <= _LARGEST_COMPONENT:
            blocks.merge(a, b)
    labels = np.array([blocks[i] for i in range(len(rows))])
    return [rows[positions] for positions in rows_by_label(labels)]


def _described(
    rows: Int64,
    loosest: _LoosestMember,
    calibration: ClusteringCalibration,
    constraints: Constraints,
) -> Cluster:
    is_confirmed = _is_confirmed(rows, constraints)
    why = f"{len(rows)} faces that match each other" if len(rows) > 2 else "two faces that match"
    if constraints.photos is not None and _has_repeats(constraints.photos[rows]):
        why += "; two of them are in one photo, as in a mirror or a collage"
    above = loosest.mean + SIZE_BONUS * float(np.log(len(rows) - 1))
    return Cluster(
        rows=tuple(np.sort(rows).tolist()),
        probability=1.0 if is_confirmed else calibration.probability(above),
        deciding=(loosest.row, loosest.nearest),
        why="as you said" if is_confirmed else why,
    )


def _is_confirmed(rows: Int64, constraints: Constraints) -> bool:
    """Whether the user's decisions connect all of these rows."""
    partners = constraints.partners
    unreached, queue = set(rows.tolist()), [int(rows[0])]
    while queue:
        row = queue.pop()
        unreached.discard(row)
        queue += unreached.intersection(partners.get(row, ()))
    return not unreached


def _has_repeats(values: Int64) -> bool:
    return len(np.unique(values)) < len(values)
