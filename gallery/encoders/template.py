"""Where a network wants a face's five landmarks to lie in its chip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Template:
    """A chip's size and the landmarks' places in it, in pixels.

    points : left eye, right eye, nose, left and right corner of the mouth, as the viewer sees them.
    weights : of the landmarks in the least-squares fit.
    stretch : how much wider than in the photo a face is in the chip.
    """

    width: int
    height: int
    points: Points
    weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0)
    stretch: float = 1.0

    def resized(self, width: int, height: int) -> Template:
        """The same face in a chip of another size; the landmarks keep their share of it."""
        points = tuple((x * width / self.width, y * height / self.height) for x, y in self.points)
        return Template(width, height, points, self.weights, self.stretch)


def five_points(points: Sequence[Sequence[float]], width: int, height: int) -> Template:
    """A template of the user's own. Raises ValueError for what cannot be a face."""
    if len(points) != 5 or any(len(point) != 2 for point in points):
        raise ValueError("five points of two numbers are needed: eyes, nose, corners of the mouth")
    found = tuple((float(x), float(y)) for x, y in points)
    if not all(-width <= x <= 2 * width and -height <= y <= 2 * height for x, y in found):
        raise ValueError(f"the points must lie in or near the chip of {width} x {height} pixels")
    if found[1][0] - found[0][0] < 0.05 * width:
        raise ValueError(
            "the first point is the left eye as the viewer sees it, the second the right one: the"
            " second must lie to the right of the first"
        )
    return Template(width, height, found)


DLIB_150 = Template(
    150,
    150,
    # Where dlib's 5-point shape predictor's mean landmarks lie in its chip.
    ((48.56, 46.63), (102.45, 46.66), (75.24, 78.98), (51.94, 106.02), (98.86, 106.14)),
    # The mouth moves with expression and counts less.
    (8.0, 8.0, 3.0, 0.25, 0.25),
)
ARCFACE_112 = Template(
    112,
    112,
    # ArcFace's reference landmarks (Deng et al. 2019), which OpenCV's SFace shares.
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
"""By the names that a TOML file may give."""
