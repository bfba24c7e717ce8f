"""Step 2 of the walk: the faces of a photo, each as an aligned chip.

Detection and the five landmarks are facenet-pytorch's MTCNN. The chip is the encoder's: the
least-squares similarity that carries the landmarks onto the mean face it was trained with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from facenet_pytorch import MTCNN
from facenet_pytorch.models.utils.detect_face import detect_face
from PIL import Image

from gallery.config import MAX_VIEWS
from gallery.encoders.template import DLIB_150, Template
from gallery.encoders.weights import MTCNN_NETWORKS
from gallery.errors import PhotoUndecodable
from gallery.types import Box, Face, Float32, Float64, Photo, UInt8

_TEMPLATE, _WEIGHTS = np.array(DLIB_150.points), np.array(DLIB_150.weights)
_BORDER = 0.25
"""Share of the longer side that is put around a photo in which a face fills the frame."""
_SMALLEST_SIDE = 12
"""MTCNN's first network sees 12 x 12 pixels; a photo with a shorter side has no face for it."""


@dataclass(frozen=True)
class View:
    """How one chip of a face differs from the aligned one.

    zoom : > 1 shows less of the surroundings.  right, down : shift in pixels of a chip that is 150
        pixels wide; as much of the face in another.
    """

    mirrored: bool = False
    zoom: float = 1.0
    right: float = 0.0
    down: float = 0.0


def _views() -> tuple[View, ...]:
    frames = (
        View(),
        View(zoom=1.06),
        View(zoom=0.94),
        View(right=3.0, down=2.0),
        View(right=-3.0, down=-2.0),
    )
    both = (
        View(mirrored, frame.zoom, frame.right, frame.down)
        for frame in frames
        for mirrored in (False, True)
    )
    return tuple(both)


VIEWS = _views()
"""An n-view encoding is of the first n: the chip, its mirror image, then zooms and shifts."""
assert len(VIEWS) == MAX_VIEWS


_Found = tuple[Float64, Float64, float]
"""A box (4,), landmarks (5, 2), and the detector's probability."""


class FaceDetector:
    """Finds faces; the same photo always has the same answer, since photos never share a batch.

    min_face : faces with a shorter side, in pixels of the working picture, are left out.
    min_probability : detections under it are left out.
    """

    def __init__(self, *, min_face: int, min_probability: float, device: torch.device) -> None:
        self.min_face = min_face
        self.min_probability = min_probability
        for source in MTCNN_NETWORKS:
            source.read()  # checks them; MTCNN opens the same files itself
        self._mtcnn = MTCNN(device=device).eval()

    def find(self, photo: Photo) -> list[Face]:
        """Every usable face, largest first.

        Raises PhotoUndecodable when the detector itself fails on the pixels.
        """
        found = self._detect(photo.pixels, self.min_face)
        cut = [self._leaves(photo.pixels, box) for box, _, _ in found]
        if not found or any(cut):
            # Cropped so tightly that the detector's window never holds the whole face: it is then
            # missed, or its landmarks are poor (cosine to the uncropped face .95 instead of .99).
            framed = self._detect_framed(photo.pixels)
            whole = [each for each, is_cut in zip(found, cut, strict=True) if not is_cut]
            lost = [each for each, is_cut in zip(found, cut, strict=True) if is_cut]
            kept = [each for each in lost if not any(_same_place(each, f) for f in framed)]
            again = [f for f in framed if not found or any(_same_place(f, each) for each in lost)]
            found = whole + kept + again
        faces = [self._face(photo, *each) for each in found]
        return sorted(faces, key=lambda f: (-f.box.side, f.box.left, f.box.top))

    @staticmethod
    def _leaves(pixels: UInt8, box: Float64) -> bool:
        """Whether a box that fills a quarter of the picture or more reaches over its border."""
        height, width = pixels.shape[:2]
        outside = box[0] < 0 or box[1] < 0 or box[2] > width or box[3] > height
        return bool(outside and box[3] - box[1] >= min(height, width) // 4)

    def _detect_framed(self, pixels: UInt8) -> list[_Found]:
        """As _detect, with a border round the picture, for faces that fill a quarter or more."""
        border = round(_BORDER * max(pixels.shape[:2]))
        framed = np.pad(pixels, ((border, border), (border, border), (0, 0)), mode="edge")
        filling = max(self.min_face, min(pixels.shape[:2]) // 4)
        return [
            (box - border, points - border, probability)
            for box, points, probability in self._detect(framed, filling)
        ]

    def _detect(self, pixels: UInt8, smallest: int) -> list[_Found]:
        """Boxes (4,), landmarks (5, 2) in pixels of the working picture, and probabilities."""
        if min(pixels.shape[:2]) < max(smallest, _SMALLEST_SIDE):
            return []
        nets = self._mtcnn
        try:
            with torch.inference_mode():
                (boxes,), (landmarks,) = detect_face(
                    pixels,
                    smallest,
                    nets.pnet,
                    nets.rnet,
                    nets.onet,
                    nets.thresholds,
                    nets.factor,
                    nets.device,
                )
        except (RuntimeError, IndexError) as error:
            # facenet-pytorch trips over windows that lie wholly outside the picture.
            raise PhotoUndecodable(f"the face detector failed on this photo: {error}") from error
        found = [
            (np.asarray(box[:4], float), np.asarray(points, float), float(box[4]))
            for box, points in zip(boxes, landmarks, strict=True)
        ]
        return [
            (box, points, probability)
            for box, points, probability in found
            if probability >= self.min_probability
            and min(box[2] - box[0], box[3] - box[1]) >= smallest
        ]

    def _face(self, photo: Photo, box: Float64, points: Float64, probability: float) -> Face:
        left, top, right, bottom = (float(v) * photo.scale for v in box)
        landmarks = (points * photo.scale).astype(np.float32)
        return Face(
            box=Box(left, top, right, bottom),
            landmarks=landmarks,
            probability=probability,
            sharpness=_sharpness(align(photo, landmarks, VIEWS[:1])[0]),
        )


def _same_place(one: _Found, other: _Found) -> bool:
    """Whether the centre of each box lies in the other's inner half."""
    a, b = one[0], other[0]
    apart = np.abs((a[:2] + a[2:]) - (b[:2] + b[2:])) / 2.0
    return bool((apart < (np.minimum(a[2:] - a[:2], b[2:] - b[:2]) / 4.0)).all())


def align(
    photo: Photo, landmarks: Float32, views: Sequence[View], template: Template = DLIB_150
) -> UInt8:
    """One chip a view: uint8 (len(views), height, width, 3), RGB. Outside the photo is black.

    landmarks : float32 (5, 2), pixels of the upright file.
    """
    middle = np.array([(template.width - 1) / 2.0, 0.0])
    narrow = np.array([1.0 / template.stretch, 1.0])
    matrix = _similarity(
        (np.array(template.points) - middle) * narrow + middle,
        landmarks.astype(np.float64) / photo.scale,
        np.array(template.weights),
    )  # chip -> working picture, (2, 3)
    source, matrix = _near(photo.pixels, matrix, template)
    return np.stack([_chip(source, matrix, view, template) for view in views])


def _similarity(origin: Float64, target: Float64, weights: Float64 = _WEIGHTS) -> Float64:
    """The weighted least-squares similarity [[a, -b, x], [b, a, y]] from origin to target, (2, 3).

    With centred points, a and b are sums of dot and cross products over the origin's spread
    (Umeyama 1991, for two dimensions and without reflection).
    """
    weights = (weights / weights.sum())[:, None]
    origin_mean, target_mean = (weights * origin).sum(0), (weights * target).sum(0)
    p, q = origin - origin_mean, target - target_mean
    spread = (weights * p * p).sum()
    a = (weights * p * q).sum() / spread
    b = (weights[:, 0] * (p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0])).sum() / spread
    rotation = np.array([[a, -b], [b, a]])
    return np.column_stack([rotation, target_mean - rotation @ origin_mean])


def _near(pixels: UInt8, matrix: Float64, template: Template) -> tuple[Image.Image, Float64]:
    """The part of the picture the chip may show, halved until a chip pixel spans at most two."""
    beyond = max(template.width, template.height) / 5
    corners = np.array(
        [
            (x, y)
            for x in (-beyond, template.width + beyond)
            for y in (-beyond, template.height + beyond)
        ]
    )
    spanned = corners @ matrix[:, :2].T + matrix[:, 2]
    height, width = pixels.shape[:2]
    left, top = (max(0, math.floor(v)) for v in spanned.min(0))
    right, bottom = (math.ceil(v) + 1 for v in spanned.max(0))
    right, bottom = max(left + 1, min(width, right)), max(top + 1, min(height, bottom))
    source = Image.fromarray(pixels[top:bottom, left:right])
    matrix = matrix - np.array([[0.0, 0.0, left], [0.0, 0.0, top]])
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    factor = 1
    while scale / factor > 2.0:
        factor *= 2
    if factor > 1:
        source = source.reduce(factor)
        # Pixel centres: index i of the halved picture lies at factor * (i + 1/2) - 1/2.
        matrix = (matrix + np.array([[0.0, 0.0, 0.5], [0.0, 0.0, 0.5]])) / factor
        matrix -= np.array([[0.0, 0.0, 0.5], [0.0, 0.0, 0.5]])
    return source, matrix


def _chip(source: Image.Image, matrix: Float64, view: View, template: Template) -> UInt8:
    middle_x, middle_y = (template.width - 1) / 2.0, (template.height - 1) / 2.0
    pixel = template.width / DLIB_150.width
    right, down = view.right * pixel, view.down * pixel
    zoom_x = view.zoom * template.stretch
    # chip pixel of the view -> chip pixel of the aligned face
    framing = np.array(
        [
            [1.0 / zoom_x, 0.0, middle_x - (middle_x + right) / zoom_x],
            [0.0, 1.0 / view.zoom, middle_y - (middle_y + down) / view.zoom],
            [0.0, 0.0, 1.0],
        ]
    )
    whole = matrix @ framing  # (2, 3)
    # Pillow's matrix is in coordinates whose pixel centres lie at +1/2; ours at whole numbers.
    half = np.array([0.5, 0.5])
    shift = whole[:, 2] + half - whole[:, :2] @ half
    coefficients = (*whole[0, :2], shift[0], *whole[1, :2], shift[1])
    chip = np.asarray(
        source.transform(
            (template.width, template.height),
            Image.Transform.AFFINE,
            coefficients,
            resample=Image.Resampling.BILINEAR,
        )
    )
    return chip[:, ::-1] if view.mirrored else chip


def _sharpness(chip: UInt8) -> float:
    """Variance of the 4-neighbour Laplacian of the luminance (Pech-Pacheco et al. 2000)."""
    grey = np.asarray(Image.fromarray(chip).convert("L"), dtype=np.float32)
    laplacian = (
        grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    )
    return float(laplacian.var())
