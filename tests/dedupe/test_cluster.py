"""Clusters of drawn encodings with the shipped head; the user's decisions take precedence."""

from __future__ import annotations

import numpy as np
import pytest

from gallery import Gallery
from gallery.dedupe.clustering import cluster
from gallery.dedupe.clustering.cluster import same_person_clusters
from gallery.dedupe.clustering.constraints import Constraints
from gallery.dedupe.clustering.operating_point import shipped_calibration
from gallery.evaluation.clustering_metrics import figures_of
from gallery.matching.lookalikes import cosine_threshold
from gallery.matching.scorer import Scorer
from gallery.types import Encodings, Int64
from tests.bench.dedupe import synthetic_faces


@pytest.fixture
def scorer(gallery: Gallery) -> Scorer:
    return gallery.scorer


def people(scorer: Scorer, count: int) -> tuple[Encodings, Int64]:
    cohort = scorer.head.cohort
    assert cohort is not None
    return synthetic_faces(count, np.random.default_rng(0), cohort.centres)


def labels(scorer: Scorer, encodings: Encodings, constraints: Constraints | None = None) -> Int64:
    result = np.arange(len(encodings))
    for group in same_person_clusters(encodings, scorer, constraints=constraints).clusters:
        result[list(group.rows)] = group.rows[0]
    return result


def test_least_cosine_keeps_nearly_all_matching_pairs_of_many_faces(scorer: Scorer) -> None:
    """At the point of a million faces a sample of 100,000 holds hardly a pair of one person."""
    encodings, owners = people(scorer, 100_000)
    point = shipped_calibration().point(scorer.head.metadata.calibration, 1_000_000)
    least = cosine_threshold(encodings, scorer, point)
    order = np.argsort(owners, kind="stable")
    same = np.flatnonzero(owners[order][1:] == owners[order][:-1])
    first, second = order[same], order[same + 1]
    matching = scorer.margins(encodings, first, second, point) > 0
    cosines = np.einsum("ij,ij->i", encodings.vectors[first], encodings.vectors[second])
    assert matching.sum() > 10_000
    assert (cosines[matching] >= least).mean() >= 0.99


def test_adjustment_from_a_sample_clusters_as_well(
    scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    encodings, owners = people(scorer, 4_000)
    whole = figures_of(labels(scorer, encodings), owners)
    monkeypatch.setattr(cluster, "_ADJUSTMENT_SAMPLE", 800)
    sampled = figures_of(labels(scorer, encodings), owners)
    assert min(whole.precision, sampled.precision) >= 0.98
    assert abs(whole.recall - sampled.recall) <= 0.05 < 0.7 <= whole.recall


def test_user_decisions_take_precedence_over_faces(scorer: Scorer) -> None:
    encodings, _ = people(scorer, 600)
    (group, *_) = same_person_clusters(encodings, scorer).clusters
    first, second, third = group.rows[:3]
    strangers = [row for row in range(len(encodings)) if row not in group.rows][:2]
    constraints = Constraints(
        apart=frozenset({(first, second)}),
        # The second pair is near as well, and must not count twice.
        together=frozenset({(strangers[0], strangers[1]), (first, third)}),
    )
    found = labels(scorer, encodings, constraints)
    assert found[first] != found[second] and found[first] == found[third]
    assert found[strangers[0]] == found[strangers[1]]


def test_constraints_of_a_subset_are_renumbered() -> None:
    constraints = Constraints(
        np.array([5, 5, 6, 7]), apart=frozenset({(0, 3)}), together=frozenset({(1, 2), (2, 3)})
    )
    subset = constraints.of(np.array([1, 2, 3]))
    assert subset.photos is not None and subset.photos.tolist() == [5, 6, 7]
    assert subset.together == {(0, 1), (1, 2)} and subset.apart == frozenset()


def faces_of_one_person(scorer: Scorer, count: int, seed: int) -> Encodings:
    """Encodings of one of the drawn people, with small noise."""
    encodings, owners = people(scorer, 2_000)
    rng = np.random.default_rng(seed)
    row = int(rng.integers(len(owners)))
    vectors = encodings.vectors[row] + rng.normal(size=(count, 128)).astype(np.float32) * 0.012
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    same = np.full(count, row)
    return Encodings(vectors, encodings.norms[same], encodings.agreement[same])


def test_person_with_more_photos_than_the_largest_component_is_one_cluster(
    scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_LARGEST_COMPONENT", 60)
    encodings = faces_of_one_person(scorer, 130, 1)
    (group,) = same_person_clusters(encodings, scorer).clusters
    assert len(group.rows) >= 120  # a few are left over between the blocks
    # The same for faces that the user confirmed.
    strangers, _ = people(scorer, 130)
    chain = frozenset((i, i + 1) for i in range(129))
    found = same_person_clusters(
        strangers, scorer, constraints=Constraints(together=chain)
    ).clusters
    assert max(len(group.rows) for group in found) >= 60


def test_one_pair_decided_apart_keeps_large_clusters_apart(
    scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_LARGEST_COMPONENT", 100)
    encodings = faces_of_one_person(scorer, 180, 2)
    whole = labels(scorer, encodings)
    assert len(set(whole.tolist())) == 1
    rng = np.random.default_rng(3)
    for first, second in rng.permutation(180)[:20].reshape(10, 2).tolist():
        found = labels(scorer, encodings, Constraints(apart=frozenset({(first, second)})))
        assert found[first] != found[second]


def test_as_you_said_only_for_one_confirmed_group(scorer: Scorer) -> None:
    encodings = faces_of_one_person(scorer, 4, 4)
    both = Constraints(together=frozenset({(0, 1), (2, 3)}))
    (group,) = same_person_clusters(encodings, scorer, constraints=both).clusters
    assert len(group.rows) == 4 and group.why != "as you said" and group.probability < 1.0
    tied = Constraints(together=frozenset({(0, 1), (2, 3), (1, 2)}))
    (group,) = same_person_clusters(encodings, scorer, constraints=tied).clusters
    assert group.why == "as you said" and group.probability == 1.0
