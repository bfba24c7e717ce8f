"""A new gallery with mobilefacenet, and an old one that moves to it and back."""

from __future__ import annotations

import shutil
from itertools import islice
from pathlib import Path

import pytest

from gallery.config import default_cache
from gallery.encoders.weights import MOBILEFACENET, cached_file
from tests.cli.conftest import Cli


@pytest.fixture
def fetched(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The weights are in the cache."""
    weights = cached_file(default_cache(), MOBILEFACENET)
    if not weights.is_file():
        pytest.skip("mobilefacenet's weights are not on this machine: make weights")
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / weights.name).write_bytes(weights.read_bytes())
    monkeypatch.setenv("GALLERY_CACHE", str(cache))
    return cli


def findings(cli: Cli) -> dict[str, str]:
    return {line["part"]: line["said"] for line in cli("check", "--json").lines}


def test_new_gallery_takes_mobilefacenet_and_answers(
    fetched: Cli, hopper: Path, collins: Path
) -> None:
    enrolled = fetched("enroll-identity", "Grace Hopper", hopper)
    assert enrolled.status == 0 and "fetch" not in enrolled.err
    assert findings(fetched)["encoder"].startswith("mobilefacenet")
    found = fetched("query", hopper, "--json").line
    assert (found["outcome"], found["identity"]["name"]) == ("match", "Grace Hopper")
    assert fetched("query", collins, "--json").line["outcome"] == "unknown"


def test_without_the_weights_a_new_gallery_says_what_is_better_and_how_to_get_it(
    cli: Cli, hopper: Path, collins: Path
) -> None:
    hint = "gallery encoders --fetch mobilefacenet"
    first = cli("enroll-identity", "Grace Hopper", hopper)
    assert first.status == 0 and hint in first.err
    assert hint not in cli("enroll-identity", "Eileen Collins", collins).err  # too late
    encoder = findings(cli)["encoder"]
    assert encoder.startswith("dlib-resnet") and hint in encoder
    refused = cli("--encoder", "mobilefacenet", "query", hopper)
    assert refused.status == 2 and "re-encode --encoder mobilefacenet" in refused.err


def test_old_gallery_moves_over_and_back(fetched: Cli, hopper: Path, collins: Path) -> None:
    for name, photo in (("Grace Hopper", hopper), ("Eileen Collins", collins)):
        assert fetched("--encoder", "dlib-resnet", "enroll-identity", name, photo).status == 0
    before = [fetched("query", photo, "--json").line for photo in (hopper, collins)]
    assert findings(fetched)["encoder"].startswith("dlib-resnet")
    assert fetched("re-encode", "--encoder", "mobilefacenet").status == 0
    assert findings(fetched)["encoder"].startswith("mobilefacenet")
    for photo, name in ((hopper, "Grace Hopper"), (collins, "Eileen Collins")):
        assert fetched("query", photo, "--json").line["identity"]["name"] == name
    assert fetched("re-encode", "--rollback").status == 0
    assert [fetched("query", photo, "--json").line for photo in (hopper, collins)] == before


def test_archive_of_a_gallery_with_another_built_in_encoder_is_imported(
    fetched: Cli, hopper: Path, tmp_path: Path
) -> None:
    fetched("--encoder", "dlib-resnet", "enroll-identity", "Grace Hopper", hopper)
    archive = tmp_path / "faces.npz"
    assert fetched("export", archive).status == 0
    fetched.home = tmp_path / "other"
    assert fetched("import", archive).status == 0
    assert findings(fetched)["encoder"].startswith("dlib-resnet")
    assert fetched("query", hopper, "--json").line["identity"]["name"] == "Grace Hopper"


def test_damaged_weights_are_a_finding(fetched: Cli, tmp_path: Path) -> None:
    assert "MIT" in findings(fetched)["weights mobilefacenet"]
    weights = cached_file(tmp_path / "cache", MOBILEFACENET)
    weights.write_bytes(weights.read_bytes()[:-100])
    checked = fetched("check", "--json")
    assert checked.status != 0 and "or is damaged" in findings(fetched)["weights mobilefacenet"]


def test_missing_weights_of_the_encoder_in_use_are_a_finding(
    fetched: Cli, hopper: Path, tmp_path: Path
) -> None:
    fetched("enroll-identity", "Grace Hopper", hopper)
    cached_file(tmp_path / "cache", MOBILEFACENET).unlink()
    checked = fetched("check")
    assert checked.status != 0 and "gallery encoders --fetch mobilefacenet" in checked.out


def test_head_trained_at_home_keeps_the_shipped_projection(
    fetched: Cli, hopper: Path, shared_faces: Path, tmp_path: Path
) -> None:
    """Else the encodings of an enrolled gallery could not be compared with those of queries."""
    fetched("enroll-identity", "Grace Hopper", hopper)
    people = tmp_path / "people"
    several = (f for f in sorted((shared_faces / "lfw").iterdir()) if len(list(f.iterdir())) == 2)
    for folder in islice(several, 60):
        shutil.copytree(folder, people / folder.name)
    trained = fetched("train-head", people, "--force")
    assert trained.status == 0, trained.err
    found = fetched("query", hopper, "--json").line
    assert found["identity"]["name"] == "Grace Hopper"
