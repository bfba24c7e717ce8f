"""Calibration on the gallery's own people: refusals, versions, effect; look-alikes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gallery import Gallery
from gallery.errors import CalibrationNotFound, TrainingDataTooSmall
from gallery.matching.lookalikes import is_unlike, look_alikes
from gallery.training.calibrate_gallery import fit_calibration, not_enrolled
from gallery.training.encode import enrolled_people
from gallery.types import Encodings
from tests.conftest import AddFace
from tests.people import NEAR_IDENTICAL, encodings, rows_of, strangers


def test_calibrations_are_versioned_and_can_be_rolled_back(peopled: Gallery) -> None:
    scorer = peopled.scorer
    before = scorer.operating_point()
    fitted = fit_calibration(scorer.head, before, peopled.encodings(), strangers(80), seed=0)
    evidence = fitted.evidence.as_json()
    first = peopled.keep_calibration(fitted.adjustment.as_json(), fitted.report, evidence)
    assert scorer.operating_point().bias == pytest.approx(fitted.report["after"]["bias"])
    assert scorer.operating_point().bias != before.bias
    second = peopled.keep_calibration(
        fitted.adjustment.as_json() | {"offset": fitted.adjustment.offset + 5.0},
        fitted.report,
        evidence,
    )
    assert scorer.operating_point().bias == pytest.approx(fitted.report["after"]["bias"] + 5.0)
    peopled.use_calibration(first)
    assert scorer.operating_point().bias == pytest.approx(fitted.report["after"]["bias"])
    peopled.use_calibration(0)
    assert scorer.operating_point() == before
    assert [c.id for c in peopled.calibrations()] == [first, second]
    with pytest.raises(CalibrationNotFound, match=rf"no calibration 77 .* {first}, {second}"):
        peopled.use_calibration(77)


def test_report_has_shares_with_intervals_and_no_names(peopled: Gallery) -> None:
    scorer = peopled.scorer
    report = fit_calibration(
        scorer.head, scorer.operating_point(), peopled.encodings(), strangers(80), seed=0
    ).report
    for when in ("before", "after"):
        for share in ("strangers_named", "known_found"):
            low, high = report[when][f"{share}_interval"]
            assert 0.0 <= low <= report[when][share] <= high <= 1.0
    assert "person" not in str(report["before"]) + str(report["after"])


@pytest.mark.parametrize(
    ("people", "message"),
    [(12, "18 more are needed.*38 more"), (40, "40 photos .*10 more are needed")],
)
def test_too_few_strangers_are_refused(peopled: Gallery, people: int, message: str) -> None:
    with pytest.raises(TrainingDataTooSmall, match=message):
        fit_calibration(
            peopled.scorer.head,
            peopled.scorer.operating_point(),
            peopled.encodings(),
            strangers(people),
            seed=0,
        )


def test_identities_with_one_photo_are_refused(gallery: Gallery, add_face: AddFace) -> None:
    rows = encodings(rows_of(8, 1, 1))
    for i in range(8):
        add_face(gallery.database, f"person {i}", rows.row(i), i)
    with pytest.raises(TrainingDataTooSmall, match=r"0 identities with two .* 5 more are needed"):
        fit_calibration(
            gallery.scorer.head,
            gallery.scorer.operating_point(),
            gallery.encodings(),
            strangers(80),
            seed=0,
        )


def test_enrolled_strangers_are_detected_by_file_and_by_encoding(peopled: Gallery) -> None:
    stored, people = peopled.encodings(), strangers(60)
    rows = people.enrolled.vectors.copy()
    rows[5] = stored.encodings.vectors[7]
    faces = encodings(rows)
    people = replace(people, probes=faces, enrolled=faces)
    fresh = not_enrolled(people, stored, {people.sha256[11]})
    assert np.flatnonzero(~fresh).tolist() == [5, 11]


def test_photo_unlike_the_others_is_recognised(peopled: Gallery) -> None:
    stored = peopled.encodings().encodings
    own, other = stored.take(np.arange(1, 3)), stored.take(np.arange(3, 6))
    assert not is_unlike(peopled.scorer, stored.row(0), own)
    assert is_unlike(peopled.scorer, stored.row(0), other)
    assert not is_unlike(peopled.scorer, stored.row(0), Encodings.none())


def test_look_alikes_are_reported_by_name(peopled: Gallery, add_face: AddFace) -> None:
    scorer, stored = peopled.scorer, peopled.encodings()
    assert look_alikes(stored, scorer, scorer.operating_point()) == []
    face = stored.encodings.vectors[0] + 0.005
    twin = encodings((face / np.linalg.norm(face))[None].astype(np.float32))
    add_face(peopled.database, "twin", twin, 900)
    (pair,) = look_alikes(peopled.encodings(), scorer, scorer.operating_point())
    names = {record.id: record.name for record in peopled.identities()}
    assert {names[pair.first], names[pair.second]} == {"person 00", "twin"}
    (message,) = [f.message for f in peopled.check() if f.part == "look-alikes"]
    assert message.startswith("person 00 and twin")


def test_gallery_faces_become_training_people(peopled: Gallery) -> None:
    people = enrolled_people(peopled.encodings(), peopled.faces(), NEAR_IDENTICAL)
    assert len(people) == 36 and people.names[0] == "person 00"
    assert np.bincount(people.people).tolist() == [3] * 12
