"""Step 2 of a query: find the faces of a photo and align each one to a chip.

Faces and their five landmarks come from facenet-pytorch's MTCNN. The chip follows the encoder's
template: a least-squares similarity maps the landmarks onto the mean face it was trained with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from facenet_pytorch import MTCNN
from facenet_pytorch.models.utils.detect_face import detect_face
from PIL import Image

from gallery.config import MAX_VIEWS
from gallery.encoders.template import DLIB_150, Template, fit_similarity
from gallery.encoders.weights import MTCNN_NETWORKS
from gallery.errors import PhotoUndecodable
from gallery.types import Box, Face, Float32, Float64, Photo, UInt8

_BORDER = 0.25
"""Width of the border added around a photo whose face fills the frame, over its longer side."""
_MIN_PHOTO_SIDE = 12
"""MTCNN's first network takes windows of 12 x 12 pixels; smaller photos have no face for it."""


@dataclass(frozen=True)
class View:
    """How a chip differs from the plain aligned one.

    zoom : above 1 shows less of the surroundings.
    right, down : shift in pixels of a chip 150 pixels wide; scaled for chips of other widths.
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
    return tuple(
        replace(frame, mirrored=mirrored) for frame in frames for mirrored in (False, True)
    )


VIEWS = _views()
"""An encoding of n views uses the first n: the chip, its mirror image, then zooms and shifts."""
assert len(VIEWS) == MAX_VIEWS


class _Detection(NamedTuple):
    """box (4,): left, top, right, bottom; landmarks (5, 2). In pixels of the working image."""

    box: Float64
    landmarks: Float64
    probability: float


class FaceDetector:
    """Finds faces. Photos never share a batch, so that the same photo always gives the same faces.

    min_face : minimum length of a face's shorter side, in pixels of the working image.
    min_probability : minimum probability of a detection.
    """

    def __init__(self, *, min_face: int, min_probability: float, device: torch.device) -> None:
        self.min_face = min_face
        self.min_probability = min_probability
        for source in MTCNN_NETWORKS:
            source.read()  # verifies the checksum; MTCNN opens the same files itself
        self._mtcnn = MTCNN(device=device).eval()

    def find(self, photo: Photo) -> list[Face]:
        """Every usable face, largest first.

        Raises PhotoUndecodable when the detector itself fails on the pixels.
        """
        detections = self._detect(photo.pixels, self.min_face)
        cut = [d for d in detections if _is_cut(photo.pixels, d.box)]
        if not detections or cut:
            # In a tight crop the detector's window never holds the whole face: it misses the face,
            # or places its landmarks badly (cosine to the uncropped face .95 instead of .99).
            framed = self._detect_framed(photo.pixels)
            whole = [d for d in detections if not _is_cut(photo.pixels, d.box)]
            unmatched = [d for d in cut if not any(_is_same_place(d, f) for f in framed)]
            better = [f for f in framed if not detections or any(_is_same_place(f, d) for d in cut)]
            detections = whole + unmatched + better
        faces = [_face(photo, detection) for detection in detections]
        return sorted(faces, key=lambda f: (-f.box.side, f.box.left, f.box.top))

    def _detect_framed(self, pixels: UInt8) -> list[_Detection]:
        """Faces that fill a quarter of the image or more, detected with a border around it."""
        border = round(_BORDER * max(pixels.shape[:2]))
        framed = np.pad(pixels, ((border, border), (border, border), (0, 0)), mode="edge")
        min_side = max(self.min_face, min(pixels.shape[:2]) // 4)
        return [
            _Detection(box - border, landmarks - border, probability)
            for box, landmarks, probability in self._detect(framed, min_side)
        ]

    def _detect(self, pixels: UInt8, min_side: int) -> list[_Detection]:
        if min(pixels.shape[:2]) < max(min_side, _MIN_PHOTO_SIDE):
            return []
        mtcnn = self._mtcnn
        try:
            with torch.inference_mode():
                (boxes,), (landmarks,) = detect_face(
                    pixels,
                    min_side,
                    mtcnn.pnet,
                    mtcnn.rnet,
                    mtcnn.onet,
                    mtcnn.thresholds,
                    mtcnn.factor,
                    mtcnn.device,
                )
        except (RuntimeError, IndexError) as error:
            # facenet-pytorch fails on windows that lie entirely outside the image.
            raise PhotoUndecodable(f"the face detector failed on this photo: {error}") from error
        detections = [
            _Detection(np.asarray(box[:4], float), np.asarray(points, float), float(box[4]))
            for box, points in zip(boxes, landmarks, strict=True)
        ]
        return [
            d
            for d in detections
            if d.probability >= self.min_probability
            and min(d.box[2] - d.box[0], d.box[3] - d.box[1]) >= min_side
        ]


def _face(photo: Photo, detection: _Detection) -> Face:
    left, top, right, bottom = (float(v) * photo.scale for v in detection.box)
    landmarks = (detection.landmarks * photo.scale).astype(np.float32)
    return Face(
        box=Box(left, top, right, bottom),
        landmarks=landmarks,
        probability=detection.probability,
        sharpness=_sharpness(align(photo, landmarks, VIEWS[:1])[0]),
    )


def _is_cut(pixels: UInt8, box: Float64) -> bool:
    """Whether a box that fills a quarter of the image or more reaches beyond its border."""
    height, width = pixels.shape[:2]
    outside = box[0] < 0 or box[1] < 0 or box[2] > width or box[3] > height
    return bool(outside and box[3] - box[1] >= min(height, width) // 4)


def _is_same_place(first: _Detection, second: _Detection) -> bool:
    """Whether the centre of each box lies in the inner half of the other."""
    a, b = first.box, second.box
    distance = np.abs((a[:2] + a[2:]) - (b[:2] + b[2:])) / 2.0
    return bool((distance < (np.minimum(a[2:] - a[:2], b[2:] - b[:2]) / 4.0)).all())


def align(
    photo: Photo, landmarks: Float32, views: Sequence[View], template: Template = DLIB_150
) -> UInt8:
    """One chip for each view: uint8 (len(views), height, width, 3), RGB, black outside the photo.

    landmarks : float32 (5, 2), in pixels of the upright file.
    """
    centre = np.array([(template.width - 1) / 2.0, 0.0])
    shrink = np.array([1.0 / template.stretch, 1.0])
    matrix = fit_similarity(
        (np.array(template.points) - centre) * shrink + centre,
        landmarks.astype(np.float64) / photo.scale,
        template.weights,
    )  # (2, 3), chip -> working image
    source, matrix = _region(photo.pixels, matrix, template)
    return np.stack([_chip(source, matrix, view, template) for view in views])


def _region(pixels: UInt8, matrix: Float64, template: Template) -> tuple[Image.Image, Float64]:
    """The part of the image that any view may show, and the matrix from the chip to it.

    It is halved until a pixel of the chip spans at most two of its pixels.
    """
    overhang = max(template.width, template.height) / 5
    corners = np.array(
        [
            (x, y)
            for x in (-overhang, template.width + overhang)
            for y in (-overhang, template.height + overhang)
        ]
    )
    covered = corners @ matrix[:, :2].T + matrix[:, 2]
    height, width = pixels.shape[:2]
    left, top = (max(0, math.floor(v)) for v in covered.min(0))
    right, bottom = (math.ceil(v) + 1 for v in covered.max(0))
    right, bottom = max(left + 1, min(width, right)), max(top + 1, min(height, bottom))
    source = Image.fromarray(pixels[top:bottom, left:right])
    matrix = matrix - np.array([[0.0, 0.0, left], [0.0, 0.0, top]])
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    factor = 1
    while scale / factor > 2.0:
        factor *= 2
    if factor > 1:
        source = source.reduce(factor)
        # Pixel centres: index i of the reduced image lies at factor * (i + 1/2) - 1/2.
        matrix = (matrix + np.array([[0.0, 0.0, 0.5], [0.0, 0.0, 0.5]])) / factor
        matrix -= np.array([[0.0, 0.0, 0.5], [0.0, 0.0, 0.5]])
    return source, matrix


def _chip(source: Image.Image, matrix: Float64, view: View, template: Template) -> UInt8:
    centre_x, centre_y = (template.width - 1) / 2.0, (template.height - 1) / 2.0
    shift_scale = template.width / DLIB_150.width
    right, down = view.right * shift_scale, view.down * shift_scale
    zoom_x = view.zoom * template.stretch
    # chip pixel of the view -> chip pixel of the aligned face
    framing = np.array(
        [
            [1.0 / zoom_x, 0.0, centre_x - (centre_x + right) / zoom_x],
            [0.0, 1.0 / view.zoom, centre_y - (centre_y + down) / view.zoom],
            [0.0, 0.0, 1.0],
        ]
    )
    combined = matrix @ framing  # (2, 3), chip pixel of the view -> working image
    # Pillow puts pixel centres at +1/2, we put them at whole numbers.
    half = np.array([0.5, 0.5])
    shift = combined[:, 2] + half - combined[:, :2] @ half
    coefficients = (*combined[0, :2], shift[0], *combined[1, :2], shift[1])
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
