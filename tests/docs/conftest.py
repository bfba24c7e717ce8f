"""A folder with the photos that the examples name, and what runs commands and serves galleries."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from tests.api.conftest import serve
from tests.cli.conftest import home, run

__all__ = ["home", "run", "serve"]


@pytest.fixture
def photos(
    tmp_path: Path,
    hopper: Path,
    collins: Path,
    no_one: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """The current folder, with the photos of the examples in it."""
    folder = tmp_path / "photos"
    for name in ("holiday", "photos", "people/Grace Hopper", "people/Eileen Collins"):
        (folder / name).mkdir(parents=True)
    shutil.copy(hopper, folder / "grace1.jpg")
    with Image.open(hopper) as grace, Image.open(collins) as eileen:
        ImageOps.mirror(grace).save(folder / "grace2.jpg", quality=95)
        grace.crop((64, 0, 448, 450)).save(folder / "unknown.jpg", quality=92)
        both = Image.new("RGB", (1024, 600))
        both.paste(grace.resize((512, 600)), (0, 0))
        both.paste(eileen.convert("RGB").resize((512, 512)), (512, 0))
        both.save(folder / "both.jpg", quality=95)
    for copy in ("eileen.png", "holiday/eileen.png", "holiday/eileen-copy.png", "photos/1.png"):
        shutil.copy(collins, folder / copy)
    shutil.copy(collins, folder / "people/Eileen Collins/1.png")
    shutil.copy(hopper, folder / "people/Grace Hopper/1.jpg")
    shutil.copy(no_one[0], folder / "cat.png")
    monkeypatch.chdir(folder)
    return folder
