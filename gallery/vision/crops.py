"""Images kept of an enrolled face: a thumbnail to show, and a picture to encode it again from."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from PIL import Image

from gallery.encoders.template import DLIB_150
from gallery.store.records import KeptImage
from gallery.types import Face, Float32, Photo
from gallery.vision.detection import sharp_pixels
from gallery.vision.photo import PhotoReader

Keep = Literal["nothing", "chips", "photos"]
_HALF_SIDE = 1.25
"""Half the side of the kept square, in widths of the default encoder's chip.

ArcFace's chip reaches 1.03 of them, in any direction; the rest is room for shifted views."""
_MAX_PIXEL_RATIO = 4.0
"""Pixels of the photo to one of the default encoder's chip; larger faces are halved."""


def picture_to_keep(
    keep: Keep, photo: Photo, face: Face, content: bytes, faces: int
) -> KeptImage | None:
    """The picture to store with a face; None when none is kept.

    content : the bytes of the photo's file.
    faces : how many faces the photo shows. With several, only this face's surroundings are kept,
        even for "photos", so that no photo outlives the erasure of someone it shows.
    """
    if keep == "nothing":
        return None
    if keep == "photos" and faces == 1:
        return KeptImage("photo", content, face.landmarks)
    return _chip(photo, face)


def _chip(photo: Photo, face: Face) -> KeptImage:
    """The face and its surroundings, as lossless WebP cut from the pixels that are encoded."""
    source, scale = sharp_pixels(photo, face.landmarks)
    points = face.landmarks.astype(np.float64) / scale
    eyes = float(np.linalg.norm(points[1] - points[0]))
    template_eyes = DLIB_150.points[1][0] - DLIB_150.points[0][0]
    ratio = max(eyes / template_eyes, 1e-3)  # pixels of the source to one of the chip
    centre = points[:3].mean(axis=0)
    half = _HALF_SIDE * DLIB_150.width * ratio
    height, width = source.shape[:2]
    left, top = (max(0, int(np.floor(v - half))) for v in centre)
    right, bottom = (int(np.ceil(v + half)) for v in centre)
    right, bottom = max(left + 1, min(width, right)), max(top + 1, min(height, bottom))
    image = Image.fromarray(source[top:bottom, left:right])
    points = points - (left, top)
    factor = 1
    while ratio / factor > _MAX_PIXEL_RATIO:
        factor *= 2
    if factor > 1:
        image = image.reduce(factor)
        points = (points + 0.5) / factor - 0.5  # pixel centres, as in gallery.vision.detection
    file = io.BytesIO()
    image.save(file, "WEBP", lossless=True, quality=50, method=2)
    return KeptImage("chip", file.getvalue(), points.astype(np.float32))


def decode_picture(picture: KeptImage, reader: PhotoReader) -> tuple[Photo, Float32]:
    """Decode a kept picture; also returns the face's landmarks in it, float32 (5, 2).

    Raises PhotoError when it cannot be decoded.
    """
    return reader.decode(picture.content, source=f"(kept {picture.kind})"), picture.landmarks


THUMBNAIL_SIDE = 160
"""Pixels."""
_THUMBNAIL_MARGIN = 0.25
_THUMBNAIL_QUALITY = 80


def thumbnail(photo: Photo, face: Face) -> bytes:
    """A square JPEG around the face, at most 160 pixels a side, without metadata.

    It is cut at the border of the photo, and then not square.
    """
    box = face.box
    source, scale = sharp_pixels(photo, face.landmarks)
    half = (0.5 + _THUMBNAIL_MARGIN) * max(box.width, box.height) / scale
    x, y = (v / scale for v in box.centre)
    height, width = source.shape[:2]
    left, top = max(0, round(x - half)), max(0, round(y - half))
    right, bottom = min(width, round(x + half)), min(height, round(y + half))
    image = Image.fromarray(source[top : max(bottom, top + 1), left : max(right, left + 1)])
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_THUMBNAIL_QUALITY)
    return file.getvalue()
