"""What of an enrolled photo is kept so that its face can be encoded again: nothing, the face's
surroundings, or the file.
"""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from PIL import Image

from gallery.encoders.template import DLIB_150
from gallery.store.records import Picture
from gallery.types import Face, Float32, Photo
from gallery.vision.photo import PhotoReader

Keep = Literal["nothing", "chips", "photos"]
_AROUND = 1.25
"""The kept square's half side, in widths of the default encoder's chip (ArcFace's shows
1.03 of it, in any direction): room for views that are moved or turned."""
_MOST_PIXELS_A_CHIP_PIXEL = 4.0
"""A face that is larger in its photo is halved until it is not."""


def picture_of(keep: Keep, photo: Photo, face: Face, content: bytes, faces: int) -> Picture | None:
    """What is kept of a face.

    content : the photo's file.  faces : how many were found in it: of a photo that shows others
    too, only the one face's surroundings are kept, so that erasing a person erases their face.
    """
    if keep == "nothing":
        return None
    if keep == "photos" and faces == 1:
        return Picture("photo", content, face.landmarks)
    return _chip(photo, face)


def _chip(photo: Photo, face: Face) -> Picture:
    """The face's surroundings, lossless, from the working picture."""
    points = face.landmarks.astype(np.float64) / photo.scale
    eyes = float(np.linalg.norm(points[1] - points[0]))
    template_eyes = DLIB_150.points[1][0] - DLIB_150.points[0][0]
    pixel = max(eyes / template_eyes, 1e-3)  # of the working picture, in one of the chip
    centre = points[:3].mean(axis=0)
    half = _AROUND * DLIB_150.width * pixel
    height, width = photo.pixels.shape[:2]
    left, top = (max(0, int(np.floor(v - half))) for v in centre)
    right, bottom = (int(np.ceil(v + half)) for v in centre)
    right, bottom = max(left + 1, min(width, right)), max(top + 1, min(height, bottom))
    picture = Image.fromarray(photo.pixels[top:bottom, left:right])
    points = points - (left, top)
    factor = 1
    while pixel / factor > _MOST_PIXELS_A_CHIP_PIXEL:
        factor *= 2
    if factor > 1:
        picture = picture.reduce(factor)
        points = (points + 0.5) / factor - 0.5  # pixel centres, as in gallery.vision.detection
    file = io.BytesIO()
    picture.save(file, "WEBP", lossless=True, quality=50, method=4)
    return Picture("chip", file.getvalue(), points.astype(np.float32))


def photo_of(picture: Picture, reader: PhotoReader) -> tuple[Photo, Float32]:
    """A kept picture to be encoded, and the face's landmarks in it.

    Raises PhotoError when it cannot be read.
    """
    return reader.decode(picture.content, source=f"(kept {picture.kind})"), picture.landmarks


THUMBNAIL_SIDE = 160
"""Pixels."""
_THUMBNAIL_MARGIN = 0.25
_THUMBNAIL_QUALITY = 80


def thumbnail(photo: Photo, face: Face) -> bytes:
    """A square JPEG of at most 160 pixels a side around the face, without any metadata.

    What would lie outside the photo is left out, so that it may be less than square.
    """
    box = face.box
    half = (0.5 + _THUMBNAIL_MARGIN) * max(box.width, box.height) / photo.scale
    x, y = (v / photo.scale for v in box.centre)
    height, width = photo.pixels.shape[:2]
    left, top = max(0, round(x - half)), max(0, round(y - half))
    right, bottom = min(width, round(x + half)), min(height, round(y + half))
    picture = Image.fromarray(photo.pixels[top : max(bottom, top + 1), left : max(right, left + 1)])
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_THUMBNAIL_QUALITY)
    return file.getvalue()
