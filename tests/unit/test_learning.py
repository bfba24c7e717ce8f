"""Learning the head: who is learned from, what is drawn, what comes out, and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gallery import Gallery
from gallery.errors import NoPeople, PhotoUnreadable, TrainingDataTooSmall
from gallery.head import Head, HeadMarks, load_head
from gallery.learning.calibration import impostor_margins, operating_curve
from gallery.learning.encoded import EncodedPeople, encode_people
from gallery.learning.pairs import PairSampler
from gallery.learning.people import people_in
from gallery.learning.report import CARD_FILE, HEAD_FILE, PLOT_FILE, model_card, write_report
from gallery.learning.roc import balanced_accuracy, most_accurate_threshold
from gallery.learning.training import Recipe, divide, train

QUICK = Recipe(hidden=32, epochs=3)


@pytest.fixture(scope="module")
def people() -> EncodedPeople:
    """120 people of 1 to 6 faces, scattered round a centre each, as encodings are."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(120, 128)) + 2.0
    owners = np.repeat(np.arange(120), rng.integers(1, 7, 120))
    rows = centres[owners] + 0.5 * rng.normal(size=(len(owners), 128))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    names = tuple(f"person {i}" for i in range(120))
    return EncodedPeople(rows.astype(np.float32), owners.astype(np.int64), names, ())


def test_no_one_is_both_fitted_and_held_out(people: EncodedPeople) -> None:
    halves = divide(people, seed=0)
    fitted, held_out = set(halves.fitted.people), set(halves.held_out.people)
    assert not fitted & held_out
    assert fitted | held_out == set(range(120))
    assert len(held_out) == pytest.approx(36, abs=2)


def test_pairs_are_what_they_say(people: EncodedPeople) -> None:
    pairs = PairSampler(people).draw(np.random.default_rng(1))
    same = people.people[pairs.first] == people.people[pairs.second]
    np.testing.assert_array_equal(same, pairs.same == 1)
    assert (pairs.first != pairs.second).all()
    totals = [pairs.weights[pairs.same == kind].sum() for kind in (0, 1)]
    assert totals[0] == pytest.approx(totals[1], rel=1e-4)


def test_training_learns_and_is_repeatable(people: EncodedPeople) -> None:
    halves = divide(people, seed=0)
    network, history = train(halves, QUICK)
    again, _ = train(halves, QUICK)
    assert history[-1].training_loss < history[0].training_loss
    assert history[-1].validation_accuracy > 0.8
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), again.state_dict()[name].numpy())
    other, _ = train(halves, Recipe(hidden=32, epochs=3, seed=1))
    assert not np.array_equal(other.dense.weight.detach(), network.dense.weight.detach())


def test_the_curve_holds_on_the_pairs_it_was_measured_on(people: EncodedPeople) -> None:
    halves = divide(people, seed=0)
    network, _ = train(halves, QUICK)
    curve = operating_curve(network, halves.held_out)
    margins = impostor_margins(network, halves.held_out)
    for rate in (0.05, 0.01):
        margin = curve.margin_at(rate)
        assert (margins > margin).mean() <= rate * 1.1
    owners = halves.held_out.people
    assert len(margins) == (owners[:, None] != owners[None]).sum() / 2


def test_the_report_is_written_and_the_head_loads(
    people: EncodedPeople, tmp_path: Path, gallery: Gallery
) -> None:
    halves = divide(people, seed=0)
    network, history = train(halves, QUICK)
    marks = HeadMarks(
        "dlib-resnet",
        "0" * 64,
        QUICK.features,
        QUICK.hidden,
        operating_curve(network, halves.held_out),
    )
    head = Head(network, marks)
    folder = tmp_path / "people" / "Ada"
    folder.mkdir(parents=True)
    (folder / "1.jpg").touch()
    card = model_card(people_in(tmp_path / "people"), people, halves, QUICK, history, head)
    write_report(tmp_path / "out", head, card, history)
    assert {f.name for f in (tmp_path / "out").iterdir()} == {HEAD_FILE, CARD_FILE, PLOT_FILE}
    loaded = load_head(tmp_path / "out" / HEAD_FILE, "dlib-resnet", "0" * 64)
    assert loaded.marks.features == QUICK.features
    kept = json.loads((tmp_path / "out" / CARD_FILE).read_text())
    assert kept["recipe"]["seed"] == 0
    assert len(kept["history"]) == QUICK.epochs


def test_too_few_people_are_refused(people: EncodedPeople) -> None:
    with pytest.raises(TrainingDataTooSmall, match="at least 20"):
        divide(people.of(np.arange(10)), seed=0)


def test_a_split_file_decides_who_is_learned_from(tmp_path: Path) -> None:
    root = tmp_path / "people"
    for name in ("Ada", "Bob", "Cyd"):
        (root / name).mkdir(parents=True)
        (root / name / "1.jpg").touch()
    (root / "Empty").mkdir()
    assert list(people_in(root, "train").people) == ["Ada", "Bob", "Cyd"]
    (tmp_path / "split.csv").write_text("person,split\nAda,train\nBob,test\n")
    assert list(people_in(root, "train").people) == ["Ada"]
    assert list(people_in(root, "test").people) == ["Bob"]
    assert list(people_in(root).people) == ["Ada", "Bob", "Cyd"]
    (tmp_path / "split.csv").write_text("who,where\nAda,train\n")
    with pytest.raises(NoPeople, match="columns"):
        people_in(root, "train")
    with pytest.raises(PhotoUnreadable):
        people_in(tmp_path / "nowhere")


def test_a_folder_of_folders_is_not_one_person(tmp_path: Path) -> None:
    for name in ("Ada", "Bob"):
        (tmp_path / "year" / "2024" / name).mkdir(parents=True)
        (tmp_path / "year" / "2024" / name / "1.jpg").touch()
    with pytest.raises(NoPeople):
        people_in(tmp_path / "year")
    assert list(people_in(tmp_path / "year" / "2024").people) == ["Ada", "Bob"]


def test_encodings_of_a_folder_are_cached_and_follow_its_files(
    tmp_path: Path, gallery: Gallery, hopper: Path, collins: Path, no_one: list[Path]
) -> None:
    root = tmp_path / "people"
    for name, photo in (("Grace", hopper), ("Eileen", collins), ("Cat", no_one[0])):
        (root / name).mkdir(parents=True)
        (root / name / photo.name).write_bytes(photo.read_bytes())
    cache = tmp_path / "cache"
    first = encode_people(people_in(root), gallery.eye, 2, cache)
    assert (len(first.vectors), len(first.skipped)) == (2, 1)
    (file,) = (cache / "encodings").iterdir()
    before = file.stat().st_mtime_ns
    again = encode_people(people_in(root), gallery.eye, 2, cache)
    np.testing.assert_array_equal(first.vectors, again.vectors)
    assert file.stat().st_mtime_ns == before
    (root / "Grace" / hopper.name).write_bytes(collins.read_bytes())
    changed = encode_people(people_in(root), gallery.eye, 2, cache)
    np.testing.assert_allclose(changed.vectors[0], changed.vectors[1], atol=1e-6)


def test_the_most_accurate_threshold_is_found() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.5])
    same = np.array([1, 1, 0, 1, 0, 0])
    best = most_accurate_threshold(scores, same)
    exhaustive = max(balanced_accuracy(scores >= t, same) for t in scores)
    assert best.accuracy == pytest.approx(exhaustive)
    assert balanced_accuracy(scores >= best.value, same) == pytest.approx(exhaustive)
