"""Run commands in this process, as a user does, with networks that are loaded once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageEnhance

from gallery.cli.main import main
from gallery.encoders.protocol import Network
from gallery.encoders.registry import Spec, open_network
from gallery.gallery import Gallery
from gallery.networks.machine import Machine
from tests.models import export_dlib


@dataclass(frozen=True)
class Ran:
    """The output of a command and its exit status."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def line(self) -> dict[str, Any]:
        (only,) = self.lines
        return only


Run = Callable[..., Ran]


def run_main(capture: pytest.CaptureFixture[str], *arguments: object) -> Ran:
    """Run `gallery` with these arguments."""
    capture.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    printed = capture.readouterr()
    assert "Traceback" not in printed.out + printed.err
    assert isinstance(ended.value.code, int | None)
    return Ran(ended.value.code or 0, printed.out, printed.err)


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
    """Run `gallery --home HOME ...`. at : another home."""
    monkeypatch.setenv("GALLERY_CACHE", str(cache))
    monkeypatch.setenv("GALLERY_THREADS", "1")

    def run(*arguments: str | Path, at: Path | None = None) -> Ran:
        return run_main(capsys, "--home", home if at is None else at, *arguments)

    return run


@pytest.fixture
def two(run: Run, hopper: Path, collins: Path) -> Run:
    """`run`, with a gallery of two people."""
    run("enroll-identity", "Grace Hopper", hopper)
    run("enroll-identity", "Eileen Collins", collins)
    return run


# Changing the encoder: real networks, each loaded once


class Cli:
    """`gallery` with the encoder that the gallery has: in this process, or in one to be killed."""

    def __init__(self, home: Path, cache: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.home, self.cache = home, cache
        self._capture = capture

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "from gallery.cli.main import main; main()", "--home"]
        return subprocess.Popen(
            [*command, str(self.home), *map(str, arguments)], text=True, stdout=subprocess.DEVNULL
        )

    def __call__(self, *arguments: object) -> Ran:
        return run_main(self._capture, "--home", self.home, *arguments)


_networks: dict[tuple[str, str], Network] = {}


def _cached_network(spec: Spec, machine: Machine) -> Network:
    """Load each network once. A model with another TOML file is another network."""
    toml = "" if spec.file is None else spec.file.with_suffix(".toml").read_text()
    key = (str(spec), toml)
    if key not in _networks:
        _networks[key] = open_network(spec, machine)
    return _networks[key]


@pytest.fixture
def cli(
    home: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Cli:
    monkeypatch.setenv("GALLERY_CACHE", str(cache))
    monkeypatch.setenv("GALLERY_THREADS", "1")
    monkeypatch.setattr("gallery.encoders.registry.open_network", _cached_network)
    return Cli(home, cache, capsys)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """dlib's network as an ONNX file."""
    return export_dlib(tmp_path_factory.mktemp("onnx") / "dlib.onnx", cache)


@pytest.fixture(scope="session")
def gallery_with_crops(
    tmp_path_factory: pytest.TempPathFactory,
    cache: Path,
    hopper: Path,
    collins: Path,
) -> Path:
    """Two people from six photos each, with kept face crops; the photos are gone."""
    folder = tmp_path_factory.mktemp("many")
    with Gallery.open(folder / "home", cache=cache, threads=1, keep="chips") as gallery:
        for name, path in (("Grace Hopper", hopper), ("Eileen Collins", collins)):
            for number in range(6):
                file = folder / f"{name} {number}.png"
                picture = Image.open(path).convert("RGB")
                ImageEnhance.Brightness(picture).enhance(0.8 + 0.06 * number).save(file)
                assert gallery.enroll(name, file).outcome == "enrolled"
                file.unlink()
        gallery.describe("Grace Hopper", external_id="1906", details={"rank": "admiral"})
        gallery.keep_distinct("Grace Hopper", "Eileen Collins")
    return folder / "home"


@pytest.fixture
def many(cli: Cli, gallery_with_crops: Path) -> None:
    """Make the gallery of `cli` a copy of `gallery_with_crops`."""
    shutil.copytree(gallery_with_crops, cli.home)


def open_gallery(cli: Cli, **settings: object) -> Gallery:
    return Gallery.open(cli.home, cache=cli.cache, threads=1, **settings)


def answer(cli: Cli, photo: Path) -> dict[str, Any]:
    """The JSON of a query."""
    return cli("query", photo, "--json").line


def similarities(decision: dict[str, Any]) -> dict[int, float]:
    """The similarity of each candidate, by face id."""
    return {candidate["face_id"]: candidate["similarity"] for candidate in decision["candidates"]}
