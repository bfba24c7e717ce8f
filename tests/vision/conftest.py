"""A photo reader, and a picture to encode in every format."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from gallery.vision.photo import PhotoReader
from tests.vision.images import photo_reader


@pytest.fixture(scope="module")
def reader() -> PhotoReader:
    return photo_reader()


@pytest.fixture(scope="module")
def picture(hopper: Path) -> Image.Image:
    """Hopper, 256 x 300, RGB."""
    return Image.open(hopper).convert("RGB").resize((256, 300))
