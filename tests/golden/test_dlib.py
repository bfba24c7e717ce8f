"""The encoder and the detector in torch agree with dlib's own code on the same weights."""

from __future__ import annotations

from pathlib import Path

import dlib
import numpy as np
import pytest
from PIL import Image

from gallery.encoders.weights import DLIB_MMOD, DLIB_RESNET
from gallery.types import DIMENSION
from gallery.vision.detection import VIEWS, View, align
from gallery.vision.max_margin import MaxMarginDetector
from gallery.vision.pipeline import FacePipeline
from tests.machines import on_cpu

TOLERANCE = 1e-5
MORE_VIEWS = (View(zoom=1.3), View(zoom=0.7), View(mirrored=True, right=11.0, down=-7.0))


@pytest.fixture(scope="session")
def dlib_network() -> dlib.face_recognition_model_v1:
    return dlib.face_recognition_model_v1(str(DLIB_RESNET.locate()))


@pytest.mark.parametrize("person", ["hopper", "collins"])
def test_encodings_of_real_chips_agree_with_dlib(
    person: str,
    pipeline: FacePipeline,
    dlib_network: dlib.face_recognition_model_v1,
    request: pytest.FixtureRequest,
) -> None:
    path: Path = request.getfixturevalue(person)
    photo = pipeline.open(path)
    (face,) = pipeline.faces(photo)
    chips = align(photo, face.landmarks, (*VIEWS, *MORE_VIEWS))
    ours = pipeline.encoder.raw(chips)
    theirs = np.array(
        [dlib_network.compute_face_descriptor(np.ascontiguousarray(chip)) for chip in chips]
    )
    assert ours.shape == theirs.shape == (len(VIEWS) + len(MORE_VIEWS), DIMENSION)
    difference = float(np.abs(ours - theirs).max())
    assert difference < TOLERANCE, f"the largest difference to dlib is {difference:.2e}"


@pytest.mark.parametrize("kind", ["black", "white", "noise", "red"])
def test_encodings_of_synthetic_chips_agree_with_dlib(
    kind: str, pipeline: FacePipeline, dlib_network: dlib.face_recognition_model_v1
) -> None:
    chip = {
        "black": np.zeros((150, 150, 3), np.uint8),
        "white": np.full((150, 150, 3), 255, np.uint8),
        "noise": np.random.default_rng(1).integers(0, 256, (150, 150, 3), np.uint8),
        "red": np.full((150, 150, 3), (255, 0, 0), np.uint8),
    }[kind]
    theirs = np.array(dlib_network.compute_face_descriptor(chip))
    difference = float(np.abs(pipeline.encoder.raw(chip[None])[0] - theirs).max())
    assert difference < TOLERANCE, f"the largest difference to dlib is {difference:.2e}"


def test_batch_agrees_with_single_chips(pipeline: FacePipeline, hopper: Path) -> None:
    photo = pipeline.open(hopper)
    (face,) = pipeline.faces(photo)
    chips = align(photo, face.landmarks, VIEWS[:4])
    alone = np.concatenate([pipeline.encoder.raw(chip[None]) for chip in chips])
    difference = float(np.abs(pipeline.encoder.raw(chips) - alone).max())
    assert difference < TOLERANCE, f"the largest difference to the batch is {difference:.2e}"


@pytest.mark.parametrize("person", ["hopper", "collins"])
def test_detected_faces_agree_with_dlib(
    person: str, cache: Path, request: pytest.FixtureRequest
) -> None:
    """The two pyramids differ in their levels, a sixth apart, so that boxes differ in size."""
    pixels = np.array(Image.open(request.getfixturevalue(person)).convert("RGB"))
    (theirs,) = dlib.cnn_face_detection_model_v1(str(DLIB_MMOD.locate()))(pixels, 0)
    rect = theirs.rect
    (ours,) = MaxMarginDetector(on_cpu(cache)).squares(pixels, 80)
    side = rect.width()
    assert ours[2] - ours[0] == pytest.approx(side, rel=0.2)
    centre = (rect.left() + rect.right()) / 2, (rect.top() + rect.bottom()) / 2
    assert (ours[:2] + ours[2:]) / 2 == pytest.approx(centre, abs=0.1 * side)
