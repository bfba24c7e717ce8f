"""Training the head: data, sampling, reproducibility, reports and refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gallery import Gallery
from gallery.encoders.protocol import Views
from gallery.errors import NoPeople, PhotoUnreadable, TrainingDataTooSmall
from gallery.matching.head import load_head
from gallery.matching.templates import fuse_templates
from gallery.training.calibrate import (
    TrainedHead,
    fit_and_calibrate,
    operating_curve,
    stranger_margins,
    uncalibrated_head,
)
from gallery.training.choose_recipe import RecipeChoice, choose_recipe
from gallery.training.cleaning import DuplicatePhotos, rows_also_in, without_duplicates
from gallery.training.dataset import people_in
from gallery.training.encode import EncodedPeople, encode_people
from gallery.training.identification import TopCandidates
from gallery.training.model_card import (
    CARD_FILE,
    HEAD_FILE,
    PLOT_FILE,
    model_card,
    source_of,
    write_report,
)
from gallery.training.pairs import PairSampler
from gallery.training.random_galleries import draw_gallery, look_alike_people, sample_per_person
from gallery.training.statistics import balanced_accuracy, interval, most_accurate_threshold
from gallery.training.train import Recipe, cohort_of, halves, train
from gallery.types import Encodings, Float32, Int64
from tests.people import NEAR_IDENTICAL

QUICK = Recipe(hidden=32, epochs=3, networks=2, cohort=30)


def encoded(rows: Float32, owners: Int64) -> EncodedPeople:
    """People with these unit rows, one photo per row."""
    count = len(rows)
    encodings = Encodings(rows, np.full(count, 1.4, np.float32), np.full(count, 0.99, np.float32))
    names = tuple(f"person {i}" for i in range(owners.max() + 1))
    photos = tuple(f"{i}.jpg" for i in range(count))
    return EncodedPeople(encodings, encodings, owners, names, photos, photos, (), NEAR_IDENTICAL)


@pytest.fixture(scope="module")
def people() -> EncodedPeople:
    """160 people with 1 to 6 faces each, scattered around a centre per person."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(160, 128)) + 2.0
    owners = np.repeat(np.arange(160), rng.integers(1, 7, 160))
    rows = centres[owners] + 0.5 * rng.normal(size=(len(owners), 128))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return encoded(rows.astype(np.float32), owners.astype(np.int64))


@pytest.fixture(scope="module")
def trained(people: EncodedPeople) -> TrainedHead:
    return fit_and_calibrate(people, QUICK, ("dlib-resnet", "0" * 64))


def test_no_person_is_both_fitted_and_calibrated_on(
    people: EncodedPeople, trained: TrainedHead
) -> None:
    fitted, held_out = set(trained.fitted.people), set(trained.held_out.people)
    assert not fitted & held_out
    assert fitted | held_out == set(range(160))
    assert len(held_out) == pytest.approx(80, abs=2)


def test_pairs_have_right_targets_and_balanced_weights(people: EncodedPeople) -> None:
    pairs = PairSampler(people).draw(np.random.default_rng(1))
    same = people.people[pairs.first] == people.people[pairs.second]
    np.testing.assert_array_equal(same, pairs.same == 1)
    assert (pairs.first != pairs.second).all()
    totals = [pairs.weights[pairs.same == kind].sum() for kind in (0, 1)]
    assert totals[0] == pytest.approx(totals[1], rel=1e-4)


def test_training_learns_and_is_reproducible(people: EncodedPeople, trained: TrainedHead) -> None:
    again = fit_and_calibrate(people, QUICK, ("dlib-resnet", "0" * 64))
    assert trained.history[-1].training_loss < trained.history[0].training_loss
    assert trained.history[-1].validation_accuracy > 0.8
    assert again.head.sha256 == trained.head.sha256
    assert again.head.metadata.calibration.as_json() == trained.head.metadata.calibration.as_json()
    other = fit_and_calibrate(people, replace(QUICK, seed=1), ("dlib-resnet", "0" * 64))
    assert other.head.sha256 != trained.head.sha256


def test_operating_curve_holds_on_the_pairs_it_was_measured_on(trained: TrainedHead) -> None:
    margins = stranger_margins(trained.head, trained.held_out, np.random.default_rng(0))
    curve = operating_curve(margins)
    for rate in (0.3, 0.05, 0.01):
        assert (margins > curve.margin_at(rate)).mean() == pytest.approx(rate, rel=0.1)
    people = len(set(trained.held_out.people))
    assert len(margins) == 3 * people * (people - 1)


def test_caution_covers_small_galleries_and_is_never_below_one(trained: TrainedHead) -> None:
    caution = trained.head.metadata.calibration.caution
    assert caution.sizes[:4] == (1, 2, 3, 5) and max(caution.sizes) <= 100
    assert min(min(row) for row in caution.factors) >= 1.0
    assert caution.factor(1_000_000, 0.01) == caution.factors[-1][caution.rates.index(0.01)]


def test_clusters_of_look_alikes_part_the_people(people: EncodedPeople) -> None:
    clusters = list(look_alike_people(people, 0))
    templates = fuse_templates(people.people, people.enrolled).encodings.vectors
    mixed = float((templates @ templates.T).mean())
    coarse = clusters[:6]
    assert sorted(p for c in coarse for p in set(c.people)) == sorted(set(people.people))
    for cluster in coarse:
        own = fuse_templates(cluster.people, cluster.enrolled).encodings.vectors
        assert float((own @ own.T).mean()) > mixed


def test_random_gallery_leaves_a_photo_of_each_person_to_query(people: EncodedPeople) -> None:
    drawn = draw_gallery(people, 40, np.random.default_rng(3), photos=3)
    assert len(drawn.templates.identity_ids) == 40
    members = set(drawn.templates.identity_ids.tolist())
    queried = people.people[drawn.probes]
    np.testing.assert_array_equal(drawn.known, np.isin(queried, list(members)))
    photos = np.bincount(people.people)
    for identity, count in zip(
        drawn.templates.identity_ids.tolist(), drawn.templates.photos.tolist(), strict=True
    ):
        assert count == min(3, max(1, photos[identity] - 1))
        assert (queried == identity).sum() == min(5, photos[identity] - count)


def test_sample_per_person_respects_its_limit(people: EncodedPeople) -> None:
    rows = sample_per_person(people.people, 2, np.random.default_rng(4))
    taken, photos = np.bincount(people.people[rows]), np.bincount(people.people)
    np.testing.assert_array_equal(taken, np.minimum(photos, 2))


def test_no_cohort_centre_is_a_real_face(people: EncodedPeople) -> None:
    """Even if one person has most of the photos."""
    rng = np.random.default_rng(5)
    many = people.enrolled.vectors[:1] + 0.001 * rng.normal(size=(300, 128)).astype(np.float32)
    rows = np.concatenate([people.enrolled.vectors, many])
    owners = np.concatenate([people.people, np.full(300, people.people[0])])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    centres = cohort_of(encoded(rows, owners), 60, 0).centres
    assert (centres @ rows.T).max() < 0.98
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1.0, atol=1e-5)


def test_report_is_written_and_the_head_loads(
    people: EncodedPeople, trained: TrainedHead, tmp_path: Path
) -> None:
    folder = tmp_path / "people" / "Ada"
    folder.mkdir(parents=True)
    (folder / "1.jpg").touch()
    card = model_card(
        source_of(people_in(tmp_path / "people")),
        people,
        DuplicatePhotos((), ()),
        trained,
        RecipeChoice(QUICK, "large", {"large": 0.71234, "small": 0.7}),
        {"found": 0.5},
    )
    write_report(tmp_path / "out", trained.head, card, trained.history)
    assert {f.name for f in (tmp_path / "out").iterdir()} == {HEAD_FILE, CARD_FILE, PLOT_FILE}
    loaded = load_head(tmp_path / "out" / HEAD_FILE, "dlib-resnet", "0" * 64)
    assert loaded.metadata.features == QUICK.features and loaded.sha256 == trained.head.sha256
    written = json.loads((tmp_path / "out" / CARD_FILE).read_text())
    assert written["recipe"]["seed"] == 0 and written["head_sha256"] == loaded.sha256
    assert written["known_found_by_recipe_at_fpir_0.01"] == {"large": 0.7123, "small": 0.7}
    assert len(written["history"]) == QUICK.epochs


def test_small_head_has_no_cohort_and_prefers_neither_side(
    people: EncodedPeople, tmp_path: Path
) -> None:
    recipe = Recipe.small(0)
    head = uncalibrated_head(train(people, recipe), recipe, ("dlib-resnet", "0" * 64))
    sides = head.sides(people.enrolled)
    assert np.array_equal(sides[:, 128:130], np.zeros((len(people), 2)))
    assert np.allclose(head.margins(sides[:-1], sides[1:]), head.margins(sides[1:], sides[:-1]))
    same = people.people[:-1] == people.people[1:]
    margins = head.margins(sides[:-1], sides[1:])
    assert margins[same].min() > margins[~same].max()
    file = tmp_path / HEAD_FILE
    head.save(file)
    loaded = load_head(file, "dlib-resnet", "0" * 64)
    assert loaded.sha256 == head.sha256
    assert np.array_equal(loaded.margins(sides[:-1], sides[1:]), margins)


def test_recipe_is_chosen_on_people_that_neither_head_was_fitted_on(people: EncodedPeople) -> None:
    choice = choose_recipe(people, seed=0, epochs=1)
    assert set(choice.found_by_size) == {"large", "small"}
    assert choice.found_by_size[choice.size] == max(choice.found_by_size.values())
    few = people.for_people(np.arange(10))
    assert choose_recipe(few, seed=0).found_by_size == {}


def test_duplicates_within_and_across_people_are_left_out(people: EncodedPeople) -> None:
    rows, owners = people.enrolled.vectors.copy(), people.people
    ada, bob = np.flatnonzero(owners == 3)[0], np.flatnonzero(owners == 9)[0]
    rows[bob] = rows[ada]
    twice = int(np.flatnonzero(np.bincount(owners) >= 2)[-1])
    first, second = np.flatnonzero(owners == twice)[:2]
    rows[second] = rows[first]
    cleaned, duplicates = without_duplicates(encoded(rows, owners))
    assert duplicates.across_people == ((f"{ada}.jpg", f"{bob}.jpg"),)
    assert duplicates.within_person == (f"{second}.jpg",)
    assert not {f"{i}.jpg" for i in (ada, bob, second)} & set(cleaned.photos)
    assert len(cleaned) == len(rows) - 3


def test_rows_also_in_finds_the_shared_pictures(people: EncodedPeople) -> None:
    first, second = people.for_people(np.arange(50)), people.for_people(np.arange(45, 90))
    shared = rows_also_in(first, second)
    np.testing.assert_array_equal(shared, np.flatnonzero(first.people >= 45))


def test_interval_contains_the_share_and_resamples_people() -> None:
    people = np.repeat(np.arange(50), 4)
    hits = np.arange(200) % 5 == 0
    low, high = interval(people, hits, seed=0)
    assert low < 0.2 < high and (low, high) == interval(people, hits, seed=0)
    clustered = np.repeat(np.arange(50) % 5 == 0, 4)  # the same share, all or none of a person's
    wide = interval(people, clustered, seed=0)
    assert wide[1] - wide[0] > 1.5 * (high - low)


def test_perfect_scores_find_everyone() -> None:
    known = np.array([True] * 50 + [False] * 200)
    scores = np.r_[np.full(50, 2.0), np.linspace(0, 1, 200)]
    candidates = TopCandidates(np.arange(250), known, known, scores)
    assert candidates.fpir_at(candidates.threshold_at_fpir(0.1)) == 0.1
    assert candidates.dir_at(candidates.threshold_at_fpir(0.01)) == 1.0


def test_too_few_people_are_refused(people: EncodedPeople) -> None:
    with pytest.raises(TrainingDataTooSmall, match="at least 20"):
        halves(people.for_people(np.arange(10)), seed=0)


def test_split_file_selects_the_people(tmp_path: Path) -> None:
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
    (tmp_path / "split.csv").write_text("name,part\nAda,train\n")
    with pytest.raises(NoPeople, match="columns"):
        people_in(root, "train")
    with pytest.raises(PhotoUnreadable):
        people_in(tmp_path / "nowhere")


def test_folder_of_folders_is_not_one_person(tmp_path: Path) -> None:
    for name in ("Ada", "Bob"):
        (tmp_path / "year" / "2024" / name).mkdir(parents=True)
        (tmp_path / "year" / "2024" / name / "1.jpg").touch()
    with pytest.raises(NoPeople):
        people_in(tmp_path / "year")
    assert list(people_in(tmp_path / "year" / "2024").people) == ["Ada", "Bob"]


def test_cached_encodings_follow_changed_files(
    tmp_path: Path, gallery: Gallery, hopper: Path, collins: Path, no_one: list[Path]
) -> None:
    root = tmp_path / "people"
    for name, photo in (("Grace", hopper), ("Eileen", collins), ("Cat", no_one[0])):
        (root / name).mkdir(parents=True)
        (root / name / photo.name).write_bytes(photo.read_bytes())
    cache = tmp_path / "cache"
    first = encode_people(people_in(root), gallery.pipeline, Views(2, 10), cache)
    assert (len(first), len(first.skipped)) == (2, 1)
    (file,) = (cache / "encodings").glob("*.npz")
    before = file.stat().st_mtime_ns
    again = encode_people(people_in(root), gallery.pipeline, Views(2, 10), cache)
    np.testing.assert_array_equal(first.probes.vectors, again.probes.vectors)
    assert file.stat().st_mtime_ns == before
    (root / "Grace" / hopper.name).write_bytes(collins.read_bytes())
    changed = encode_people(people_in(root), gallery.pipeline, Views(2, 10), cache)
    np.testing.assert_allclose(changed.enrolled.vectors[0], changed.enrolled.vectors[1], atol=1e-6)


def test_most_accurate_threshold_agrees_with_exhaustive_search() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.5])
    same = np.array([1, 1, 0, 1, 0, 0])
    best = most_accurate_threshold(scores, same)
    exhaustive = max(balanced_accuracy(scores >= t, same) for t in scores)
    assert best.accuracy == pytest.approx(exhaustive)
    assert balanced_accuracy(scores >= best.value, same) == pytest.approx(exhaustive)
