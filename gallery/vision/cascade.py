"""MTCNN's cascade: three networks, each looking closer at what the one before proposed.

`detect` finds what facenet-pytorch's detect_face does. `detect_small` runs the same networks for
small faces in large pictures: it leaves out the levels of the pyramid where larger faces would be
found, and holds only the first level, at the scale of 12 pixels a face, in memory beside the
picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from gallery.networks.machine import Machine
from gallery.types import Float32, Float64, Int64, UInt8
from gallery.vision.area import Planes
from gallery.vision.boxes import inside, refined, squared, suppressed, suppressed_in_smaller
from gallery.vision.mtcnn import open_mtcnn

_WINDOW = 12
"""The first network takes windows of 12 x 12 pixels; smaller photos have no face for it."""
_STRIDE = 2
"""Pixels from one window to the next."""
_FACTOR = 0.709
"""From one level of the pyramid to the next; facenet-pytorch's."""
PROPOSED, _REFINED, _FOUND = 0.6, 0.7, 0.7
"""Minimum probabilities after each network; facenet-pytorch's."""
SURELY_PROPOSED = 0.95
"""Instead of the first of them where there is much to search: it proposes a third as much, and 171
instead of 172 of 172 faces were found with it."""
_SAME_LEVEL, _SAME = 0.5, 0.7
"""The most overlap of two boxes of one level of the pyramid, and of two of any; facenet-pytorch's.
"""
_SHIFTS = (0.0, 0.05, 0.1)
"""How far another detector's squares are moved down, of their sides. The third network is surest of
a face that lies as the first two would place it."""
_TILE = 256
"""Side of the first network's input in pixels; larger levels are cut where memory is short. It fits
a processor's cache."""


class Detection(NamedTuple):
    """box (4,): left, top, right, bottom; landmarks (5, 2). In pixels of the searched picture."""

    box: Float64
    landmarks: Float64
    probability: float

    @property
    def side(self) -> float:
        return float(min(self.box[2] - self.box[0], self.box[3] - self.box[1]))


class Cascade:
    """The three networks, one after the other.

    min_probability : minimum probability of a detection.
    Raises WeightsError.
    """

    def __init__(self, *, min_probability: float, machine: Machine) -> None:
        self.min_probability = min_probability
        self._networks = open_mtcnn(machine)

    def detect(self, pixels: UInt8, min_side: int, proposed: float = PROPOSED) -> list[Detection]:
        """Find faces of at least this side.

        proposed : minimum probability after the first network. A larger one is quicker.
        """
        if min(pixels.shape[:2]) < max(min_side, _WINDOW):
            return []
        picture = _WholePicture(pixels)
        found = [self._windows(level, scale, proposed) for level, scale in picture.levels(min_side)]
        return self._usable(*self._confirmed(picture, found), min_side)

    def detect_small(self, pixels: UInt8, min_side: int, max_side: float) -> list[Detection]:
        """Find faces of at least `min_side`. Those well over `max_side` are not looked for."""
        if min(pixels.shape[:2]) < max(min_side, _WINDOW):
            return []
        picture = _LargePicture(pixels)
        found = [
            self._windows_in_tiles(level, scale)
            for level, scale in picture.levels(min_side, max_side)
        ]
        return self._usable(*self._confirmed(picture, found), min_side)

    def located(self, pixels: UInt8, squares: Float32, min_side: int) -> list[Detection]:
        """Faces where another detector found some, by the third network alone.

        squares : float32 (n, 4), left, top, right, bottom.
        """
        sides = squares[:, 2] - squares[:, 0]
        shifts = [np.outer(sides * share, (0.0, 1.0, 0.0, 1.0)) for share in _SHIFTS]
        moved = np.concatenate([squares + shift for shift in shifts]).astype(np.float32)
        return self._usable(*self._located(_LargePicture(pixels), moved), min_side)

    def _usable(self, boxes: Float32, landmarks: Float32, min_side: int) -> list[Detection]:
        detections = [
            Detection(box[:4].astype(float), points.astype(float), float(box[4]))
            for box, points in zip(boxes, landmarks, strict=True)
        ]
        return [
            d for d in detections if d.probability >= self.min_probability and d.side >= min_side
        ]

    def _windows(self, level: Float32, scale: float, proposed: float) -> Float32:
        """The first network's boxes on one level, in pixels of the picture.

        Returns float32 (n, 9): boxes, probabilities, and offsets as shares of the boxes' sides.
        """
        boxes = self._all_windows(level, scale, proposed)
        return boxes[suppressed(boxes, boxes[:, 4], _SAME_LEVEL)]

    def _all_windows(self, level: Float32, scale: float, proposed: float) -> Float32:
        offsets, probabilities = self._networks.propose(level[None])
        rows, columns = np.nonzero(probabilities >= proposed)
        corners = (_STRIDE * np.stack([columns, rows], axis=1)).astype(np.float32)
        return np.concatenate(
            [
                np.floor((corners + 1) / np.float32(scale)),
                np.floor((corners + _WINDOW) / np.float32(scale)),
                probabilities[rows, columns, None],
                offsets[:, rows, columns].T,
            ],
            axis=1,
        )

    def _windows_in_tiles(self, level: Float32, scale: float) -> Float32:
        """As _windows, by a quicker look at a level that may be large."""
        found = [np.empty((0, 9), np.float32)]
        # Even, as is the network's stride: the tiles' windows are the level's.
        step = _TILE - _WINDOW
        for top in range(0, level.shape[1] - _WINDOW + 1, step):
            for left in range(0, level.shape[2] - _WINDOW + 1, step):
                tile = level[:, top : top + _TILE, left : left + _TILE]
                boxes = self._all_windows(np.ascontiguousarray(tile), scale, SURELY_PROPOSED)
                boxes[:, :4] += np.array([left, top, left, top], np.float32) / np.float32(scale)
                found.append(boxes)
        boxes = np.concatenate(found)
        return boxes[suppressed(boxes, boxes[:, 4], _SAME_LEVEL)]

    def _confirmed(
        self, picture: _WholePicture | _LargePicture, found: list[Float32]
    ) -> tuple[Float32, Float32]:
        """What the second and third network leave of the first's boxes on all levels.

        Returns boxes with probabilities, (n, 5), and landmarks, (n, 5, 2).
        """
        boxes = np.concatenate([np.empty((0, 9), np.float32), *found])
        boxes = boxes[suppressed(boxes, boxes[:, 4], _SAME)]
        sides = boxes[:, 2:4] - boxes[:, :2]  # (n, 2)
        boxes[:, :4] += boxes[:, 5:] * np.concatenate([sides, sides], axis=1)
        squares, parts = picture.inside(squared(boxes[:, :4]))
        if not len(squares):
            return _nothing()
        offsets, probabilities = self._networks.refine(picture.crops(parts, 24))
        passed = probabilities > _REFINED
        squares, offsets, probabilities = squares[passed], offsets[passed], probabilities[passed]
        kept = suppressed(squares, probabilities, _SAME)
        return self._located(picture, squared(refined(squares[kept], offsets[kept])))

    def _located(
        self, picture: _WholePicture | _LargePicture, squares: Float32
    ) -> tuple[Float32, Float32]:
        """What the third network leaves of squares. Returns as _confirmed does."""
        squares, parts = picture.inside(squares)
        if not len(squares):
            return _nothing()
        offsets, shares, probabilities = self._networks.locate(picture.crops(parts, 48))
        passed = probabilities > _FOUND
        squares, probabilities = squares[passed], probabilities[passed]
        corners, sides = squares[:, None, :2], (squares[:, 2:4] - squares[:, :2] + 1)[:, None]
        landmarks = shares[passed] * sides + corners - 1
        boxes = refined(squares, offsets[passed])
        kept = suppressed_in_smaller(boxes, probabilities, _SAME)
        return np.column_stack([boxes[kept], probabilities[kept]]), landmarks[kept]


def _nothing() -> tuple[Float32, Float32]:
    return np.empty((0, 5), np.float32), np.empty((0, 5, 2), np.float32)


class _WholePicture:
    """A picture that is shrunk as facenet-pytorch does it: each crop and each level from all."""

    def __init__(self, pixels: UInt8) -> None:
        self._planes = Planes.of(pixels)

    def levels(self, min_side: int) -> Iterator[tuple[Float32, float]]:
        """The levels, float32 (3, h, w), with their scales."""
        height, width = self._planes.height, self._planes.width
        scale = _WINDOW / min_side
        shorter = min(height, width) * scale
        while shorter >= _WINDOW:
            yield self._planes.shrunk(int(height * scale + 1), int(width * scale + 1)), scale
            scale *= _FACTOR
            shorter *= _FACTOR

    def inside(self, squares: Float32) -> tuple[Float32, Int64]:
        return inside(squares, self._planes.width, self._planes.height)

    def crops(self, parts: Int64, side: int) -> Float32:
        """The parts, each shrunk or enlarged to a square: float32 (n, 3, side, side)."""
        crops = np.empty((len(parts), 3, side, side), np.float32)
        for crop, (left, top, right, bottom) in zip(crops, parts.tolist(), strict=True):
            crop[:] = self._planes.shrunk(side, side, (left, top, right, bottom))
        return crops


class _LargePicture:
    """A picture that may be too large for sums of all its columns."""

    def __init__(self, pixels: UInt8) -> None:
        self._pixels = pixels

    def levels(self, min_side: int, max_side: float) -> Iterator[tuple[Float32, float]]:
        """The levels for faces between these sides, as those of _WholePicture."""
        height, width = self._pixels.shape[:2]
        scale = _WINDOW / min_side
        size = int(width * scale + 1), int(height * scale + 1)
        first = np.asarray(Image.fromarray(self._pixels).resize(size, Image.Resampling.BOX))
        level = first.transpose(2, 0, 1).astype(np.float32)
        while _WINDOW / scale < max_side / _FACTOR and min(level.shape[1:]) >= _WINDOW:
            yield level, scale
            scale *= _FACTOR
            # Each level comes from the one before: the full picture is read once.
            level = Planes(level).shrunk(int(height * scale + 1), int(width * scale + 1))

    def inside(self, squares: Float32) -> tuple[Float32, Int64]:
        height, width = self._pixels.shape[:2]
        return inside(squares, width, height)

    def crops(self, parts: Int64, side: int) -> Float32:
        """As those of _WholePicture, but for rounding to whole grey levels."""
        crops = np.empty((len(parts), 3, side, side), np.float32)
        for crop, (left, top, right, bottom) in zip(crops, parts.tolist(), strict=True):
            part = Image.fromarray(self._pixels[top:bottom, left:right])
            shrunk = np.asarray(part.resize((side, side), Image.Resampling.BOX))
            crop[:] = shrunk.transpose(2, 0, 1)
        return crops
