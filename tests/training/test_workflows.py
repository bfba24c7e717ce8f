"""The workflows called from Python with a progress callback."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gallery import Gallery
from gallery.errors import SettingInvalid, TrainingDataTooSmall
from gallery.evaluation import evaluate
from gallery.evaluation.evaluate import evaluate_dedupe, evaluate_promise, fit_grouping_marks
from gallery.training import calibrate_gallery as calibration
from gallery.training.calibrate_gallery import calibrate_gallery
from gallery.training.encode import EncodedPeople
from gallery.training.train_head import train_head
from tests.conftest import AddFace
from tests.people import encodings, rows_of


class Recorder:
    """A progress callback that records its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int]] = []

    def __call__(self, step: str, done: int, total: int) -> None:
        assert 0 <= done <= total
        self.calls.append((step, done, total))

    @property
    def steps(self) -> list[str]:
        return list(dict.fromkeys(step for step, _, _ in self.calls))


def made_people(count: int, photos: int, seed: int) -> EncodedPeople:
    """`count` people with `photos` photos each."""
    faces = encodings(rows_of(count, photos, seed, spread=0.03))
    people = np.repeat(np.arange(count), photos)
    names = tuple(f"person {i}" for i in range(count))
    files = tuple(f"{seed}-{i}.jpg" for i in range(len(people)))
    return EncodedPeople(faces, faces, people, names, files, files, (), None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one person and one empty file; each test replaces its encodings."""
    photo = tmp_path / "people" / "Ada" / "1.jpg"
    photo.parent.mkdir(parents=True)
    photo.touch()
    return photo.parent.parent


def test_train_head_on_the_gallerys_own_faces(
    gallery: Gallery, add_face: AddFace, tmp_path: Path
) -> None:
    rows = encodings(rows_of(40, 3, 1))
    for i in range(len(rows)):
        add_face(gallery.database, f"person {i // 3:02}", rows.row(i), i)
    progress = Recorder()
    report = train_head(gallery, out=tmp_path / "head", epochs=1, force=True, progress=progress)
    assert [file.name for file in report.files] == [
        "head.safetensors",
        "head.json",
        "head-training.png",
    ]
    assert json.loads(report.files[1].read_text())["source"]["people"] == 40
    assert report.card["figures_on_calibration_people"] == report.figures.as_json()
    assert progress.steps == ["projection", "choosing a recipe", "training"]
    assert progress.calls[-1] == ("training", 3, 3)


def test_evaluate_promise_on_a_folder(
    gallery: Gallery, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "encode_folder", lambda *_, **__: made_people(30, 3, 2))
    progress = Recorder()
    report = evaluate_promise(gallery, folder, progress=progress)
    assert report["people"] == 30 and report["head_sha256"] == gallery.scorer.head.sha256
    assert {row["gallery"] for row in report["galleries"]} == {10}
    assert progress.steps == ["galleries"] and progress.calls[-1] == ("galleries", 1, 1)


def test_evaluate_dedupe_with_fitted_marks_and_swapped_parts(
    gallery: Gallery, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingInvalid, match=r"no split\.csv"):
        fit_grouping_marks(gallery, folder)
    (folder / "split.csv").write_text("person,split\nAda,train\nAda,test\n")
    people = made_people(60, 3, 2)
    people.people[:30:3] += 1  # with no wrong groups there is no probability to fit
    monkeypatch.setattr(evaluate, "encode_folder", lambda *_, **__: people)
    progress = Recorder()
    marks = fit_grouping_marks(gallery, folder, progress=progress)
    report = evaluate_dedupe(gallery, folder, marks=marks, swap=True, progress=progress)
    assert [row["on"] for row in report["test"]] == ["alone", "with 60 distractors"]
    assert [row["on"] for row in report["swapped"]] == ["alone", "with 60 distractors"]
    assert progress.steps == ["fitting", "swapped"]


def test_encoding_reports_its_progress(
    gallery: Gallery, tmp_path: Path, hopper: Path, collins: Path
) -> None:
    for name, photo in (("Grace", hopper), ("Eileen", collins)):
        (tmp_path / "people" / name).mkdir(parents=True)
        (tmp_path / "people" / name / photo.name).symlink_to(photo)
    progress = Recorder()
    with pytest.raises(TrainingDataTooSmall, match="at least 20"):
        train_head(gallery, tmp_path / "people", out=tmp_path / "head", progress=progress)
    assert progress.calls[-3:-1] == [("encoding", 2, 2), ("projection", 0, 1)]


def test_calibrate_gallery_keeps_its_calibration(
    peopled: Gallery,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calibration, "encode_folder", lambda *_, **__: made_people(80, 1, 9))
    progress = Recorder()
    run = calibrate_gallery(peopled, folder, progress=progress)
    (kept,) = peopled.calibrations()
    assert kept.id == run.version and kept.in_use
    assert kept.report == run.calibration.report and run.already_enrolled == ()
    assert progress.calls == [("calibrating", 0, 1), ("calibrating", 1, 1)]


def test_too_few_strangers_names_the_enrolled_photos_left_out(
    peopled: Gallery,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    strangers = made_people(40, 1, 9)
    (enrolled, *_) = peopled.faces()
    strangers = EncodedPeople(
        strangers.probes,
        strangers.enrolled,
        strangers.people,
        strangers.names,
        strangers.photos,
        (enrolled.photo_sha256, *strangers.sha256[1:]),
        (),
        None,
    )
    monkeypatch.setattr(calibration, "encode_folder", lambda *_, **__: strangers)
    with pytest.raises(
        TrainingDataTooSmall, match=r"more are needed.* enrolled: 1, such as 9-0\.jpg"
    ):
        calibrate_gallery(peopled, folder)
    assert peopled.calibrations() == []
