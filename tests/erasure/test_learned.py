"""What was learned from an erased person is dropped, or learned again without them."""

from __future__ import annotations

import json

import pytest

from gallery.errors import (
    DatabaseBusy,
)
from gallery.gallery import Gallery
from gallery.matching.recalibration import Evidence
from gallery.package_data import CARD_FILE, HEAD_FILE, PLOT_FILE, shipped_file
from gallery.store import faces
from gallery.training.calibrate_gallery import fit_calibration
from tests.people import strangers

# Learned


def test_calibration_is_fitted_again_without_the_person(peopled: Gallery) -> None:
    scorer = peopled.scorer
    fitted = fit_calibration(
        scorer.head, scorer.operating_point(), peopled.encodings(), strangers(80), seed=0
    )
    number = peopled.keep_calibration(
        fitted.adjustment.as_json(), fitted.report, fitted.evidence.as_json()
    )
    receipt = peopled.forget("person 03")
    (message,) = receipt.learned
    assert message.startswith(f"calibration {number}: fitted again without them, as calibration")
    (refitted,) = peopled.calibrations()
    assert refitted.in_use and refitted.id != number and refitted.report["identities"] == 11
    evidence = Evidence.from_json(refitted.evidence or {})
    assert receipt.identity_id not in evidence.identities
    # It equals a calibration on the same strangers without that person.
    other = fit_calibration(
        scorer.head,
        scorer.uncalibrated_operating_point(),
        peopled.encodings(),
        strangers(80),
        seed=0,
    )
    assert scorer.operating_point().bias == pytest.approx(other.report["after"]["bias"], abs=1e-3)


def test_calibration_without_evidence_is_dropped(peopled: Gallery) -> None:
    before = peopled.scorer.operating_point()
    peopled.keep_calibration({**before.adjustment.as_json(), "offset": 3.0}, {}, None)  # type: ignore[arg-type]
    (message,) = peopled.forget("person 03").learned
    assert "dropped" in message and "gallery calibrate" in message
    assert peopled.calibrations() == []
    assert peopled.scorer.operating_point() == peopled.scorer.uncalibrated_operating_point()


@pytest.mark.parametrize(
    ("source", "is_dropped"),
    [
        ({"folder": "", "newest_face_id": 4}, True),
        ({"folder": ""}, True),
        ({"folder": "", "newest_face_id": 0}, False),
        ({"folder": "lfw", "part": "train"}, False),
    ],
)
def test_head_trained_on_the_person_is_dropped(
    people: Gallery, source: dict[str, object], is_dropped: bool
) -> None:
    home = people.settings.home
    (home / HEAD_FILE).write_bytes(shipped_file(f"dlib-resnet/{HEAD_FILE}").read_bytes())
    (home / PLOT_FILE).write_bytes(b"a plot")
    (home / CARD_FILE).write_text(json.dumps({"source": source}))
    scorer = people.scorer
    receipt = people.forget("Ada Lovelace")
    assert (people.scorer is scorer) is not is_dropped  # an open gallery stops using it
    for name in (HEAD_FILE, CARD_FILE, PLOT_FILE):
        assert (home / name).exists() is not is_dropped
    assert bool(receipt.learned) is is_dropped


def test_blocked_erasure_keeps_the_refitted_calibration(peopled: Gallery) -> None:
    scorer = peopled.scorer
    fitted = fit_calibration(
        scorer.head, scorer.operating_point(), peopled.encodings(), strangers(80), seed=0
    )
    peopled.keep_calibration(fitted.adjustment.as_json(), fitted.report, fitted.evidence.as_json())
    home, cache = peopled.settings.home, peopled.settings.cache
    with (
        Gallery.open(home, cache=cache, busy_timeout=0.05) as impatient,
        peopled.database.reading() as session,
    ):
        faces.count(session)
        with pytest.raises(DatabaseBusy):
            impatient.forget("person 03")
    (refitted,) = peopled.calibrations()
    assert refitted.in_use and refitted.report["fitted_again_without"] == 1
