"""A small picture of one face, for galleries that keep them so that people can be told apart."""

from __future__ import annotations

import io

from PIL import Image

from gallery.types import Face, Photo

SIDE = 160
"""Pixels."""
_MARGIN = 0.25
_QUALITY = 80


def thumbnail(photo: Photo, face: Face) -> bytes:
    """A square JPEG of at most 160 pixels a side around the face, without any metadata.

    What would lie outside the photo is left out, so that it may be less than square.
    """
    box = face.box
    half = (0.5 + _MARGIN) * max(box.width, box.height) / photo.scale
    x, y = (v / photo.scale for v in box.centre)
    height, width = photo.pixels.shape[:2]
    left, top = max(0, round(x - half)), max(0, round(y - half))
    right, bottom = min(width, round(x + half)), min(height, round(y + half))
    picture = Image.fromarray(photo.pixels[top : max(bottom, top + 1), left : max(right, left + 1)])
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
