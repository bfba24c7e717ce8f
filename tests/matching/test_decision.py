"""A decision is exactly one identity or none, by the number of matching candidates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gallery.matching.decision import decide, decision_without_face, one_face_per_identity
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


def test_empty_gallery_is_unknown() -> None:
    decision = decide(FACE, [])
    assert decision.outcome is Outcome.UNKNOWN and decision.reason == "the gallery is empty"
    assert decision.identity is None and decision.probability is None
    assert decision.candidates == () and decision.face is FACE
    assert decision.decided_by is None and decision.runner_up is None


def test_exactly_one_match_is_the_answer() -> None:
    far, match, nearer = candidate(1, 0.2), candidate(2, 0.9), candidate(3, 0.4)
    decision = decide(FACE, [far, match, nearer])
    assert decision.outcome is Outcome.MATCH and decision.identity == match.identity
    assert decision.probability == 0.9 and decision.decided_by is match
    assert decision.candidates == (match, nearer, far) and decision.runner_up is nearer
    assert decision.reason == "only person 2 matches, by 2.jpg"


def test_a_single_candidate_has_no_runner_up() -> None:
    decision = decide(FACE, [candidate(1, 0.9)])
    assert decision.outcome is Outcome.MATCH and decision.runner_up is None


def test_no_match_is_unknown_and_names_the_nearest() -> None:
    decision = decide(FACE, [candidate(1, 0.1), candidate(2, 0.3)])
    assert decision.outcome is Outcome.UNKNOWN and decision.identity is None
    assert decision.probability == 0.3 and decision.decided_by is None
    assert decision.reason == "no identity matches; the nearest is person 2"
    assert decision.runner_up is not None and decision.runner_up.identity.id == 2


def test_several_matches_are_ambiguous() -> None:
    candidates = [candidate(1, 0.6), candidate(2, 0.99), candidate(3, 0.2), candidate(4, 0.7)]
    decision = decide(FACE, candidates)
    assert decision.outcome is Outcome.AMBIGUOUS and decision.identity is None
    assert decision.probability == 0.99 and decision.decided_by is None
    assert decision.reason == "3 identities match: person 2, person 4, person 1"


def test_excluded_identities_are_no_candidates() -> None:
    candidates = [candidate(1, 0.9, "Ada"), candidate(2, 0.8, "Grace"), candidate(3, 0.1)]
    match = decide(FACE, candidates, excluded={1})
    assert match.identity == candidates[1].identity and candidates[0] not in match.candidates
    assert match.reason == "only Grace matches, by 2.jpg; you ruled out Ada"
    unknown = decide(FACE, candidates, excluded={1, 2})
    assert (
        unknown.reason == "no identity matches; the nearest is person 3; you ruled out Ada, Grace"
    )
    alone = decide(FACE, candidates[:1], excluded={1})
    assert (alone.outcome, alone.candidates) == (Outcome.UNKNOWN, ())
    assert alone.reason == "there are no other candidates; you ruled out Ada"


def test_distinct_people_who_match_are_called_so() -> None:
    decision = decide(FACE, [candidate(1, 0.9), candidate(2, 0.8)], are_distinct=True)
    assert decision.outcome is Outcome.AMBIGUOUS
    assert decision.reason == (
        "2 identities match, which you marked as different people: person 1, person 2"
    )


def test_probability_of_one_half_is_different() -> None:
    assert decide(FACE, [candidate(1, 0.5)]).outcome is Outcome.UNKNOWN


def test_verdict_decides_not_the_probability() -> None:
    probable = Candidate(IdentityRef(1, "Ada"), 1, "a.jpg", 0.5, 0.9, Verdict.DIFFERENT)
    assert decide(FACE, [probable]).outcome is Outcome.UNKNOWN


def test_equal_probabilities_are_ordered_by_id() -> None:
    candidates = [candidate(i, 0.3) for i in (3, 1, 2)]
    assert [c.identity.id for c in decide(FACE, candidates).candidates] == [1, 2, 3]


candidate_lists = st.lists(
    st.tuples(st.integers(1, 50), st.floats(0.0, 1.0)), max_size=12, unique_by=lambda pair: pair[0]
)


@given(candidate_lists, st.randoms(use_true_random=False))
def test_identity_is_given_exactly_when_one_candidate_matches(pairs, random) -> None:
    candidates = [candidate(identity, probability) for identity, probability in pairs]
    decision = decide(FACE, candidates)
    matched = [c for c in candidates if c.verdict is Verdict.SAME]
    assert (decision.identity is not None) == (len(matched) == 1)
    assert (decision.outcome is Outcome.MATCH) == (len(matched) == 1)
    assert (decision.outcome is Outcome.AMBIGUOUS) == (len(matched) > 1)
    assert (decision.outcome is Outcome.UNKNOWN) == (not matched)
    if len(matched) == 1:
        assert decision.identity == matched[0].identity and decision.decided_by == matched[0]
        assert decision.probability == matched[0].probability
    elif candidates:
        assert decision.probability == max(c.probability for c in candidates)
    assert sorted(c.identity.id for c in decision.candidates) == sorted(i for i, _ in pairs)
    probabilities = [c.probability for c in decision.candidates]
    assert probabilities == sorted(probabilities, reverse=True)
    runner_up = decision.runner_up
    assert runner_up is None or runner_up.identity != decision.identity
    random.shuffle(candidates)
    assert decide(FACE, candidates) == decision  # whatever the order of the candidates


@pytest.mark.parametrize("outcome", [Outcome.NO_FACE, Outcome.SEVERAL_FACES])
def test_decision_without_a_face_has_no_candidates(outcome: Outcome) -> None:
    decision = decision_without_face(outcome, "why")
    assert (decision.outcome, decision.reason) == (outcome, "why")
    assert decision.identity is None and decision.face is None and decision.candidates == ()
    assert decision.decided_by is None and decision.runner_up is None


def decisions(*matches: tuple[int | None, float]) -> list[Decision]:
    """One decision per (matching identity or None, probability)."""
    return [
        decide(FACE, [candidate(9, 0.1)] if i is None else [candidate(i, p), candidate(9, 0.1)])
        for i, p in matches
    ]


def test_most_probable_of_several_faces_keeps_the_identity() -> None:
    before = decisions((1, 0.7), (2, 0.6), (1, 0.9), (None, 0.0), (1, 0.8))
    after = one_face_per_identity(before)
    ids = [d.identity.id if d.identity else None for d in after]
    assert ids == [None, 2, 1, None, None]
    for i in (1, 2, 3):
        assert after[i] is before[i]
    for i in (0, 4):
        assert after[i].outcome is Outcome.UNKNOWN and after[i].decided_by is None
        assert after[i].reason == "another face in this photo is more likely person 1"
        assert after[i].face is before[i].face
        assert after[i].candidates == before[i].candidates
    assert after[0].runner_up is not None and after[0].runner_up.identity.id == 1


def test_only_one_of_two_equally_probable_faces_keeps_the_identity() -> None:
    after = one_face_per_identity(decisions((1, 0.7), (1, 0.7)))
    assert [d.identity is not None for d in after] == [True, False]


def test_distinct_identities_are_left_as_they_are() -> None:
    assert one_face_per_identity([]) == []
    before = decisions((1, 0.7), (2, 0.7), (None, 0.0))
    assert one_face_per_identity(before) == before


@given(st.lists(st.tuples(st.integers(1, 4), st.floats(0.51, 1.0)), max_size=10))
def test_an_identity_is_given_to_at_most_one_face(matches) -> None:
    after = one_face_per_identity(decisions(*matches))
    ids = [d.identity.id for d in after if d.identity is not None]
    assert sorted(ids) == sorted({i for i, _ in matches})
    for decision in after:
        if decision.identity is not None:
            best = max(p for i, p in matches if i == decision.identity.id)
            assert decision.probability == best


# Dates


def test_years_apart_are_those_to_the_photo_nearest_in_time() -> None:
    dates = {1: ["1990", "2004-07-01"], 2: ["2019"]}
    candidates = [candidate(1, 0.9), candidate(2, 0.2), candidate(3, 0.1)]
    decision = decide(FACE, candidates, taken="2006-07-01", dates=dates)
    assert [c.years_apart for c in decision.candidates] == [2.0, 13.0, None]
    assert decision.reason == "only person 1 matches, by 1.jpg"
    undated = decide(FACE, candidates, dates=dates)
    assert [c.years_apart for c in undated.candidates] == [None, None, None]


@pytest.mark.parametrize(
    ("taken", "note"),
    [("2016", "16 years before"), ("1990-07-02", "10 years after"), ("2005", ""), ("1995", "")],
)
def test_reason_names_years_over_five(taken: str, note: str) -> None:
    dates = {1: ["2000"]}
    unknown = decide(FACE, [candidate(1, 0.1)], taken=taken, dates=dates)
    match = decide(FACE, [candidate(1, 0.9)], taken=taken, dates=dates)
    nearest = f"photo nearest in time was taken {note} this one"
    assert unknown.reason == "no identity matches; the nearest is person 1" + (
        f", whose {nearest}: if it is them, add one nearer to this age" if note else ""
    )
    assert match.reason == "only person 1 matches, by 1.jpg" + (f"; the {nearest}" if note else "")


@given(st.lists(st.floats(0.0, 1.0), max_size=6), st.sampled_from(["1950", "2011", "2020-02-02"]))
def test_dates_change_no_decision(probabilities: list[float], taken: str) -> None:
    candidates = [candidate(i, p) for i, p in enumerate(probabilities, start=1)]
    dates = {i: [str(1900 + 20 * i)] for i in range(1, len(candidates), 2)}
    dated, plain = decide(FACE, candidates, taken=taken, dates=dates), decide(FACE, candidates)
    assert (dated.outcome, dated.identity) == (plain.outcome, plain.identity)
    assert [replace(c, years_apart=None) for c in dated.candidates] == list(plain.candidates)
