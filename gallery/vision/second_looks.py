"""How a photo in which nothing was found is looked at again: its light evened out, then turned.

Each look is a picture made of the photo's pixels, and the matrix that takes a point of it back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from gallery.types import Float32, Float64, UInt8
from gallery.vision.cascade import Detection

_TURNS = (90, 180, 270, 45, 315)
"""Degrees, clockwise. The detector finds faces up to about 40 degrees from upright by itself."""
_DARKEST = 4.0
"""Grey levels added before the logarithm, so that the noise of black does not become a pattern."""
_LIGHT_REMOVED, _LEAST_VARIANCE = 0.7, 0.01


@dataclass(frozen=True)
class Look:
    """picture : uint8 (h, w, 3).  matrix : float64 (2, 3), from its pixels to the photo's."""

    picture: UInt8
    matrix: Float64

    @property
    def is_turned(self) -> bool:
        return bool(self.matrix[0, 0] != 1.0)

    def to_photo(self, found: Detection) -> Detection:
        """The detection in the photo's pixels. Its box keeps its size, and stays level."""
        turn, shift = self.matrix[:, :2], self.matrix[:, 2]
        centre = turn @ (found.box[:2] + found.box[2:]) / 2.0 + shift
        half = (found.box[2:] - found.box[:2]) / 2.0
        if abs(turn[1, 0]) > abs(turn[0, 0]):
            half = half[::-1]
        box = np.concatenate([centre - half, centre + half])
        return Detection(box, found.landmarks @ turn.T + shift, found.probability)


def evened(pixels: UInt8) -> Iterator[Look]:
    """The photo in grey, without most of the difference in light between its regions.

    First the logarithm less most of its own blur (a retinex, Land 1986); then less all of it, with
    the same contrast everywhere.
    """
    grey = np.asarray(Image.fromarray(pixels).convert("L"), dtype=np.float32)
    light = np.log(grey + _DARKEST)
    blurred = _blurred(light)
    yield _in_grey(light - _LIGHT_REMOVED * blurred)
    detail = light - blurred
    yield _in_grey(detail / np.sqrt(_blurred(detail**2) + _LEAST_VARIANCE))


def _blurred(values: Float32) -> Float32:
    """Three box filters, about a Gaussian of a sixth of the shorter side."""
    from scipy.ndimage import uniform_filter  # slow to import; few photos need it

    side = max(3, 2 * (min(values.shape) // 6) + 1)
    for _ in range(3):
        values = uniform_filter(values, side, mode="nearest")
    return values


def _in_grey(values: Float32) -> Look:
    """Between the first and the last percentile of the values: black to white."""
    black, white = np.percentile(values, (1, 99))
    shares = np.clip((values - black) / max(white - black, 1e-6), 0.0, 1.0)
    grey = (255.0 * shares).astype(np.uint8)
    return Look(np.repeat(grey[..., None], 3, axis=2), np.eye(2, 3))


def turned(pixels: UInt8) -> Iterator[Look]:
    """The photo turned by quarters, then by eighths; black outside."""
    for degrees in _TURNS:
        yield _turned(pixels, degrees)


def _turned(pixels: UInt8, degrees: int) -> Look:
    angle = np.radians(degrees)
    cos, sin = (round(float(v), 9) for v in (np.cos(angle), np.sin(angle)))
    height, width = pixels.shape[:2]
    size = np.array([abs(width * cos) + abs(height * sin), abs(width * sin) + abs(height * cos)])
    size = np.rint(size).astype(int)
    turn = np.array([[cos, sin], [-sin, cos]])
    shift = (np.array([width, height]) - 1) / 2.0 - turn @ (size - 1) / 2.0
    matrix = np.column_stack([turn, shift])
    if degrees % 90 == 0:
        return Look(np.ascontiguousarray(np.rot90(pixels, -degrees // 90)), matrix)
    # Pillow puts pixel centres at +1/2, we put them at whole numbers.
    offset = shift + 0.5 - turn @ np.array([0.5, 0.5])
    picture = Image.fromarray(pixels).transform(
        (int(size[0]), int(size[1])),
        Image.Transform.AFFINE,
        (*turn[0], offset[0], *turn[1], offset[1]),
        resample=Image.Resampling.BILINEAR,
    )
    return Look(np.array(picture), matrix)
