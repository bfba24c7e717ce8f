"""A head, a cohort and a projection for a model nobody has seen, with one command."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from safetensors.torch import load_file

from gallery.cli.main import main
from gallery.gallery import Gallery
from gallery.runtime import REENCODE_LOCK
from gallery.training.calibrate import fit_and_calibrate
from tests.cli.conftest import Ran, Run
from tests.models import made_model

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
    raise AssertionError("LFW has more people")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def run(
    home: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Run `gallery --home HOME ...` with networks of its own."""
    monkeypatch.setenv("GALLERY_CACHE", str(cache))
    monkeypatch.setenv("GALLERY_VIEWS_ENROLLED", "2")

    def run(*arguments: Argument) -> Ran:
        given = ["gallery", "--home", str(home), *map(str, arguments)]
        monkeypatch.setattr("sys.argv", given)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err
        return Ran(int(ended.value.code or 0), printed.out, printed.err)

    return run


def test_a_model_of_512_numbers_from_nothing_to_an_answer(
    run: Run, home: Path, people: Path, tmp_path: Path, cache: Path, hopper: Path
) -> None:
    model = made_model(tmp_path / "wide.onnx", 512)
    spec = f"onnx:{model}"
    train = ("train-head", "--encoder", spec, people, "--epochs", "1", "--json")
    taught = run(*train)
    assert taught.status == 0, taught.err
    card = taught.line["card"]
    assert card["encoder"]["dimension"] == 512 and card["encoder"]["spec"] == spec
    shares = card["encoder"]["projection"]["known_found_by_cosine_at_fpir_0.01"]
    assert set(shares) == {"native", "pca", "supervised"}
    assert all(Path(file).parent == home and Path(file).exists() for file in taught.line["files"])

    enrolled = run("enroll-identity", "Grace Hopper", hopper, "--encoder", spec, "--json")
    assert enrolled.line["outcome"] == "enrolled"
    asked = run("query", hopper, "--json").line  # the gallery knows its encoder
    assert asked["candidates"][0]["similarity"] > 0.99
    assert asked["candidates"][0]["identity"]["name"] == "Grace Hopper"
    with Gallery.open(home, cache=cache) as gallery:
        before = gallery.pipeline.encoder.weights_sha256
        assert gallery.encodings().encodings.vectors.shape == (1, 128)

    again = run(*train, "--seed", "1", "--force")  # what is enrolled stays comparable
    assert again.status == 0, again.err
    assert list(again.line["card"]["encoder"]["projection"]) == ["kept"]
    assert run("query", hopper, "--json").line["candidates"][0]["similarity"] > 0.99
    with Gallery.open(home, cache=cache) as gallery:
        assert gallery.pipeline.encoder.weights_sha256 == before
    assert run("check").status == 0
    assert json.loads((home / f"{Path(again.line['files'][1]).name}").read_text())
    assert sorted(home.glob("head-onnx-*.safetensors"))


def projection_of(file: Path) -> str:
    head = load_file(file)
    return str(head["projection.matrix"].sum())


def test_a_projection_at_home_stays_and_so_does_a_better_head(
    run: Run, home: Path, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = made_model(tmp_path / "wide.onnx", 512)
    train = ("train-head", "--encoder", f"onnx:{model}", people, "--json")
    file = Path(run(*train).line["files"][0])
    first = file.read_bytes(), projection_of(file)
    again = run(*train, "--epochs", "1", "--seed", "1")
    assert (again.status, file.read_bytes()) == (2, first[0]) and "the one in use" in again.err

    elsewhere = run(*train, "--epochs", "1", "--seed", "3", "--out", tmp_path / "out")
    named = tmp_path / "out" / "head.safetensors"
    assert elsewhere.line["files"][0] == str(named) and projection_of(named) != first[1]
    dlibs = home / "head.safetensors"
    here = run(*train, "--epochs", "1", "--seed", "1", "--force", "--out", home)
    assert here.line["files"][0] == str(file) and not dlibs.exists()
    assert projection_of(file) != first[1]  # nothing was made with it, and it was forced

    with_it = projection_of(file)
    monkeypatch.setenv("GALLERY_HEAD", str(named))
    kept = run(*train, "--seed", "2")
    assert list(kept.line["card"]["encoder"]["projection"]) == ["kept"]
    assert projection_of(file) == with_it != projection_of(named)


def test_what_was_enrolled_while_it_learned_keeps_its_projection(
    run: Run,
    home: Path,
    people: Path,
    tmp_path: Path,
    cache: Path,
    hopper: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = f"onnx:{made_model(tmp_path / 'wide.onnx', 512)}"
    train = ("train-head", "--encoder", spec, people, "--epochs", "1", "--json")
    file = Path(run(*train).line["files"][0])
    first = file.read_bytes()
    anew = (*train, "--seed", "1", "--force")

    monkeypatch.setenv("GALLERY_BUSY_TIMEOUT", "0.1")
    with FileLock(home / REENCODE_LOCK):
        busy = run(*anew)
    assert (busy.status, file.read_bytes()) == (2, first) and "being re-encoded" in busy.err
    monkeypatch.delenv("GALLERY_BUSY_TIMEOUT")

    def learned(*arguments: Any) -> Any:
        with Gallery.open(home, cache=cache, encoder=spec) as other:
            assert other.enroll("Grace Hopper", hopper).outcome == "enrolled"
        return fit_and_calibrate(*arguments)

    monkeypatch.setattr("gallery.training.train_head.fit_and_calibrate", learned)
    late = run(*anew)
    assert (late.status, file.read_bytes()) == (2, first)
    assert "another projection" in late.err and "--out" in late.err
    assert run("query", hopper, "--json").line["candidates"][0]["similarity"] > 0.99


def test_a_model_that_fails_is_listed_with_the_reason(run: Run, tmp_path: Path) -> None:
    """One that is opened well, and fails on some chips."""
    brightest = (254 - 127.5) / 128
    failing = made_model(tmp_path / "failing.onnx", 64, fails_from=brightest)
    sound = made_model(tmp_path / "sound.onnx", 64)
    ran = run("encoders", "--encoder", f"onnx:{failing}", "--encoder", f"onnx:{sound}", "--json")
    assert ran.status == 0, ran.err
    found = {line["encoder"]: line for line in ran.lines}
    assert not found[f"onnx:{failing}"]["usable"]
    assert "the model failed on a chip" in found[f"onnx:{failing}"]["reason"]
    assert found[f"onnx:{sound}"]["usable"]
    assert "not usable: the model failed" in run("encoders", "--encoder", f"onnx:{failing}").out
