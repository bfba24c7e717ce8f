"""`train-head --encoder` as a command: head, cohort and projection for an unknown ONNX model."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from safetensors.torch import load_file

from gallery.config import REENCODE_LOCK
from gallery.gallery import Gallery
from gallery.training.calibrate import fit_and_calibrate
from tests.cli.conftest import Run
from tests.models import write_model

Argument = str | Path


@pytest.fixture
def people(shared_faces: Path, tmp_path: Path) -> Path:
    """Thirty of LFW's train people, two photos each."""
    split = shared_faces / "lfw_protocols" / "split.csv"
    with split.open() as rows:
        train = sorted(row["person"] for row in csv.DictReader(rows) if row["split"] == "train")
    folder = tmp_path / "people"
    for person in train:
        photos = sorted((shared_faces / "lfw" / person).iterdir())[:2]
        if len(photos) == 2:
            (folder / person).mkdir(parents=True)
            for photo in photos:
                (folder / person / photo.name).symlink_to(photo)
        if folder.is_dir() and len(list(folder.iterdir())) == 30:
            return folder
    raise AssertionError("too few train people in LFW")


@pytest.fixture(autouse=True)
def few_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two views per enrolled face, so that encoding is quick."""
    monkeypatch.setenv("GALLERY_VIEWS_ENROLLED", "2")


def test_512_number_model_trains_enrols_and_answers(
    run: Run, home: Path, people: Path, tmp_path: Path, cache: Path, hopper: Path
) -> None:
    model = write_model(tmp_path / "wide.onnx", 512)
    spec = f"onnx:{model}"
    train = ("train-head", "--encoder", spec, people, "--epochs", "1", "--json")
    trained = run(*train)
    assert trained.status == 0, trained.err
    card = trained.line["card"]
    assert card["encoder"]["dimension"] == 512 and card["encoder"]["spec"] == spec
    shares = card["encoder"]["projection"]["known_found_by_cosine_at_fpir_0.01"]
    assert set(shares) == {"native", "pca", "supervised"}
    assert all(Path(file).parent == home and Path(file).exists() for file in trained.line["files"])

    enrolled = run("enroll-identity", "Grace Hopper", hopper, "--encoder", spec, "--json")
    assert enrolled.line["outcome"] == "enrolled"
    decision = run("query", hopper, "--json").line  # the gallery knows its encoder
    assert decision["candidates"][0]["similarity"] > 0.99
    assert decision["candidates"][0]["identity"]["name"] == "Grace Hopper"
    with Gallery.open(home, cache=cache) as gallery:
        before = gallery.pipeline.encoder.weights_sha256
        assert gallery.encodings().encodings.vectors.shape == (1, 128)

    again = run(*train, "--seed", "1", "--force")  # enrolled encodings stay comparable
    assert again.status == 0, again.err
    assert list(again.line["card"]["encoder"]["projection"]) == ["kept"]
    assert run("query", hopper, "--json").line["candidates"][0]["similarity"] > 0.99
    with Gallery.open(home, cache=cache) as gallery:
        assert gallery.pipeline.encoder.weights_sha256 == before
    assert run("check").status == 0
    assert json.loads((home / f"{Path(again.line['files'][1]).name}").read_text())
    assert sorted(home.glob("head-onnx-*.safetensors"))


def projection_of(file: Path) -> str:
    """A fingerprint of the projection in a head file."""
    return str(load_file(file)["projection.matrix"].sum())


def test_home_keeps_its_projection_and_the_better_head(
    run: Run, home: Path, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_model(tmp_path / "wide.onnx", 512)
    train = ("train-head", "--encoder", f"onnx:{model}", people, "--json")
    file = Path(run(*train).line["files"][0])
    first = file.read_bytes(), projection_of(file)
    again = run(*train, "--epochs", "1", "--seed", "1")
    assert (again.status, file.read_bytes()) == (2, first[0]) and "the one in use" in again.err

    elsewhere = run(*train, "--epochs", "1", "--seed", "3", "--out", tmp_path / "out")
    other = tmp_path / "out" / "head.safetensors"
    assert elsewhere.line["files"][0] == str(other) and projection_of(other) != first[1]
    default_head = home / "head.safetensors"
    here = run(*train, "--epochs", "1", "--seed", "1", "--force", "--out", home)
    assert here.line["files"][0] == str(file) and not default_head.exists()
    assert projection_of(file) != first[1]  # nothing is enrolled with it, and --force was given

    before = projection_of(file)
    monkeypatch.setenv("GALLERY_HEAD", str(other))
    kept = run(*train, "--seed", "2")
    assert list(kept.line["card"]["encoder"]["projection"]) == ["kept"]
    assert projection_of(file) == before != projection_of(other)


def test_faces_enrolled_during_training_keep_their_projection(
    run: Run,
    home: Path,
    people: Path,
    tmp_path: Path,
    cache: Path,
    hopper: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = f"onnx:{write_model(tmp_path / 'wide.onnx', 512)}"
    train = ("train-head", "--encoder", spec, people, "--epochs", "1", "--json")
    file = Path(run(*train).line["files"][0])
    first = file.read_bytes()
    again = (*train, "--seed", "1", "--force")

    monkeypatch.setenv("GALLERY_BUSY_TIMEOUT", "0.1")
    with FileLock(home / REENCODE_LOCK):
        busy = run(*again)
    assert (busy.status, file.read_bytes()) == (2, first) and "being re-encoded" in busy.err
    monkeypatch.delenv("GALLERY_BUSY_TIMEOUT")

    def enrol_then_fit(*arguments: Any) -> Any:
        with Gallery.open(home, cache=cache, encoder=spec) as other:
            assert other.enroll("Grace Hopper", hopper).outcome == "enrolled"
        return fit_and_calibrate(*arguments)

    monkeypatch.setattr("gallery.training.train_head.fit_and_calibrate", enrol_then_fit)
    late = run(*again)
    assert (late.status, file.read_bytes()) == (2, first)
    assert "another projection" in late.err and "--out" in late.err
    assert run("query", hopper, "--json").line["candidates"][0]["similarity"] > 0.99


def test_failing_model_is_listed_with_the_reason(run: Run, tmp_path: Path) -> None:
    """A model that opens, and fails on some crops."""
    brightest = (254 - 127.5) / 128
    failing = write_model(tmp_path / "failing.onnx", 64, fails_from=brightest)
    sound = write_model(tmp_path / "sound.onnx", 64)
    ran = run("encoders", "--encoder", f"onnx:{failing}", "--encoder", f"onnx:{sound}", "--json")
    assert ran.status == 0, ran.err
    lines = {line["encoder"]: line for line in ran.lines}
    assert not lines[f"onnx:{failing}"]["usable"]
    assert "the model failed on a chip" in lines[f"onnx:{failing}"]["reason"]
    assert lines[f"onnx:{sound}"]["usable"]
    assert "not usable: the model failed" in run("encoders", "--encoder", f"onnx:{failing}").out
