"""Every network gives the same numbers in every runtime, whatever the batch and who else asks."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from gallery.config import Runtime, load_settings
from gallery.encoders.model_network import dlib_network, mobilefacenet_network
from gallery.encoders.protocol import Network
from gallery.errors import SettingInvalid, WeightsUnreadable
from gallery.networks import export
from gallery.networks.machine import Machine, machine_for
from gallery.networks.model import Model, open_model
from gallery.types import Float32, UInt8
from gallery.vision.max_margin import MaxMarginDetector
from gallery.vision.mtcnn import Mtcnn, open_mtcnn
from tests.machines import on_cpu

TOLERANCE = 1e-4
HAS_OPENVINO = importlib.util.find_spec("openvino") is not None
OTHERS: list[Runtime] = ["onnx", *(["openvino"] if HAS_OPENVINO else [])]


def noise(*shape: int) -> Float32:
    values = np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)
    return values.astype(np.float32)


def proposals(networks: Mtcnn) -> list[Float32]:
    return [*networks.propose(noise(1, 3, 97, 61)), *networks.propose(noise(1, 3, 12, 300))]


def refinements(networks: Mtcnn) -> list[Float32]:
    return [*networks.refine(noise(31, 3, 24, 24)), *networks.refine(noise(1, 3, 24, 24))]


def landmarks(networks: Mtcnn) -> list[Float32]:
    return [*networks.locate(noise(9, 3, 48, 48)), *networks.locate(noise(1, 3, 48, 48))]


@pytest.mark.parametrize("runtime", OTHERS)
@pytest.mark.parametrize("outputs", [proposals, refinements, landmarks])
def test_detector_agrees_with_torch(
    outputs: Callable[[Mtcnn], list[Float32]], runtime: Runtime, cache: Path
) -> None:
    expected = outputs(open_mtcnn(on_cpu(cache, "torch")))
    for ours, theirs in zip(outputs(open_mtcnn(on_cpu(cache, runtime))), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)


@pytest.mark.parametrize("runtime", OTHERS)
def test_second_detector_agrees_with_torch(runtime: Runtime, cache: Path) -> None:
    levels = noise(1, 3, 123, 211) / 256 - 0.4
    (expected,) = MaxMarginDetector(on_cpu(cache, "torch"))._scores(levels)
    (scores,) = MaxMarginDetector(on_cpu(cache, runtime))._scores(levels)
    np.testing.assert_allclose(scores, expected, atol=TOLERANCE)


def default_network(machine: Machine) -> Network:
    return mobilefacenet_network(
        Machine(machine.runtime, "cpu", 1, load_settings().cache), file=None
    )


def chips(network: Network, count: int) -> UInt8:
    template = network.traits.template
    return noise(count, template.height, template.width, 3).astype(np.uint8)


@pytest.mark.parametrize("runtime", OTHERS)
@pytest.mark.parametrize("open_network", [dlib_network, default_network])
def test_encoders_agree_with_torch_alone_and_in_a_batch(
    open_network: Callable[[Machine], Network], runtime: Runtime, cache: Path
) -> None:
    reference, network = open_network(on_cpu(cache, "torch")), open_network(on_cpu(cache, runtime))
    seventy = chips(network, 70)
    expected, encodings = reference.raw(seventy), network.raw(seventy)
    np.testing.assert_allclose(encodings, expected, atol=TOLERANCE)
    alone = np.concatenate([network.raw(chip[None]) for chip in seventy[:5]])
    np.testing.assert_allclose(alone, expected[:5], atol=TOLERANCE)


@pytest.mark.parametrize("runtime", ["torch", *OTHERS])
def test_threads_may_ask_at_the_same_time(runtime: Runtime, cache: Path) -> None:
    network = dlib_network(on_cpu(cache, runtime))
    eight = chips(network, 8)
    expected = network.raw(eight)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda i: network.raw(eight[i % 8, None]), range(32)))
    for i, answer in enumerate(answers):
        np.testing.assert_allclose(answer[0], expected[i % 8], atol=TOLERANCE)


class _Sum(torch.nn.Module):
    """Neither convolution nor PReLU."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(dim=(2, 3)) + torch.tensor([1.0, 2.0, 3.0])


def model(sha256: str = "ab" * 32, built: list[str] | None = None) -> Model:
    def build() -> torch.nn.Module:
        if built is not None:
            built.append(sha256)
        return _Sum()

    return Model("sum", sha256, build, (None, 3, None, None))


def test_network_is_exported_once_and_again_when_its_file_is_damaged(tmp_path: Path) -> None:
    built: list[str] = []
    expected = noise(2, 3, 5, 4).sum(axis=(2, 3)) + (1, 2, 3)
    for _ in range(2):
        (sums,) = open_model(model(built=built), on_cpu(tmp_path))(noise(2, 3, 5, 4))
        np.testing.assert_allclose(sums, expected, rtol=1e-6)
    assert len(built) == 1
    (file,) = (tmp_path / "networks").iterdir()
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    open_model(model(built=built), on_cpu(tmp_path))
    assert len(built) == 2
    (again,) = (tmp_path / "networks").iterdir()
    assert again.name == file.name
    open_model(model("cd" * 32, built), on_cpu(tmp_path))  # other weights
    assert len(built) == 3


def test_cache_that_cannot_be_written_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in the place of a folder")
    (sums,) = open_model(model(), on_cpu(tmp_path / "cache"))(noise(1, 3, 2, 2))
    assert sums.shape == (1, 3)


def test_network_that_cannot_be_exported_or_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd(torch.nn.Module):
        def forward(self, _: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("odd")

    odd = Model("odd", "ef" * 32, Odd, (None, 3, 4, 4))
    with pytest.raises(WeightsUnreadable, match="cannot export odd to ONNX: odd; set GALLERY_RUN"):
        open_model(odd, on_cpu(tmp_path))
    monkeypatch.setattr(export, "_export", lambda _: b"")
    with pytest.raises(WeightsUnreadable, match="odd cannot be run by onnxruntime"):
        open_model(odd, on_cpu(tmp_path))


def test_detector_is_run_in_float32_and_not_by_openvino(cache: Path) -> None:
    fast = Machine("openvino", "cpu", 2, cache, "bfloat16")
    assert fast.for_detection == Machine("onnx", "cpu", 2, cache)
    on_gpu = Machine("torch", "cuda", 0, cache)
    assert on_gpu.for_detection == on_gpu
    assert "encoder" not in on_cpu(cache).described()
    if HAS_OPENVINO:
        said = r"run by onnxruntime \S+ on .*, 2 threads; the encoder by openvino \S+ in bfloat16"
        assert re.fullmatch(said, fast.described())


def test_settings_choose_the_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine_for(load_settings()).runtime == "onnx"
    assert machine_for(load_settings(runtime="torch", threads=3)).threads == 3
    assert machine_for(load_settings(device="auto")).device in ("cpu", "cuda", "mps")
    if not torch.cuda.is_available():
        with pytest.raises(SettingInvalid, match="GALLERY_DEVICE = 'cuda'"):
            machine_for(load_settings(device="cuda"))
    with pytest.raises(SettingInvalid, match="bfloat16' needs GALLERY_RUNTIME=openvino"):
        machine_for(load_settings(precision="bfloat16"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert machine_for(load_settings(device="cuda")).runtime == "torch"
    with pytest.raises(SettingInvalid, match="runs on the CPU only"):
        machine_for(load_settings(device="cuda", runtime="onnx"))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SettingInvalid, match=r"pip install 'face-gallery\[fast\]'"):
        machine_for(load_settings(runtime="openvino"))


def test_photo_is_encoded_without_torch(hopper: Path, cache: Path) -> None:
    program = f"""
import sys
from gallery.config import load_settings
from gallery.factory import build_pipeline
pipeline = build_pipeline(load_settings(cache={str(cache)!r}))
photo = pipeline.open({str(hopper)!r})
assert len(pipeline.encode(photo, pipeline.faces(photo), 2)) == 1
print(sorted({{"torch", "torchvision", "facenet_pytorch"}} & set(sys.modules)))
"""
    for _ in range(2):  # at first the networks may have to be exported
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
