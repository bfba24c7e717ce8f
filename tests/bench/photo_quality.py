"""What a photo teaches: how many strangers an enrolled face matches, and how many further photos of
its own person it finds, by its size, sharpness, detector probability, turn, agreement and norm.

Train people only. Each enrols one photo, as it is and altered. The rates of all are at the margin
that matches one stranger in 10,000 to a face as it is.

    python -m tests.bench.photo_quality lfw/ --encoder mobilefacenet --save quality.json
"""

from __future__ import annotations

import argparse
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from gallery.config import Settings
from gallery.errors import PhotoError
from gallery.factory import build_pipeline
from gallery.gallery import Gallery
from gallery.matching.head import Head
from gallery.training.dataset import PeopleFolder, people_in
from gallery.training.encode import EncodedPeople, Views, encode_people
from gallery.types import Encodings, Face, Float64, Several
from gallery.vision.pipeline import FacePipeline
from gallery.vision.workers import Workers, map_photos

SEED, RATE = 0, 1e-4
_STRANGERS, _LEAST_PHOTOS, _OWN_PROBES = 2_000, 3, 4


def _jpeg_file(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _shrunk(image: Image.Image, _: Face, share: float) -> Image.Image:
    return image.resize((round(image.width * share), round(image.height * share)))


def _blurred(image: Image.Image, _: Face, radius: float) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(radius))


def _darkened(image: Image.Image, _: Face, light: float) -> Image.Image:
    pixels = np.asarray(ImageEnhance.Brightness(image).enhance(light), dtype=np.float32)
    noise = np.random.default_rng(SEED).normal(0, 4, pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def _mask(image: Image.Image, face: Face) -> Image.Image:
    """Cover the face below the eyes, as a mask does."""
    (_, eye), (_, nose), box = face.landmarks[0], face.landmarks[2], face.box
    image = image.copy()
    top = (eye + nose) / 2
    ImageDraw.Draw(image).rectangle((box.left, top, box.right, box.bottom), fill=(120, 150, 170))
    return image


def _sunglasses(image: Image.Image, face: Face) -> Image.Image:
    (x1, y1), (x2, y2) = face.landmarks[:2]
    pad = 0.45 * float(np.hypot(x2 - x1, y2 - y1))
    image = image.copy()
    box = (min(x1, x2) - pad, min(y1, y2) - pad / 2, max(x1, x2) + pad, max(y1, y2) + pad / 1.5)
    ImageDraw.Draw(image).rectangle(box, fill=(20, 20, 20))
    return image


def _half(image: Image.Image, face: Face) -> Image.Image:
    """Cover the left half of the face, as something in front of it does."""
    image, box = image.copy(), face.box
    middle = float(face.landmarks[2][0])
    ImageDraw.Draw(image).rectangle((box.left, box.top, middle, box.bottom), fill=(110, 100, 90))
    return image


ALTERATIONS: dict[str, Callable[[Image.Image, Face], Image.Image]] = {
    "shrunk to .6": partial(_shrunk, share=0.6),
    "shrunk to .4": partial(_shrunk, share=0.4),
    "blurred by 1.5": partial(_blurred, radius=1.5),
    "blurred by 3": partial(_blurred, radius=3.0),
    "blurred by 5": partial(_blurred, radius=5.0),
    "dark, .2": partial(_darkened, light=0.2),
    "dark, .08": partial(_darkened, light=0.08),
    "mask": _mask,
    "sunglasses": _sunglasses,
    "half covered": _half,
}
AS_IT_IS = "as it is"


@dataclass(frozen=True)
class Enrolled:
    """Faces of one photo: how they were altered, and what is known of each."""

    alterations: tuple[str, ...]
    faces: tuple[Face, ...]
    encodings: Encodings


def enrolled(pipeline: FacePipeline, job: tuple[Path, bool], views: int) -> Enrolled:
    """The central face of a photo, as it is and, if asked for, in each alteration that it is found
    in.
    """
    path, is_altered = job
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    photo = pipeline.open(path)
    original = pipeline.one_face(photo, Several.CENTRAL)
    names, faces, rows = [AS_IT_IS], [original], [pipeline.encode(photo, [original], views)]
    for name, alter in ALTERATIONS.items() if is_altered else ():
        photo = pipeline.open(_jpeg_file(alter(image, original)))
        try:
            face = pipeline.one_face(photo, Several.CENTRAL)
            encoding = pipeline.encode(photo, [face], views)
        except PhotoError:
            continue
        names.append(name)
        faces.append(face)
        rows.append(encoding)
    return Enrolled(tuple(names), tuple(faces), Encodings.joined(rows))
