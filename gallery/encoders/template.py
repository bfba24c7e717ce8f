"""Alignment templates: where the five landmarks of a face lie in a network's chip.

A chip is an aligned crop of one face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gallery.types import Float64

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Template:
    """The size of a chip, and the positions of the landmarks in it, in pixels.

    points : left eye, right eye, nose, left and right corner of the mouth, as the viewer sees them.
    weights : of the landmarks in the least-squares fit.
    stretch : horizontal stretch of the chip. Above 1 a face is wider than in the photo.
    """

    width: int
    height: int
    points: Points
    weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0)
    stretch: float = 1.0

    def resized(self, width: int, height: int) -> Template:
        """The template for a chip of another size, with its points scaled in proportion."""
        points = tuple((x * width / self.width, y * height / self.height) for x, y in self.points)
        return Template(width, height, points, self.weights, self.stretch)


def five_points(points: Sequence[Sequence[float]], width: int, height: int) -> Template:
    """A template from the user's points. Raises ValueError for points that cannot be a face's."""
    if len(points) != 5 or any(len(point) != 2 for point in points):
        raise ValueError("expected five points [x, y]: eyes, nose, corners of the mouth")
    pairs = tuple((float(x), float(y)) for x, y in points)
    if not all(-width <= x <= 2 * width and -height <= y <= 2 * height for x, y in pairs):
        raise ValueError(f"the points must lie in or near the chip of {width} x {height} pixels")
    if pairs[1][0] - pairs[0][0] < 0.05 * width:
        raise ValueError(
            "the first point is the left eye as the viewer sees it, the second is the right eye:"
            " the second must lie to the right of the first"
        )
    return Template(width, height, pairs)


def fit_similarity(
    origin: Float64, target: Float64, weights: Sequence[float] | None = None
) -> Float64:
    """The least-squares similarity [[a, -b, x], [b, a, y]] from origin to target, (2, 3).

    origin, target : float64 (n, 2). weights : one for each point; None: all alike.
    With centred points, a and b are sums of dot and cross products over the origin's spread
    (Umeyama 1991, for two dimensions and without reflection).
    """
    shares = np.ones(len(origin)) if weights is None else np.array(weights, dtype=np.float64)
    shares = (shares / shares.sum())[:, None]
    origin_mean, target_mean = (shares * origin).sum(0), (shares * target).sum(0)
    p, q = origin - origin_mean, target - target_mean
    spread = (shares * p * p).sum()
    a = (shares * p * q).sum() / spread
    b = (shares[:, 0] * (p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0])).sum() / spread
    rotation = np.array([[a, -b], [b, a]])
    return np.column_stack([rotation, target_mean - rotation @ origin_mean])


DLIB_150 = Template(
    150,
    150,
    # The mean landmarks of dlib's 5-point shape predictor in its chip.
    ((48.56, 46.63), (102.45, 46.66), (75.24, 78.98), (51.94, 106.02), (98.86, 106.14)),
    # The mouth moves with expression, so it counts less.
    (8.0, 8.0, 3.0, 0.25, 0.25),
)
ARCFACE_112 = Template(
    112,
    112,
    # ArcFace's reference landmarks (Deng et al. 2019), which OpenCV's SFace uses too.
    (
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ),
)
BUILT_IN = {
    "arcface-112": ARCFACE_112,
    "sface-112": ARCFACE_112,
    "dlib-150": DLIB_150,
}
"""Templates by the name used in a TOML file."""
