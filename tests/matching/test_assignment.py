"""The faces of one photo are decided on together: an identity is given to at most one of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gallery.matching.assignment import assign
from gallery.matching.decision import decide
from gallery.types import Decision, Outcome
from tests.matching.test_decision import FACE, candidate, preference


def decisions(*matches: tuple[int | None, float]) -> list[Decision]:
    """One decision per (matching identity or None, probability)."""
    return [
        decide(FACE, [candidate(9, 0.1)] if i is None else [candidate(i, p), candidate(9, 0.1)])
        for i, p in matches
    ]


def assigned(before: list[Decision]) -> list[Decision]:
    return assign(before, [None] * len(before))


def told_apart(*faces: dict[int, float]) -> list[Decision]:
    """The decisions on faces of one photo, each with probabilities of people told apart."""
    alone = [
        decide(FACE, [candidate(i, p) for i, p in face.items()], preference=preference)
        for face in faces
    ]
    return assign(alone, [preference] * len(faces))


def ids(answers: list[Decision]) -> list[int | None]:
    return [decision.identity.id if decision.identity else None for decision in answers]


def test_most_probable_of_several_faces_keeps_the_identity() -> None:
    before = decisions((1, 0.7), (2, 0.6), (1, 0.9), (None, 0.0), (1, 0.8))
    after = assigned(before)
    assert ids(after) == [None, 2, 1, None, None]
    for i in (1, 2, 3):
        assert after[i] is before[i]
    for i in (0, 4):
        assert after[i].outcome is Outcome.UNKNOWN and after[i].decided_by is None
        assert after[i].reason == "another face in this photo is more likely person 1"
        assert after[i].face is before[i].face
        assert after[i].candidates == before[i].candidates
    assert after[0].runner_up is not None and after[0].runner_up.identity.id == 1


def test_only_one_of_two_equally_probable_faces_keeps_the_identity() -> None:
    after = assigned(decisions((1, 0.7), (1, 0.7)))
    assert [d.identity is not None for d in after] == [True, False]


def test_distinct_identities_are_left_as_they_are() -> None:
    assert assigned([]) == []
    before = decisions((1, 0.7), (2, 0.7), (None, 0.0))
    assert assigned(before) == before


@given(st.lists(st.tuples(st.integers(1, 4), st.floats(0.51, 1.0)), max_size=10))
def test_an_identity_is_given_to_at_most_one_face(matches) -> None:
    after = assigned(decisions(*matches))
    given_ids = [d.identity.id for d in after if d.identity is not None]
    assert sorted(given_ids) == sorted({i for i, _ in matches})
    for decision in after:
        if decision.identity is not None:
            best = max(p for i, p in matches if i == decision.identity.id)
            assert decision.probability == best


def test_two_look_alikes_in_one_photo_are_shared_out() -> None:
    """Each is too close for an answer alone; together there is only one good way."""
    sisters = {1: 0.9, 2: 0.75}, {1: 0.75, 2: 0.9}
    assert ids([decide(FACE, [candidate(1, 0.9), candidate(2, 0.75)], preference=preference)]) == [
        None
    ]
    answers = told_apart(*sisters)
    assert ids(answers) == [1, 2] and [a.outcome for a in answers] == [Outcome.MATCH] * 2
    assert answers[0].probability == 0.9
    assert answers[0].reason == (
        "2 identities match, which you marked as different people: person 1 (90.0%), person 2"
        " (75.0%); it is person 1, since the other faces in this photo are more likely the others"
    )


def test_look_alikes_that_could_be_shared_out_either_way_stay_ambiguous() -> None:
    answers = told_apart({1: 0.9, 2: 0.8}, {1: 0.9, 2: 0.8})
    assert [a.outcome for a in answers] == [Outcome.AMBIGUOUS] * 2


def test_a_mirror_image_is_not_given_to_a_look_alike() -> None:
    assert ids(told_apart({1: 0.95, 2: 0.6}, {1: 0.99, 2: 0.55})) == [None, 1]


def test_a_face_that_surely_is_one_person_leaves_the_other_to_the_second_face() -> None:
    assert ids(told_apart({1: 0.8}, {1: 0.95, 2: 0.9})) == [1, 2]
    unsure = told_apart({1: 0.6}, {1: 0.95, 2: 0.9})
    assert [a.outcome for a in unsure] == [Outcome.MATCH, Outcome.AMBIGUOUS]
    assert ids(unsure) == [1, None]


@given(
    st.lists(
        st.dictionaries(st.integers(1, 3), st.floats(0.51, 1.0), min_size=1, max_size=3), max_size=5
    )
)
def test_nobody_is_given_two_faces_however_alike_people_are(faces) -> None:
    given_ids = [i for i in ids(told_apart(*faces)) if i is not None]
    assert len(given_ids) == len(set(given_ids))
