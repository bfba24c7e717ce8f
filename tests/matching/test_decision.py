"""A decision is exactly one identity or none, by the number of matching candidates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gallery.matching.decision import decide, decision_without_face
from gallery.types import Box, Candidate, Face, IdentityRef, Outcome, Verdict

FACE = Face(Box(0.0, 0.0, 80.0, 100.0), np.zeros((5, 2), np.float32), 0.999, 100.0)


def candidate(identity: int, probability: float, name: str | None = None) -> Candidate:
    return Candidate(
        identity=IdentityRef(identity, name or f"person {identity}"),
        face_id=10 * identity,
        photo=f"{identity}.jpg",
        similarity=0.5,
        probability=probability,
        verdict=Verdict.SAME if probability > 0.5 else Verdict.DIFFERENT,
        margin=10 * (probability - 0.5),
    )


def preference(lead: float) -> float:
    """A lead of 2 or more is clear."""
    return 0.99 if lead >= 2.0 else 0.6


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
    assert decision.reason == (
        "3 identities match: person 2 (99.0%), person 4 (70.0%), person 1 (60.0%)"
    )


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


def test_the_clearly_likelier_of_people_told_apart_is_the_answer() -> None:
    candidates = [candidate(1, 0.7, "Venus"), candidate(2, 0.95, "Serena"), candidate(3, 0.1)]
    decision = decide(FACE, candidates, preference=preference)
    assert decision.outcome is Outcome.MATCH and decision.identity == candidates[1].identity
    assert decision.probability == 0.95 and decision.decided_by is candidates[1]
    assert decision.reason == (
        "2 identities match, which you marked as different people: Serena (95.0%), Venus (70.0%);"
        " Serena is clearly the likelier"
    )
    assert decide(FACE, candidates).outcome is Outcome.AMBIGUOUS  # not told apart


def test_people_told_apart_stay_ambiguous_where_neither_is_clearly_likelier() -> None:
    candidates = [candidate(1, 0.9, "Venus"), candidate(2, 0.8, "Serena"), candidate(3, 0.6)]
    decision = decide(FACE, candidates, preference=preference)
    assert decision.outcome is Outcome.AMBIGUOUS and decision.identity is None
    assert decision.reason.endswith("; Venus is the likelier, but not clearly")


def test_probability_of_one_half_is_different() -> None:
    assert decide(FACE, [candidate(1, 0.5)]).outcome is Outcome.UNKNOWN


def test_verdict_decides_not_the_probability() -> None:
    probable = Candidate(IdentityRef(1, "Ada"), 1, "a.jpg", 0.5, 0.9, Verdict.DIFFERENT, -1.0)
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
