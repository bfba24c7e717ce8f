"""Image files for the tests of decoding."""

from __future__ import annotations

import io
import zlib

import numpy as np
from PIL import Image

from gallery.types import UInt8
from gallery.vision.photo import PhotoReader

MAX_BYTES, MAX_PIXELS, WORKING_SIDE = 256 * 2**20, 128_000_000, 2048


def photo_reader(
    *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS, working_side: int = WORKING_SIDE
) -> PhotoReader:
    return PhotoReader(max_bytes=max_bytes, max_pixels=max_pixels, working_side=working_side)


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, image_format, **options)
    return content.getvalue()


def mean_difference(a: UInt8, b: UInt8) -> float:
    """The mean absolute difference of two images, in grey levels."""
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def png(width: int, height: int, bits: int, colour: int, rows: bytes) -> bytes:
    """A PNG assembled by hand. rows : with their filter bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return len(data).to_bytes(4) + checked + zlib.crc32(checked).to_bytes(4)

    header = width.to_bytes(4) + height.to_bytes(4) + bytes((bits, colour, 0, 0, 0))
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
