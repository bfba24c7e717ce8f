"""A face can be encoded again from its kept picture, with the same result."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gallery.encoders.template import ARCFACE_112, DLIB_150, Template
from gallery.types import Several
from gallery.vision.crops import decode_picture, picture_to_keep
from gallery.vision.detection import VIEWS, align
from gallery.vision.pipeline import FacePipeline


@pytest.mark.parametrize("template", [DLIB_150, ARCFACE_112], ids=["dlib", "arcface"])
def test_kept_chip_aligns_to_the_same_chips_as_the_photo(
    pipeline: FacePipeline, hopper: Path, collins: Path, template: Template
) -> None:
    for path in (hopper, collins):
        photo = pipeline.open(path)
        face = pipeline.one_face(photo, Several.REFUSE)
        picture = picture_to_keep("chips", photo, face, path.read_bytes(), 1)
        assert picture is not None and picture.kind == "chip"
        cropped, landmarks = decode_picture(picture, pipeline.reader)
        assert cropped.pixels.shape[0] < photo.pixels.shape[0]
        original, again = (
            align(p, points, VIEWS, template).astype(int)
            for p, points in ((photo, face.landmarks), (cropped, landmarks))
        )
        assert np.abs(original - again).max() <= 1


def test_large_face_is_halved_with_little_loss(pipeline: FacePipeline, hopper: Path) -> None:
    file = io.BytesIO()
    image = Image.open(hopper).convert("RGB")
    image.resize((4 * image.width, 4 * image.height), Image.Resampling.BICUBIC).save(
        file, "JPEG", quality=95
    )
    reader = type(pipeline.reader)(max_bytes=2**28, max_pixels=10**8, working_side=8192)
    photo = reader.decode(file.getvalue(), source="large")
    face = pipeline.one_face(photo, Several.REFUSE)
    picture = picture_to_keep("chips", photo, face, file.getvalue(), 1)
    assert picture is not None
    small, landmarks = decode_picture(picture, reader)
    assert small.pixels.shape[0] * 2 < photo.pixels.shape[0]
    whole, cut = (
        pipeline.encoder.encode(align(p, points, VIEWS)[None]).vectors[0]
        for p, points in ((photo, face.landmarks), (small, landmarks))
    )
    difference = 1.0 - float(whole @ cut)
    assert difference < 1e-3, f"1 - cosine is {difference:.1e}"


def test_photo_with_several_faces_is_not_kept_whole(pipeline: FacePipeline, hopper: Path) -> None:
    content = hopper.read_bytes()
    photo = pipeline.open(hopper)
    face = pipeline.one_face(photo, Several.REFUSE)
    assert picture_to_keep("nothing", photo, face, content, 1) is None
    alone = picture_to_keep("photos", photo, face, content, 1)
    assert alone is not None and (alone.kind, alone.content) == ("photo", content)
    among = picture_to_keep("photos", photo, face, content, 2)
    assert among is not None and among.kind == "chip"
