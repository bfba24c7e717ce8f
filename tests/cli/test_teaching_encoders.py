"""A head, a cohort and a projection for a model nobody has seen, with one command."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from gallery.assembly import Gallery
from gallery.cli import main
from tests.cli.conftest import Ran
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


def test_a_model_of_512_numbers_from_nothing_to_an_answer(
    people: Path,
    tmp_path: Path,
    cache: Path,
    hopper: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GALLERY_CACHE", str(cache))
    monkeypatch.setenv("GALLERY_VIEWS_ENROLLED", "2")
    model = made_model(tmp_path / "wide.onnx", 512)
    home = tmp_path / "home"

    def run(*arguments: Argument) -> Ran:
        given = ["gallery", "--home", str(home), *map(str, arguments)]
        monkeypatch.setattr("sys.argv", given)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err
        return Ran(int(ended.value.code or 0), printed.out, printed.err)

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
        before = gallery.eye.encoder.weights_sha256
        assert gallery.encodings().encodings.vectors.shape == (1, 128)

    again = run(*train, "--seed", "1", "--force")  # what is enrolled stays comparable
    assert again.status == 0, again.err
    assert list(again.line["card"]["encoder"]["projection"]) == ["kept"]
    assert run("query", hopper, "--json").line["candidates"][0]["similarity"] > 0.99
    with Gallery.open(home, cache=cache) as gallery:
        assert gallery.eye.encoder.weights_sha256 == before
    assert run("check").status == 0
    assert json.loads((home / f"{Path(again.line['files'][1]).name}").read_text())
    assert sorted(home.glob("head-onnx-*.safetensors"))
