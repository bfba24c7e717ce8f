"""Photos altered in one way each, for benchmarks of the promise."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from gallery.training.dataset import PeopleFolder


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


def _noise(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image, dtype=np.float32)
    noise = np.random.default_rng(0).normal(0, 18, pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def _small(image: Image.Image, side: int) -> Image.Image:
    return image.resize((side, side)).resize(image.size)


CONDITIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as it is": lambda image: image,
    "grey": lambda image: ImageOps.grayscale(image).convert("RGB"),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(2.0)),
    "compressed": lambda image: _jpeg(image, 12),
    "small": lambda image: _small(image, image.width // 3),
    "dark": lambda image: ImageEnhance.Brightness(image).enhance(0.35),
    "noisy": _noise,
    "tilted": lambda image: image.rotate(20, Image.Resampling.BICUBIC),
}


def altered(folder: PeopleFolder, name: str, out: Path, limit: int) -> PeopleFolder:
    """Alter the photos of at most `limit` people, and write them below `out` unless they exist."""
    people: dict[str, list[Path]] = {}
    for person in sorted(folder.people)[:limit]:
        people[person] = []
        for photo in folder.people[person][:6]:
            file = out / name / person / f"{photo.stem}.png"
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                with Image.open(photo) as image:
                    CONDITIONS[name](image.convert("RGB")).save(file, compress_level=1)
            people[person].append(file)
    return PeopleFolder(out / name, people, folder.part)
