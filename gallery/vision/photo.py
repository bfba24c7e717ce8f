"""Step 1 of a query: decode a file to upright RGB pixels, within fixed limits.

Pillow decodes, with libheif through pillow-heif. This module checks the limits, in an order that
bounds time and memory.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from gallery.dates import exif_date
from gallery.errors import PhotoTooLarge, PhotoUndecodable, PhotoUnreadable
from gallery.types import Photo, UInt8
from gallery.vision import jpeg

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF", "BMP", "DIB", "GIF", "PPM")
"""The formats that are decoded, by Pillow's names. EPS and other programs are never opened."""

_REMEDY = "export it as JPEG or PNG and try again"
NEEDS_MEMORY = (
    "needs more memory than there is, or than GALLERY_WORKER_MEMORY allows; shrink it, or raise"
    " that limit"
)
# What Pillow's decoders are known to raise on broken files.
_DECODER_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    SyntaxError,
    EOFError,
    OverflowError,
    AttributeError,
    ZeroDivisionError,
    NotImplementedError,
    RuntimeError,
    MemoryError,
    struct.error,
)


class PhotoReader:
    """Reads and decodes photos within fixed limits.

    max_bytes, max_pixels : larger files are refused before they are decoded.
    working_side : larger photos are shrunk so that their longer side has this many pixels.
    """

    def __init__(self, *, max_bytes: int, max_pixels: int, working_side: int) -> None:
        Image.init()  # without it, Pillow knows only the most common formats
        pillow_heif.register_heif_opener()
        # Once for the process: warnings.catch_warnings around each photo is not thread-safe.
        warnings.filterwarnings("ignore", module=r"PIL\.|pillow_heif")
        self.max_bytes = max_bytes
        self.max_pixels = max_pixels
        self.working_side = working_side

    def content(self, path: str | os.PathLike[str]) -> bytes:
        """A file's bytes.

        Raises PhotoUnreadable for anything but a readable regular file, or PhotoTooLarge.
        """
        try:
            # Reading a pipe or a device could block or never end, so check before opening.
            state = os.stat(path)
            if not stat.S_ISREG(state.st_mode):
                kind = "a folder" if stat.S_ISDIR(state.st_mode) else "not a regular file"
                raise PhotoUnreadable(f"{path} is {kind}; name a photo")
            if state.st_size > self.max_bytes:
                raise self._too_many_bytes(str(path), state.st_size)
            with open(path, "rb") as file:
                content = file.read(self.max_bytes + 1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise PhotoUnreadable(f"{path} cannot be read: {reason}") from error
        if len(content) > self.max_bytes:
            raise self._too_many_bytes(str(path), len(content))
        return content

    def read(self, path: str | Path) -> Photo:
        """Decode a file. Raises PhotoUnreadable, PhotoTooLarge or PhotoUndecodable."""
        return self.decode(self.content(path), source=str(path))

    def decode(self, content: bytes, source: str) -> Photo:
        """Decode a file's bytes: its first frame, upright, RGB, shrunk to the working size.

        Raises PhotoTooLarge or PhotoUndecodable.
        """
        if len(content) > self.max_bytes:
            raise self._too_many_bytes(source, len(content))
        if not content:
            raise PhotoUndecodable(f"{source} is empty (0 bytes); {_REMEDY}")
        picture, note = jpeg.without_header(content), ""
        try:
            pixels, width, height, taken = self._pixels(picture, source, self.working_side)
        except PhotoUndecodable:
            completed = jpeg.completed(picture)
            if completed is None:
                raise
            picture, note = completed
            pixels, width, height, taken = self._pixels(picture, source, self.working_side)
        if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
            raise PhotoUndecodable(
                f"{source} decodes to an array of shape {pixels.shape}, not to an image; {_REMEDY}"
            )
        is_shrunk = max(width, height) > max(pixels.shape[:2])
        return Photo(
            pixels=pixels,
            scale=max(width, height) / max(pixels.shape[:2]),
            width=width,
            height=height,
            sha256=hashlib.sha256(content).hexdigest(),
            source=source,
            taken=taken,
            full=cache(partial(self._full, picture, source)) if is_shrunk else None,
            note=note,
        )

    def _full(self, content: bytes, source: str) -> UInt8:
        return self._pixels(content, source, None)[0]

    def _pixels(
        self, content: bytes, source: str, side: int | None
    ) -> tuple[UInt8, int, int, str | None]:
        """The first frame, upright, its longer side shrunk to at most `side`; the upright file's
        width, height and EXIF date.
        """
        with decoder_errors(source):
            image, width, height, taken = self._open(content, source, side)
            return _rgb(image), width, height, taken

    def _open(
        self, content: bytes, source: str, side: int | None
    ) -> tuple[Image.Image, int, int, str | None]:
        image: Image.Image = Image.open(io.BytesIO(content), formats=FORMATS)
        width, height = image.size
        if width * height > self.max_pixels:
            raise PhotoTooLarge(
                f"{source} has {width} x {height} = {width * height:,} pixels, more than the limit"
                f" of {self.max_pixels:,}; shrink it or raise GALLERY_MAX_PHOTO_PIXELS"
            )
        if image.format in ("JPEG", "MPO"):
            jpeg.check_scans(content, source)
            # libjpeg can decode at 1/2, 1/4 or 1/8, never below the requested size.
            image.draft("RGB", _shrunk(width, height, side))
        image.load()
        orientation, taken = _orientation(image), _date_taken(image)
        image = _eight_bit(image)
        factor = 1 if side is None else max(image.size) // side
        if factor >= 2:
            image = image.reduce(factor)
        if image.size != (shrunk := _shrunk(*image.size, side)):
            image = image.resize(shrunk, Image.Resampling.BOX)
        if orientation in _UPRIGHT:
            image = image.transpose(_UPRIGHT[orientation])
        if orientation in _ON_ITS_SIDE:
            width, height = height, width
        return image, width, height, taken

    def _too_many_bytes(self, source: str, size: int) -> PhotoTooLarge:
        return PhotoTooLarge(
            f"{source} has {size:,} bytes, more than the limit of {self.max_bytes:,};"
            " shrink it or raise GALLERY_MAX_PHOTO_BYTES"
        )


def _shrunk(width: int, height: int, side: int | None) -> tuple[int, int]:
    longer = max(width, height)
    if side is None or longer <= side:
        return width, height
    factor = side / longer
    return max(1, round(width * factor)), max(1, round(height * factor))


@contextmanager
def decoder_errors(source: str) -> Iterator[None]:
    """Map what a decoder raises on a broken file to PhotoUndecodable."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise PhotoUndecodable(
            f"{source} is not a photo in a supported format ({', '.join(FORMATS)}); {_REMEDY}"
        ) from error
    except Image.DecompressionBombError as error:
        raise PhotoTooLarge(f"{source} is too large to decode: {error}; shrink it") from error
    except MemoryError as error:
        raise PhotoUndecodable(f"{source} {NEEDS_MEMORY}") from error
    except _DECODER_ERRORS as error:
        reason = str(error).strip() or type(error).__name__
        raise PhotoUndecodable(f"{source} cannot be decoded: {reason}; {_REMEDY}") from error


# EXIF orientation -> the transposition that turns the image upright.
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ON_ITS_SIDE = frozenset({5, 6, 7, 8})


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except _DECODER_ERRORS:
        return 1  # upright, for want of a readable EXIF block
    return value if isinstance(value, int) else 1


_EXIF_BLOCK = 0x8769
_DATE_TAGS = (0x9003, 0x9004)
"""DateTimeOriginal, DateTimeDigitized. DateTime is that of the file's last change."""


def _date_taken(image: Image.Image) -> str | None:
    try:
        block = image.getexif().get_ifd(_EXIF_BLOCK)
        dates = [exif_date(block.get(tag)) for tag in _DATE_TAGS]
    except _DECODER_ERRORS:
        return None
    return next((taken for taken in dates if taken is not None), None)


def _eight_bit(image: Image.Image) -> Image.Image:
    """The image in a mode that Pillow can shrink: L, RGB, RGBA or CMYK."""
    if image.mode in ("L", "RGB", "RGBA", "CMYK"):
        # A PNG without an alpha channel may declare one colour transparent.
        return image.convert("RGBA") if "transparency" in image.info else image
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_scaled_to_eight_bit(np.asarray(image), _declared_white(image)))
    if image.mode == "1":
        return image.convert("L")
    if image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    return image.convert("RGB")


_MAX_SAMPLE_VALUE_TAG = 281


def _declared_white(image: Image.Image) -> float:
    """The largest value that a TIFF declares for its pixels; 0.0 if there is none."""
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    value = tags.get(_MAX_SAMPLE_VALUE_TAG, 0)
    return float(value[0] if isinstance(value, tuple) else value)


_SENSOR_BITS = (12, 14)
"""Of a camera's pixels in files of 16 bits. With fewer in use, a file is taken for a dark one."""


def _scaled_to_eight_bit(values: np.ndarray, declared: float) -> UInt8:
    """One channel of more than eight bits. The largest value decides which one is white.

    declared : the white that the file states, if that is not below the largest value.
    """
    scaled = values.astype(
        np.float32
    )  # in place from here on, since a photo may have 100 megapixels
    np.nan_to_num(scaled, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    largest = float(scaled.max(initial=0.0))
    if largest <= 1.0:
        white = 1.0
    elif largest <= 255.0:
        white = 255.0
    elif declared >= largest:
        white = declared
    else:
        fitting = (2.0**bits - 1 for bits in _SENSOR_BITS if 2 ** (bits - 2) <= largest < 2**bits)
        white = next(fitting, max(65535.0, largest))
    scaled *= 255.0 / white
    np.clip(scaled, 0.0, 255.0, out=scaled)
    return scaled.astype(np.uint8)


def _rgb(image: Image.Image) -> UInt8:
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))
