"""People told apart, the rate of whole photos, and answers that change as the gallery grows."""

from __future__ import annotations

import numpy as np
import pytest

from gallery import Gallery
from gallery.matching.operating_point import rate_for_any, rate_for_each
from gallery.training.encode import enrolled_people
from gallery.training.told_apart import leads_of_pairs, preference_slope
from gallery.types import Box, Decision, Encodings, Face, Float32, Outcome, Photo
from tests.conftest import AddFace
from tests.matching.heads import make_head
from tests.people import encodings, strangers

FACE = Face(Box(1.5, 2.0, 101.25, 120.0), np.ones((5, 2), np.float32), 0.999, 50.0)
PHOTO = Photo(np.zeros((1, 1, 3), np.uint8), 1.0, 640, 480, "0" * 64, "probe.jpg")


def towards(start: Float32, end: Float32, share: float) -> Encodings:
    row = (1 - share) * start + share * end
    return encodings((row / np.linalg.norm(row))[None].astype(np.float32))


@pytest.fixture
def sisters(peopled: Gallery, add_face: AddFace) -> Gallery:
    """A gallery with a sister of "person 00", who looks a little like "person 01" too."""
    rows = peopled.encodings().encodings.vectors
    add_face(peopled.database, "sister", towards(rows[0], rows[3], 0.35), 900)
    return peopled


def answer(gallery: Gallery, share: float) -> Decision:
    """The answer to a face on the way from person 00 (0) to where her sister lies (0.35)."""
    rows = gallery.encodings().encodings.vectors
    return gallery.identifier.decide_face(PHOTO, FACE, towards(rows[0], rows[3], share))


def test_sisters_are_ambiguous_until_they_are_told_apart(sisters: Gallery) -> None:
    before = answer(sisters, 0.0), answer(sisters, 0.35)
    assert [d.outcome for d in before] == [Outcome.AMBIGUOUS] * 2
    sisters.keep_distinct("person 00", "sister")
    after = answer(sisters, 0.0), answer(sisters, 0.35)
    assert [d.identity.name if d.identity else None for d in after] == ["person 00", "sister"]
    for one, other in zip(before, after, strict=True):
        assert [c.verdict for c in one.candidates] == [c.verdict for c in other.candidates]
        assert "which you marked as different people" in other.reason


def test_a_face_between_two_sisters_stays_ambiguous(sisters: Gallery) -> None:
    sisters.keep_distinct("person 00", "sister")
    leads = {share: answer(sisters, share) for share in np.linspace(0.0, 0.35, 15)}
    between = [d for d in leads.values() if d.outcome is Outcome.AMBIGUOUS]
    assert between and all("but not clearly" in d.reason for d in between)


def test_check_does_not_take_people_told_apart_for_one(sisters: Gallery) -> None:
    def message() -> str:
        return next(f.message for f in sisters.check() if f.part == "look-alikes")

    assert "person 00 and sister" in message()
    sisters.keep_distinct("sister", "person 00")
    assert message() == "no two identities match each other, but for those marked as different" + (
        " people"
    )


def test_rates_of_a_photo_and_of_each_face_are_inverse() -> None:
    assert rate_for_any(0.01, 14) == pytest.approx(1 - 0.99**14)
    assert rate_for_any(rate_for_each(0.01, 14), 14) == pytest.approx(0.01)
    assert rate_for_each(0.01, 1) == pytest.approx(0.01)


def test_the_point_for_many_faces_is_stricter(peopled: Gallery) -> None:
    scorer = peopled.scorer
    point = scorer.operating_point()
    biases = [scorer.point_for_faces(point, faces).bias for faces in (1, 2, 14)]
    assert biases[0] == pytest.approx(point.bias) and biases == sorted(set(biases))


def test_size_at_which_a_candidate_would_have_matched(peopled: Gallery) -> None:
    scorer = peopled.scorer
    point = scorer.operating_point()
    size = 9
    short = scorer.point_at_size(point, size).bias - point.bias
    assert short < 0
    found = scorer.larger_half_that_matches(point, short + 1e-6)
    assert found is not None and size <= found < 12
    assert scorer.point_at_size(point, found).bias < point.bias + short + 1e-6
    assert scorer.larger_half_that_matches(point, -100.0) is None


def test_preference_rises_with_the_lead_and_starts_even(peopled: Gallery) -> None:
    point = peopled.scorer.operating_point()
    preferences = [point.preference(lead) for lead in (0.0, 1.0, 5.0, 30.0)]
    assert preferences[0] == 0.5 and preferences == sorted(set(preferences))


def test_nothing_is_preferred_by_a_head_that_saw_no_look_alikes() -> None:
    assert preference_slope(make_head(), strangers(30), np.random.default_rng(0)) == 0.0


def test_leads_are_of_queries_that_match_both(peopled: Gallery) -> None:
    people = enrolled_people(peopled.encodings(), peopled.faces(), 0.99)
    head, rng = peopled.scorer.head, np.random.default_rng(0)
    owners, leads = leads_of_pairs(head, people, 2, -np.inf, rng)
    assert len(owners) == len(leads) == 12 * 8  # one photo left, eight look-alikes
    assert (leads > 0).all()  # these people are nobody's sisters
    assert not len(leads_of_pairs(head, people, 2, np.inf, rng)[1])
    assert not len(leads_of_pairs(head, people, 3, -np.inf, rng)[1])
