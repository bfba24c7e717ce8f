"""MTCNN: three networks, each looking closer at what the one before proposed (Zhang et al. 2016).

`detect` is facenet-pytorch's own. `detect_small` runs the same networks for small faces in large
pictures: it leaves out the levels of the pyramid where larger faces would be found, and holds only
the first level, at the scale of 12 pixels a face, in memory beside the picture.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from facenet_pytorch import MTCNN
from facenet_pytorch.models.utils import detect_face as mtcnn
from PIL import Image
from torch.nn.functional import interpolate
from torchvision.ops import nms

from gallery.encoders.weights import MTCNN_NETWORKS
from gallery.errors import PhotoUndecodable
from gallery.types import Float32, Float64, UInt8

_WINDOW = 12
"""The first network takes windows of 12 x 12 pixels; smaller photos have no face for it."""
_FACTOR = 0.709
"""From one level of the pyramid to the next; facenet-pytorch's."""
PROPOSED, _REFINED, _FOUND = 0.6, 0.7, 0.7
"""Minimum probabilities after each network; facenet-pytorch's."""
SURELY_PROPOSED = 0.95
"""Instead of the first of them where there is much to search: it proposes a third as much, and 171
instead of 172 of 172 faces were found with it."""
_SHIFTS = (0.0, 0.05, 0.1)
"""How far another detector's squares are moved down, of their sides. The third network is surest of
a face that lies as the first two would place it."""
_TILE = 256
"""Side of the first network's input in pixels; larger levels are cut. It fits a processor's cache,
and bounds the memory."""
_BATCH = 512


class Detection(NamedTuple):
    """box (4,): left, top, right, bottom; landmarks (5, 2). In pixels of the searched picture."""

    box: Float64
    landmarks: Float64
    probability: float

    @property
    def side(self) -> float:
        return float(min(self.box[2] - self.box[0], self.box[3] - self.box[1]))


class Cascade:
    """MTCNN's three networks.

    min_probability : minimum probability of a detection.
    """

    def __init__(self, *, min_probability: float, device: torch.device) -> None:
        self.min_probability = min_probability
        for source in MTCNN_NETWORKS:
            source.read()  # verifies the checksum; MTCNN opens the same files itself
        self._mtcnn = MTCNN(device=device).eval()

    def detect(self, pixels: UInt8, min_side: int, proposed: float = PROPOSED) -> list[Detection]:
        """Find faces of at least this side.

        proposed : minimum probability after the first network. A larger one is quicker.
        Raises PhotoUndecodable when the detector itself fails on the pixels.
        """
        if min(pixels.shape[:2]) < max(min_side, _WINDOW):
            return []
        networks = self._mtcnn
        try:
            with torch.inference_mode():
                (boxes,), (landmarks,) = mtcnn.detect_face(
                    pixels,
                    min_side,
                    networks.pnet,
                    networks.rnet,
                    networks.onet,
                    [proposed, _REFINED, _FOUND],
                    networks.factor,
                    networks.device,
                )
        except (RuntimeError, IndexError) as error:
            # facenet-pytorch fails on windows that lie entirely outside the image.
            raise PhotoUndecodable(f"the face detector failed on this photo: {error}") from error
        return self._usable(boxes, landmarks, min_side)

    def detect_small(self, pixels: UInt8, min_side: int, max_side: float) -> list[Detection]:
        """Find faces of at least `min_side`. Those well over `max_side` are not looked for."""
        if min(pixels.shape[:2]) < max(min_side, _WINDOW):
            return []
        with torch.inference_mode():
            proposed = self._proposed(pixels, min_side, max_side)
            boxes, landmarks = self._confirmed(pixels, proposed)
        return self._usable(boxes, landmarks, min_side)

    def located(self, pixels: UInt8, squares: Float32, min_side: int) -> list[Detection]:
        """Faces where another detector found some, by the third network alone.

        squares : float32 (n, 4), left, top, right, bottom.
        """
        sides = squares[:, 2] - squares[:, 0]
        shifts = [np.outer(sides * share, (0.0, 1.0, 0.0, 1.0)) for share in _SHIFTS]
        moved = np.concatenate([squares + shift for shift in shifts]).astype(np.float32)
        with torch.inference_mode():
            boxes, landmarks = self._located(pixels, torch.from_numpy(moved))
        return self._usable(boxes, landmarks, min_side)

    def _usable(self, boxes: Float64, landmarks: Float64, min_side: int) -> list[Detection]:
        detections = [
            Detection(np.asarray(box[:4], float), np.asarray(points, float), float(box[4]))
            for box, points in zip(boxes, landmarks, strict=True)
        ]
        return [
            d for d in detections if d.probability >= self.min_probability and d.side >= min_side
        ]

    def _proposed(self, pixels: UInt8, min_side: int, max_side: float) -> torch.Tensor:
        """The first network's squares on every level, float32 (n, 5) with probabilities."""
        height, width = pixels.shape[:2]
        scale = _WINDOW / min_side
        level = _reduced(pixels, scale)
        found = []
        while _WINDOW / scale < max_side / _FACTOR and min(level.shape[2:]) >= _WINDOW:
            found.append(self._windows(level, scale))
            scale *= _FACTOR
            # Each level comes from the one before: the full picture is read once.
            level = interpolate(
                level, (int(height * scale + 1), int(width * scale + 1)), mode="area"
            )
        boxes = torch.cat([torch.zeros((0, 9)), *found])
        boxes = boxes[nms(boxes[:, :4], boxes[:, 4], 0.7)]
        sides = boxes[:, 2:4] - boxes[:, :2]  # (n, 2)
        corners = boxes[:, :4] + boxes[:, 5:] * torch.cat([sides, sides], dim=1)
        squares: torch.Tensor = mtcnn.rerec(torch.cat([corners, boxes[:, 4:5]], dim=1))
        return squares

    def _windows(self, level: torch.Tensor, scale: float) -> torch.Tensor:
        """The first network's boxes on one level, float32 (n, 9), in pixels of the picture."""
        found = []
        step = (
            _TILE - _WINDOW
        )  # even, as is the network's stride: the tiles' windows are the level's
        for top in range(0, level.shape[2] - _WINDOW + 1, step):
            for left in range(0, level.shape[3] - _WINDOW + 1, step):
                tile = level[:, :, top : top + _TILE, left : left + _TILE]
                offsets, probabilities = self._mtcnn.pnet(_normal(tile).to(self._mtcnn.device))
                boxes, _ = mtcnn.generateBoundingBox(
                    offsets.cpu(), probabilities[:, 1].cpu(), scale, SURELY_PROPOSED
                )
                boxes[:, :4] += torch.tensor([left, top, left, top]) / scale
                found.append(boxes)
        boxes = torch.cat([torch.zeros((0, 9)), *found])
        return boxes[nms(boxes[:, :4], boxes[:, 4], 0.5)]

    def _confirmed(self, pixels: UInt8, squares: torch.Tensor) -> tuple[Float64, Float64]:
        """What the second and third network leave: boxes (n, 5), landmarks (n, 5, 2)."""
        nothing = np.empty((0, 5)), np.empty((0, 5, 2))
        squares = _inside(squares, pixels)
        if not len(squares):
            return nothing
        offsets, probabilities = self._run("rnet", pixels, squares, 24)
        passed = probabilities[:, 1] > _REFINED
        boxes = torch.cat([squares[passed, :4], probabilities[passed, 1:]], dim=1)
        kept = nms(boxes[:, :4], boxes[:, 4], 0.7)
        return self._located(pixels, mtcnn.rerec(mtcnn.bbreg(boxes[kept], offsets[passed][kept])))

    def _located(self, pixels: UInt8, squares: torch.Tensor) -> tuple[Float64, Float64]:
        """What the third network leaves of squares: boxes (n, 5), landmarks (n, 5, 2)."""
        squares = _inside(squares, pixels)
        if not len(squares):
            return np.empty((0, 5)), np.empty((0, 5, 2))
        offsets, points, probabilities = self._run("onet", pixels, squares, 48)
        passed = probabilities[:, 1] > _FOUND
        boxes = torch.cat([squares[passed, :4], probabilities[passed, 1:]], dim=1)
        corner, side = boxes[:, None, :2], (boxes[:, 2:4] - boxes[:, :2] + 1)[:, None]
        shares = points[passed].reshape(-1, 2, 5).transpose(1, 2)  # (n, 5, 2), of the square's side
        landmarks = shares * side + corner - 1
        boxes = mtcnn.bbreg(boxes, offsets[passed])
        kept = mtcnn.batched_nms_numpy(
            boxes[:, :4], boxes[:, 4], torch.zeros(len(boxes)), 0.7, "Min"
        )
        return boxes[kept].numpy(), landmarks[kept].numpy()

    def _run(
        self, network: str, pixels: UInt8, squares: torch.Tensor, side: int
    ) -> list[torch.Tensor]:
        """A network's answers for the pixels in each of the squares, at least one."""
        height, width = pixels.shape[:2]
        crops = np.zeros((len(squares), side, side, 3), np.uint8)
        borders = zip(*mtcnn.pad(squares, width, height), strict=True)
        for crop, (top, bottom, left, right) in zip(crops, borders, strict=True):
            part = Image.fromarray(pixels[top - 1 : bottom, left - 1 : right])
            crop[:] = np.asarray(part.resize((side, side), Image.Resampling.BOX))
        model = getattr(self._mtcnn, network)
        answers = [
            [answer.cpu() for answer in model(_normal(_planes(batch)).to(self._mtcnn.device))]
            for batch in np.array_split(crops, -(-len(crops) // _BATCH))
        ]
        return [torch.cat(parts) for parts in zip(*answers, strict=True)]


def _inside(squares: torch.Tensor, pixels: UInt8) -> torch.Tensor:
    """Those that meet the picture."""
    height, width = pixels.shape[:2]
    top, bottom, left, right = mtcnn.pad(squares, width, height)
    return squares[torch.from_numpy((bottom >= top) & (right >= left))]


def _reduced(pixels: UInt8, scale: float) -> torch.Tensor:
    """The picture's first level, float32 (1, 3, h, w): each pixel the mean of those it covers."""
    height, width = pixels.shape[:2]
    size = int(width * scale + 1), int(height * scale + 1)
    return _planes(np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))[None])


def _planes(images: UInt8) -> torch.Tensor:
    """uint8 (n, h, w, 3) -> float32 (n, 3, h, w), 0 to 255."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float()


def _normal(images: torch.Tensor) -> torch.Tensor:
    return (images - 127.5) * 0.0078125  # as the networks were trained
