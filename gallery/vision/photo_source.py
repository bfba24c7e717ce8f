"""What is a photo in the Python API: a path, a file's bytes, an open file, or pixels.

Pixels are turned into the bytes of a file, so that they are checked, decoded and recognised again
as a file's are, in this process and over HTTP.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import ExifTags, Image

from gallery.errors import PhotoTooLarge, PhotoUndecodable, PhotoUnreadable
from gallery.types import AnyPath, UInt8
from gallery.vision.photo import decoder_errors

_KINDS = (
    "a path, bytes, a file opened with mode 'rb', a PIL image, or an array (uint8, height x width x"
    " 3, RGB)"
)
_TIFF_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F")
_DATES = (ExifTags.Base.DateTimeOriginal, ExifTags.Base.DateTimeDigitized)


@dataclass(frozen=True)
class Upload:
    """A file's bytes and its name; its text form is the name."""

    content: bytes
    name: str

    def __str__(self) -> str:
        return self.name


class BinaryFile(Protocol):
    """A file that is open for reading bytes."""

    def read(self, size: int = ..., /) -> bytes: ...


PhotoInMemory = bytes | bytearray | memoryview | Upload | BinaryFile | UInt8 | Image.Image
PhotoSource = AnyPath | PhotoInMemory
"""A path; a file's bytes; a file opened with mode "rb", read from where it stands.

Or an array: uint8, (H, W, 3), RGB, upright. Its SHA-256 is that of a binary PPM file of its pixels.
Or a PIL image, turned upright and dated by its EXIF data. Its SHA-256 is that of the uncompressed
TIFF file that Pillow writes of it.
"""


def source_name(source: PhotoSource) -> str:
    """The name of a photo in messages."""
    if isinstance(source, str | os.PathLike | Upload):
        return str(source)
    attribute = "filename" if isinstance(source, Image.Image) else "name"
    name = getattr(source, attribute, None)
    if isinstance(name, str) and name:
        return name
    kinds = {np.ndarray: "array", Image.Image: "image", memoryview: "bytes", bytearray: "bytes"}
    known = (kind for known, kind in kinds.items() if isinstance(source, known))
    return f"({next(known, 'file' if hasattr(source, 'read') else type(source).__name__)})"


def content_in_memory(
    source: PhotoInMemory, *, max_bytes: int | None = None, max_pixels: int | None = None
) -> bytes:
    """The bytes of a photo that is not a path, as of a file.

    max_bytes, max_pixels : more of them are neither read from an open file nor decoded.
    Raises PhotoUnreadable, PhotoTooLarge or PhotoUndecodable.
    """
    if isinstance(source, Upload):
        return source.content
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, np.ndarray):
        return _ppm(source)
    if isinstance(source, Image.Image):
        return _tiff(source, max_pixels)
    if hasattr(source, "read"):
        return _read(source, max_bytes)
    raise PhotoUnreadable(f"{type(source).__name__} is not a kind of photo; give {_KINDS}")


def _ppm(pixels: UInt8) -> bytes:
    """The binary PPM file of an array of pixels."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise PhotoUndecodable(
            f"(array) has shape {pixels.shape} and type {pixels.dtype}, expected (height, width, 3)"
            " and uint8, in RGB"
        )
    height, width, _ = pixels.shape
    return b"P6\n%d %d\n255\n" % (width, height) + pixels.tobytes()


def _tiff(image: Image.Image, max_pixels: int | None) -> bytes:
    """The uncompressed TIFF file of an image, with its orientation and dates, if it has any."""
    name = source_name(image)
    if max_pixels is not None and image.width * image.height > max_pixels:
        raise PhotoTooLarge(
            f"{name} has {image.width} x {image.height} = {image.width * image.height:,} pixels,"
            f" more than the limit of {max_pixels:,}; shrink it or raise GALLERY_MAX_PHOTO_PIXELS"
        )
    file = io.BytesIO()
    with decoder_errors(name):
        image.load()
        exif = _orientation_and_dates(image)
        if "transparency" in image.info:
            image = image.convert("RGBA")
        elif image.mode not in _TIFF_MODES:
            image = image.convert("RGB")
        image.save(file, "TIFF", compression="raw", exif=exif.tobytes())
    return file.getvalue()


def _orientation_and_dates(image: Image.Image) -> Image.Exif:
    kept = Image.Exif()
    found = image.getexif()
    orientation = found.get(ExifTags.Base.Orientation)
    if isinstance(orientation, int):
        kept[ExifTags.Base.Orientation] = orientation
    block = found.get_ifd(ExifTags.IFD.Exif)
    dates = {tag: block[tag] for tag in _DATES if isinstance(block.get(tag), str)}
    if dates:
        kept.get_ifd(ExifTags.IFD.Exif).update({int(tag): date for tag, date in dates.items()})
    return kept


def _read(file: BinaryFile, max_bytes: int | None) -> bytes:
    """Read an open file from where it stands, and leave it there if it can be read again."""
    name = source_name(file)
    seekable = getattr(file, "seekable", None)
    try:
        start = file.tell() if seekable is not None and seekable() else None  # type: ignore[attr-defined]
        content = file.read() if max_bytes is None else file.read(max_bytes + 1)
        if start is not None:
            file.seek(start)  # type: ignore[attr-defined]
    except UnicodeDecodeError:  # a file opened as text
        content = ""  # type: ignore[assignment]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise PhotoUnreadable(f"{name} cannot be read: {reason}") from error
    if not isinstance(content, bytes):
        raise PhotoUnreadable(f"{name} is open as text; open it with mode 'rb'")
    if max_bytes is not None and len(content) > max_bytes:
        raise PhotoTooLarge(
            f"{name} has more bytes than the limit of {max_bytes:,}; shrink it or raise"
            " GALLERY_MAX_PHOTO_BYTES"
        )
    return content
