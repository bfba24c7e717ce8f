"""Real photographs from installed packages, and altered copies of them."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageEnhance, ImageOps

from gallery.errors import PhotoUnreadable

HOPPER, COLLINS = "Grace Hopper", "Eileen Collins"


def person_photo(name: str) -> Path:
    """A photo of one of the two people, in the public domain (US Navy; NASA).

    Raises PhotoUnreadable if the package that contains it is not installed.
    """
    return {
        HOPPER: lambda: _packaged("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
        COLLINS: lambda: _packaged("skimage", "data/astronaut.png"),
    }[name]()


def photos_of_no_one() -> list[Path]:
    """A cat, a cup of coffee, a rocket, a Chinese temple and a flower."""
    return [
        _packaged("skimage", "data/chelsea.png"),
        _packaged("skimage", "data/coffee.png"),
        _packaged("skimage", "data/rocket.jpg"),
        _packaged("sklearn", "datasets/images/china.jpg"),
        _packaged("sklearn", "datasets/images/flower.jpg"),
    ]


def _packaged(package: str, path: str) -> Path:
    spec = importlib.util.find_spec(package)
    for folder in () if spec is None else spec.submodule_search_locations or ():
        if (file := Path(folder, path)).is_file():
            return file
    raise PhotoUnreadable(
        f"the demo's photo {path} of the package {package} is not installed;"
        " pip install 'face-gallery[demo]'"
    )


@dataclass(frozen=True)
class Alteration:
    """One way in which a photo can be changed."""

    name: str
    change: Callable[[Image.Image], bytes]


def alterations() -> tuple[Alteration, ...]:
    """Typical changes to photos that are shared and stored."""
    return (
        Alteration("cropped", lambda image: _jpeg(_cropped(image))),
        Alteration("turned 12°", lambda image: _jpeg(_turned(image))),
        Alteration("mirrored", lambda image: _jpeg(ImageOps.mirror(image))),
        Alteration("darkened", lambda image: _jpeg(ImageEnhance.Brightness(image).enhance(0.35))),
        Alteration("quality 30", lambda image: _jpeg(image, quality=30)),
        Alteration("EXIF-rotated", _exif_rotated),
    )


def altered(photo: Path, alteration: Alteration) -> bytes:
    """The bytes of the altered copy."""
    with Image.open(photo) as image:
        return alteration.change(image.convert("RGB"))


def _cropped(image: Image.Image) -> Image.Image:
    width, height = image.size
    return image.crop((width // 8, 0, width * 7 // 8, height * 3 // 4))


def _turned(image: Image.Image) -> Image.Image:
    return image.rotate(12, Image.Resampling.BICUBIC, expand=True, fillcolor=(128, 128, 128))


def _exif_rotated(image: Image.Image) -> bytes:
    """Rotated pixels, with the EXIF tag that undoes the rotation."""
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: rotate by 90 degrees clockwise
    return _jpeg(image.transpose(Image.Transpose.ROTATE_90), exif=exif)


def _jpeg(image: Image.Image, quality: int = 92, exif: Image.Exif | None = None) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, exif=exif if exif is not None else Image.Exif())
    return out.getvalue()
