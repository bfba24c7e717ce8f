"""Verdicts become exactly one identity or none, and nothing is ever guessed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gallery.matching.decision import decide, one_face_an_identity, without_face
from gallery.types import Box, Candidate, Decision, Face, IdentityRef, Outcome, Verdict

FACE = Face(Box(0.0, 0.0, 80.0, 100.0), np.zeros((5, 2), np.float32), 0.999, 100.0)


def candidate(identity: int, probability: float, name: str | None = None) -> Candidate:
    return Candidate(
        identity=IdentityRef(identity, name or f"person {identity}"),
        face_id=10 * identity,
        photo=f"{identity}.jpg",
        similarity=0.5,
        probability=probability,
        verdict=Verdict.SAME if probability > 0.5 else Verdict.DIFFERENT,
    )


def test_an_empty_gallery_knows_no_one() -> None:
    decision = decide(FACE, [])
    assert decision.outcome is Outcome.UNKNOWN and decision.reason == "the gallery is empty"
    assert decision.identity is None and decision.probability is None
    assert decision.candidates == () and decision.face is FACE
    assert decision.decided_by is None and decision.runner_up is None


def test_exactly_one_same_is_the_match() -> None:
    one, two, three = candidate(1, 0.2), candidate(2, 0.9), candidate(3, 0.4)
    decision = decide(FACE, [one, two, three])
    assert decision.outcome is Outcome.MATCH and decision.identity == two.identity
    assert decision.probability == 0.9 and decision.decided_by is two
    assert decision.candidates == (two, three, one) and decision.runner_up is three
    assert decision.reason == "only person 2 matches, by 2.jpg"


def test_a_single_candidate_has_no_runner_up() -> None:
    decision = decide(FACE, [candidate(1, 0.9)])
    assert decision.outcome is Outcome.MATCH and decision.runner_up is None


def test_none_same_is_unknown_and_names_the_nearest() -> None:
    decision = decide(FACE, [candidate(1, 0.1), candidate(2, 0.3)])
    assert decision.outcome is Outcome.UNKNOWN and decision.identity is None
    assert decision.probability == 0.3 and decision.decided_by is None
    assert decision.reason == "no one matches; the nearest is person 2"
    assert decision.runner_up is not None and decision.runner_up.identity.id == 2


def test_several_same_are_ambiguous_and_no_one() -> None:
    candidates = [candidate(1, 0.6), candidate(2, 0.99), candidate(3, 0.2), candidate(4, 0.7)]
    decision = decide(FACE, candidates)
    assert decision.outcome is Outcome.AMBIGUOUS and decision.identity is None
    assert decision.probability == 0.99 and decision.decided_by is None
    assert decision.reason == "3 identities match: person 2, person 4, person 1"


def test_one_half_exactly_is_different() -> None:
    assert decide(FACE, [candidate(1, 0.5)]).outcome is Outcome.UNKNOWN


def test_the_verdict_counts_and_not_the_probability() -> None:
    odd = Candidate(IdentityRef(1, "Ada"), 1, "a.jpg", 0.5, 0.9, Verdict.DIFFERENT)
    assert decide(FACE, [odd]).outcome is Outcome.UNKNOWN


def test_equal_probabilities_are_ordered_by_id() -> None:
    candidates = [candidate(i, 0.3) for i in (3, 1, 2)]
    assert [c.identity.id for c in decide(FACE, candidates).candidates] == [1, 2, 3]


many_candidates = st.lists(
    st.tuples(st.integers(1, 50), st.floats(0.0, 1.0)), max_size=12, unique_by=lambda pair: pair[0]
)


@given(many_candidates, st.randoms(use_true_random=False))
def test_an_identity_is_given_exactly_when_one_candidate_is_the_same(pairs, shuffled) -> None:
    candidates = [candidate(identity, probability) for identity, probability in pairs]
    decision = decide(FACE, candidates)
    same = [c for c in candidates if c.verdict is Verdict.SAME]
    assert (decision.identity is not None) == (len(same) == 1)
    assert (decision.outcome is Outcome.MATCH) == (len(same) == 1)
    assert (decision.outcome is Outcome.AMBIGUOUS) == (len(same) > 1)
    assert (decision.outcome is Outcome.UNKNOWN) == (not same)
    if len(same) == 1:
        assert decision.identity == same[0].identity and decision.decided_by == same[0]
        assert decision.probability == same[0].probability
    elif candidates:
        assert decision.probability == max(c.probability for c in candidates)
    assert sorted(c.identity.id for c in decision.candidates) == sorted(i for i, _ in pairs)
    falling = [c.probability for c in decision.candidates]
    assert falling == sorted(falling, reverse=True)
    runner_up = decision.runner_up
    assert runner_up is None or runner_up.identity != decision.identity
    shuffled.shuffle(candidates)
    assert decide(FACE, candidates) == decision  # the order of asking changes nothing


@pytest.mark.parametrize("outcome", [Outcome.NO_FACE, Outcome.SEVERAL_FACES])
def test_without_one_face_there_is_nothing_to_decide(outcome: Outcome) -> None:
    decision = without_face(outcome, "why")
    assert (decision.outcome, decision.reason) == (outcome, "why")
    assert decision.identity is None and decision.face is None and decision.candidates == ()
    assert decision.decided_by is None and decision.runner_up is None


def decisions(*matched: tuple[int | None, float]) -> list[Decision]:
    return [
        decide(FACE, [candidate(9, 0.1)] if i is None else [candidate(i, p), candidate(9, 0.1)])
        for i, p in matched
    ]


def test_of_two_faces_with_one_name_the_likelier_keeps_it() -> None:
    given_names = decisions((1, 0.7), (2, 0.6), (1, 0.9), (None, 0.0), (1, 0.8))
    kept = one_face_an_identity(given_names)
    ids = [d.identity.id if d.identity else None for d in kept]
    assert ids == [None, 2, 1, None, None]
    for i in (1, 2, 3):
        assert kept[i] is given_names[i]
    for i in (0, 4):
        assert kept[i].outcome is Outcome.UNKNOWN and kept[i].decided_by is None
        assert kept[i].reason == "person 1 is a likelier face of this photo"
        assert kept[i].face is given_names[i].face
        assert kept[i].candidates == given_names[i].candidates
    assert kept[0].runner_up is not None and kept[0].runner_up.identity.id == 1


def test_of_two_equally_likely_faces_only_one_keeps_the_name() -> None:
    kept = one_face_an_identity(decisions((1, 0.7), (1, 0.7)))
    assert [d.identity is not None for d in kept] == [True, False]


def test_no_faces_and_different_names_stay_as_they_are() -> None:
    assert one_face_an_identity([]) == []
    given_names = decisions((1, 0.7), (2, 0.7), (None, 0.0))
    assert one_face_an_identity(given_names) == given_names


@given(st.lists(st.tuples(st.integers(1, 4), st.floats(0.51, 1.0)), max_size=10))
def test_a_person_is_at_most_once_in_a_photo(matched) -> None:
    kept = one_face_an_identity(decisions(*matched))
    given_ids = [d.identity.id for d in kept if d.identity is not None]
    assert sorted(given_ids) == sorted({i for i, _ in matched})
    for decision in kept:
        if decision.identity is not None:
            best = max(p for i, p in matched if i == decision.identity.id)
            assert decision.probability == best
