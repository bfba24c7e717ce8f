"""The cascade finds what facenet-pytorch's detect_face finds, to a hundredth of a pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN
from facenet_pytorch.models.utils.detect_face import detect_face
from PIL import Image
from torch.nn.functional import interpolate
from torchvision.ops import nms

from gallery.types import UInt8
from gallery.vision.area import Planes
from gallery.vision.boxes import suppressed
from gallery.vision.cascade import Cascade
from tests.machines import on_cpu


@pytest.fixture(scope="module")
def cascade(cache: Path) -> Cascade:
    return Cascade(min_probability=0.5, machine=on_cpu(cache))


def assert_as_facenet_pytorch(cascade: Cascade, pixels: UInt8, min_side: int) -> int:
    networks = MTCNN()
    with torch.inference_mode():
        (boxes,), (points,) = detect_face(
            pixels,
            min_side,
            networks.pnet,
            networks.rnet,
            networks.onet,
            [0.6, 0.7, 0.7],
            0.709,
            networks.device,
        )
    usable = [(b, p) for b, p in zip(boxes, points, strict=True) if min(b[2:4] - b[:2]) >= min_side]
    found = cascade.detect(pixels, min_side)
    assert len(found) == len(usable)
    for ours, (box, landmarks) in zip(found, usable, strict=True):
        np.testing.assert_allclose(ours.box, box[:4].astype(float), atol=0.01)
        np.testing.assert_allclose(ours.landmarks, landmarks.astype(float), atol=0.01)
        assert ours.probability == pytest.approx(float(box[4]), abs=1e-4)
    return len(found)


@pytest.mark.parametrize("min_side", [20, 40])
def test_faces_are_those_of_facenet_pytorch(
    cascade: Cascade, hopper: Path, collins: Path, together: Path, min_side: int
) -> None:
    for photo, faces in ((hopper, 1), (collins, 1), (together, 2)):
        pixels = np.array(Image.open(photo).convert("RGB"))
        assert assert_as_facenet_pytorch(cascade, pixels, min_side) >= faces
        turned = np.ascontiguousarray(pixels[::-1])
        assert_as_facenet_pytorch(cascade, turned, min_side)


def test_faces_of_group_photos_are_those_of_facenet_pytorch(
    cascade: Cascade, shared_faces: Path
) -> None:
    found = 0
    for photo in sorted((shared_faces / "groups").glob("*.jpg"))[:6]:
        image = Image.open(photo).convert("RGB")
        image.thumbnail((900, 900))
        found += assert_as_facenet_pytorch(cascade, np.array(image), 40)
    assert found >= 10


@pytest.mark.parametrize("size", [(12, 12), (12, 300), (11, 500), (41, 40)])
def test_pictures_without_room_for_a_face_have_none(
    cascade: Cascade, size: tuple[int, int]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert cascade.detect(noise, 20) == []
    assert cascade.detect_small(noise, 20, 40.0) == []


@pytest.mark.parametrize("size", [(5, 7), (48, 48), (97, 200), (300, 400)])
@pytest.mark.parametrize("part", [None, (0, 0, 1, 1), (13, 5, 119, 200), (100, 90, 101, 230)])
def test_pictures_are_shrunk_and_enlarged_as_by_torch(
    size: tuple[int, int], part: tuple[int, int, int, int] | None
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (230, 120, 3), dtype=np.uint8)
    left, top, right, bottom = part or (0, 0, 120, 230)
    crop = torch.from_numpy(pixels[top:bottom, left:right]).permute(2, 0, 1).float()
    expected = interpolate(crop[None], size, mode="area")[0].numpy()
    np.testing.assert_allclose(Planes.of(pixels).shrunk(*size, part), expected, atol=1e-3)
    values = np.ascontiguousarray(pixels.transpose(2, 0, 1)).astype(np.float32) / 3
    np.testing.assert_allclose(Planes(values).shrunk(*size, part), expected / 3, atol=1e-3)


@pytest.mark.parametrize("count", [0, 1, 400])
def test_boxes_are_suppressed_as_by_torchvision(count: int) -> None:
    rng = np.random.default_rng(2)
    corners = rng.uniform(0, 60, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 40, (count, 2))], axis=1)
    boxes, scores = boxes.astype(np.float32), rng.uniform(size=count).astype(np.float32)
    expected = nms(torch.from_numpy(boxes), torch.from_numpy(scores), 0.5)
    assert suppressed(boxes, scores, 0.5).tolist() == expected.tolist()
