"""Faces into people on drawn encodings, by the shipped head; and what the user said goes first."""

from __future__ import annotations

import numpy as np
import pytest

from gallery import Gallery
from gallery.dedupe.clustering import cluster
from gallery.dedupe.clustering.cluster import same_person_groups
from gallery.dedupe.clustering.constraints import Constraints
from gallery.dedupe.clustering.operating_point import shipped_marks
from gallery.evaluation.clustering_metrics import figures_of
from gallery.matching.lookalikes import least_cosine
from gallery.matching.scorer import Scorer
from gallery.types import Encodings, Int64
from tests.bench.dedupe import drawn


@pytest.fixture
def judge(gallery: Gallery) -> Scorer:
    return gallery.scorer


def people(judge: Scorer, count: int) -> tuple[Encodings, Int64]:
    centres = next(v.numpy() for n, v in judge.head._state().items() if n == "cohort.centres")
    return drawn(count, np.random.default_rng(0), centres)


def labels(judge: Scorer, encodings: Encodings, constraints: Constraints | None = None) -> Int64:
    found = np.arange(len(encodings))
    for group in same_person_groups(encodings, judge, constraints=constraints).groups:
        found[list(group.rows)] = group.rows[0]
    return found


def test_nearly_all_that_match_are_near_enough_also_among_very_many(judge: Scorer) -> None:
    """At the point of a million faces a sample of 100,000 holds hardly a pair of one person."""
    encodings, owners = people(judge, 100_000)
    point = shipped_marks().point(judge.head.marks.calibration, 1_000_000)
    least = least_cosine(encodings, judge, point)
    order = np.argsort(owners, kind="stable")
    same = np.flatnonzero(owners[order][1:] == owners[order][:-1])
    first, second = order[same], order[same + 1]
    matching = judge.margins(encodings, first, second, point) > 0
    cosines = np.einsum("ij,ij->i", encodings.vectors[first], encodings.vectors[second])
    assert matching.sum() > 10_000
    assert (cosines[matching] >= least).mean() >= 0.99


def test_a_sample_says_enough_of_how_alike_people_are(
    judge: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    encodings, owners = people(judge, 4_000)
    whole = figures_of(labels(judge, encodings), owners)
    monkeypatch.setattr(cluster, "_LOOKED_AT_FIRST", 800)
    sampled = figures_of(labels(judge, encodings), owners)
    assert min(whole.precision, sampled.precision) >= 0.98
    assert abs(whole.recall - sampled.recall) <= 0.03 < 0.8 <= whole.recall


def test_what_the_user_said_goes_before_the_faces(judge: Scorer) -> None:
    encodings, _ = people(judge, 600)
    (group, *_) = same_person_groups(encodings, judge).groups
    one, other, third = group.rows[:3]
    strangers = [row for row in range(len(encodings)) if row not in group.rows][:2]
    said = Constraints(
        apart=frozenset({(one, other)}),
        # The second is near as well: it is one pair all the same.
        together=frozenset({(strangers[0], strangers[1]), (one, third)}),
    )
    found = labels(judge, encodings, said)
    assert found[one] != found[other] and found[one] == found[third]
    assert found[strangers[0]] == found[strangers[1]]


def test_constraints_of_some_rows_are_counted_anew() -> None:
    said = Constraints(
        np.array([5, 5, 6, 7]), apart=frozenset({(0, 3)}), together=frozenset({(1, 2), (2, 3)})
    )
    some = said.of(np.array([1, 2, 3]))
    assert some.photos is not None and some.photos.tolist() == [5, 6, 7]
    assert some.together == {(0, 1), (1, 2)} and some.apart == frozenset()


def of_one(judge: Scorer, count: int, seed: int) -> Encodings:
    """So many photos of one person, who is one of the drawn people."""
    encodings, owners = people(judge, 2_000)
    rng = np.random.default_rng(seed)
    row = int(rng.integers(len(owners)))
    vectors = encodings.vectors[row] + rng.normal(size=(count, 128)).astype(np.float32) * 0.012
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    same = np.full(count, row)
    return Encodings(vectors, encodings.norms[same], encodings.agreement[same])


def test_who_has_more_photos_than_are_looked_at_in_full_is_one_group(
    judge: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_LARGEST_COMPONENT", 60)
    encodings = of_one(judge, 130, 1)
    (group,) = same_person_groups(encodings, judge).groups
    assert len(group.rows) >= 120  # a few are left over between the parts
    # And whom the user confirmed to be one, however many.
    strangers, _ = people(judge, 130)
    chain = frozenset((i, i + 1) for i in range(129))
    found = same_person_groups(strangers, judge, constraints=Constraints(together=chain)).groups
    assert max(len(group.rows) for group in found) >= 60


def test_one_pair_that_was_told_apart_keeps_large_groups_apart(
    judge: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_LARGEST_COMPONENT", 100)
    encodings = of_one(judge, 180, 2)
    whole = labels(judge, encodings)
    assert len(set(whole.tolist())) == 1
    rng = np.random.default_rng(3)
    for one, other in rng.permutation(180)[:20].reshape(10, 2).tolist():
        found = labels(judge, encodings, Constraints(apart=frozenset({(one, other)})))
        assert found[one] != found[other]


def test_as_you_said_is_only_said_of_one_group_that_was_confirmed(judge: Scorer) -> None:
    encodings = of_one(judge, 4, 4)
    both = Constraints(together=frozenset({(0, 1), (2, 3)}))
    (group,) = same_person_groups(encodings, judge, constraints=both).groups
    assert len(group.rows) == 4 and group.why != "as you said" and group.probability < 1.0
    tied = Constraints(together=frozenset({(0, 1), (2, 3), (1, 2)}))
    (group,) = same_person_groups(encodings, judge, constraints=tied).groups
    assert group.why == "as you said" and group.probability == 1.0
