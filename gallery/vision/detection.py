"""Step 2 of a query: find the faces of a photo and align each one to a chip.

Faces and their five landmarks come from facenet-pytorch's MTCNN. Where it finds nothing, dlib's
detector proposes faces to its last network. The chip follows the encoder's template: a
least-squares similarity maps the landmarks onto the mean face it was trained with.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from PIL import Image

from gallery.config import MAX_VIEWS
from gallery.encoders.template import DLIB_150, Template, fit_similarity
from gallery.errors import WeightsError
from gallery.networks.machine import Machine
from gallery.types import Box, Face, Float32, Float64, Photo, UInt8
from gallery.vision import second_looks
from gallery.vision.cascade import PROPOSED, SURELY_PROPOSED, Cascade, Detection
from gallery.vision.max_margin import MaxMarginDetector
from gallery.vision.second_looks import Look

_BORDER = 0.25
"""Width of the border added around a photo whose face fills the frame, over its longer side."""
_SMALLEST_SHRUNK = 40
"""Side in pixels of the smallest face looked for in a shrunk photo; smaller ones at full size."""
_SECOND_LOOK_SIDE = 800
"""The longer side of the pictures of a second look, in pixels: a face of a twentieth is found."""
_FRAMED_SIDE = 80
"""A face that fills a quarter of the image is looked for where its side is at least this long."""
_SHARP_ENOUGH = 42
"""Pixels of the working image that a chip's width must span. Else the full photo has more to show.
Of the faces with 40 pixels or more there, 1 in 200 spans less."""


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


class FaceDetector:
    """Finds faces. Photos never share a batch, so that the same photo always gives the same faces.

    min_face : minimum length of a face's shorter side, in pixels of the file.
    min_probability : minimum probability of a detection.
    """

    def __init__(self, *, min_face: int, min_probability: float, machine: Machine) -> None:
        self.min_face = min_face
        self.min_probability = min_probability
        self._machine = machine.for_detection
        self._cascade = Cascade(min_probability=min_probability, machine=self._machine)

    def find(self, photo: Photo) -> list[Face]:
        """Every usable face, largest first."""
        min_side = self._min_side(photo)
        detections = self._find(photo.pixels, min_side)
        faces = [_face(photo, detection) for detection in detections]
        faces += self._find_small(photo, min_side, faces)
        if not faces:
            faces = [_face(photo, detection) for detection in self._look_again(photo)]
        return sorted(faces, key=lambda f: (-f.box.side, f.box.left, f.box.top))

    def min_side_of_second_look(self, photo: Photo) -> int:
        """The smallest face found in a photo that lies on its side or is badly lit: file pixels."""
        shrunk = math.ceil(_SMALLEST_SHRUNK * photo.scale * _shrinking(photo))
        return max(self.min_face, shrunk)

    @cached_property
    def _max_margin(self) -> MaxMarginDetector | WeightsError:
        """The second detector, loaded for the first photo that needs it, or why it cannot be."""
        try:
            return MaxMarginDetector(self._machine)
        except WeightsError as error:
            return error

    @property
    def is_incomplete(self) -> bool:
        """Whether photos are searched without the second detector, for want of its weights."""
        return isinstance(self._max_margin, WeightsError)

    def _look_again(self, photo: Photo) -> list[Detection]:
        """Faces of a photo that shows none as it is, from the look with the likeliest ones."""
        factor = _shrinking(photo)
        pixels = photo.pixels
        if factor > 1.0:
            height, width = (max(1, round(side / factor)) for side in pixels.shape[:2])
            image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX)
            pixels = np.array(image)
        min_side = math.ceil(self.min_side_of_second_look(photo) / (photo.scale * factor))
        evened = list(second_looks.evened(pixels))
        for looks, find in (
            (evened, self._find_surely),
            (second_looks.turned(pixels), self._find_surely),
            (self._promising(evened, min_side), self._find_by_margin),
        ):
            found = [
                [
                    face
                    for face in map(look.to_photo, find(look.picture, min_side))
                    if not look.is_turned or _fits(pixels, face.box)
                ]
                for look in looks
            ]
            best = max(found, key=lambda faces: sum(d.probability for d in faces), default=[])
            if best:
                break
        return [_enlarged(d, factor) for d in best]

    def _min_side(self, photo: Photo) -> int:
        """The smallest face to look for in the working image, in its pixels."""
        return min(self.min_face, max(_SMALLEST_SHRUNK, round(self.min_face / photo.scale)))

    def _find(self, pixels: UInt8, min_side: int, proposed: float = PROPOSED) -> list[Detection]:
        detections = self._cascade.detect(pixels, min_side, proposed)
        cut = [d for d in detections if _is_cut(pixels, d.box)]
        if detections and not cut:
            return detections
        # In a tight crop the detector's window never holds the whole face: it misses the face,
        # or places its landmarks badly (cosine to the uncropped face .95 instead of .99).
        framed = self._detect_framed(pixels, min_side)
        whole = [d for d in detections if not _is_cut(pixels, d.box)]
        unmatched = [d for d in cut if not any(_is_same_place(d, f) for f in framed)]
        better = [f for f in framed if not detections or any(_is_same_place(f, d) for d in cut)]
        return whole + unmatched + better

    def _find_surely(self, pixels: UInt8, min_side: int) -> list[Detection]:
        return self._find(pixels, min_side, SURELY_PROPOSED)

    def _detect_framed(self, pixels: UInt8, min_side: int) -> list[Detection]:
        """Faces that fill a quarter of the image or more, detected with a border around it."""
        least = max(min_side, min(pixels.shape[:2]) // 4)
        factor = max(1, least // _FRAMED_SIDE)
        if factor > 1:
            pixels = np.array(Image.fromarray(pixels).reduce(factor))
        framed, border = _framed(pixels)
        detections = self._cascade.detect(framed, least // factor)
        return [_enlarged(_moved(d, -border), factor) for d in detections]

    def _promising(self, evened: Sequence[Look], min_side: int) -> Iterator[Look]:
        """The looks in which the second detector can be expected to find something: all or none.

        It finds most faces in the last one, which has the same contrast everywhere.
        """
        detector = self._max_margin
        if isinstance(detector, WeightsError):
            return
        framed, _ = _framed(evened[-1].picture[..., 0])
        if detector.is_promising(framed, min_side):
            yield from evened

    def _find_by_margin(self, pixels: UInt8, min_side: int) -> list[Detection]:
        """Faces that the second detector finds, with the landmarks of the first."""
        detector = self._max_margin
        if isinstance(detector, WeightsError):
            return []
        framed, border = _framed(pixels)
        squares = detector.squares(framed[..., 0], min_side)
        return [_moved(d, -border) for d in self._cascade.located(framed, squares, min_side)]

    def _find_small(self, photo: Photo, min_side: int, known: list[Face]) -> list[Face]:
        """Faces that are too small in the working image, found in the full one."""
        largest = min_side * photo.scale
        if photo.full is None or largest <= self.min_face:
            return []
        full = photo.full()
        detections = self._cascade.detect_small(full, self.min_face, largest)
        faces = [_face(replace(photo, scale=1.0), d) for d in detections if _is_inside(full, d)]
        return [f for f in faces if not any(_overlaps(f.box, k.box) for k in known)]


def _face(photo: Photo, detection: Detection) -> Face:
    left, top, right, bottom = (float(v) * photo.scale for v in detection.box)
    landmarks = (detection.landmarks * photo.scale).astype(np.float32)
    return Face(
        box=Box(left, top, right, bottom),
        landmarks=landmarks,
        probability=detection.probability,
        sharpness=_sharpness(align(photo, landmarks, VIEWS[:1])[0]),
    )


def _framed(pixels: UInt8) -> tuple[UInt8, int]:
    """The image with a border of its outermost pixels, and the border's width."""
    border = round(_BORDER * max(pixels.shape[:2]))
    widths = [(border, border), (border, border), (0, 0)][: pixels.ndim]
    return np.pad(pixels, widths, mode="edge"), border


def _moved(d: Detection, shift: int) -> Detection:
    return Detection(d.box + shift, d.landmarks + shift, d.probability)


def _enlarged(d: Detection, factor: float) -> Detection:
    """A detection in a picture that was shrunk by a factor, in the pixels before that."""
    # Pixel centres: index i lies at factor * (i + 1/2) - 1/2.
    landmarks = d.landmarks * factor + (factor - 1.0) / 2.0
    return Detection(d.box * factor, landmarks, d.probability)


def _shrinking(photo: Photo) -> float:
    """How far the working image is shrunk for the second looks: there are many of them."""
    return max(1.0, max(photo.width, photo.height) / photo.scale / _SECOND_LOOK_SIDE)


def _overlaps(first: Box, second: Box) -> bool:
    """Whether the centre of one box lies in the other."""
    return second.contains(first.centre) or first.contains(second.centre)


def _fits(pixels: UInt8, box: Float64) -> bool:
    """Whether a box is no larger than the photo. In turned lettering, some are found that are."""
    height, width = pixels.shape[:2]
    return bool(box[2] - box[0] <= width and box[3] - box[1] <= height)


def _is_inside(pixels: UInt8, detection: Detection) -> bool:
    """Whether a face's middle is in the photo. At its border, some are found beyond it."""
    x, y = detection.landmarks.mean(axis=0)
    return bool(0 <= x < pixels.shape[1] and 0 <= y < pixels.shape[0])


def _is_cut(pixels: UInt8, box: Float64) -> bool:
    """Whether a box that fills a quarter of the image or more reaches beyond its border."""
    height, width = pixels.shape[:2]
    outside = box[0] < 0 or box[1] < 0 or box[2] > width or box[3] > height
    return bool(outside and box[3] - box[1] >= min(height, width) // 4)


def _is_same_place(first: Detection, second: Detection) -> bool:
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
    pixels, scale = sharp_pixels(photo, landmarks)
    matrix = fit_similarity(
        (np.array(template.points) - centre) * shrink + centre,
        landmarks.astype(np.float64) / scale,
        template.weights,
    )  # (2, 3), chip -> pixels
    source, matrix = _region(pixels, matrix, template)
    upright = {
        view: _chip(source, matrix, view, template)
        for view in {replace(view, mirrored=False) for view in views}
    }
    chips = [upright[replace(view, mirrored=False)] for view in views]
    pairs = zip(chips, views, strict=True)
    return np.stack([chip[:, ::-1] if view.mirrored else chip for chip, view in pairs])


def sharp_pixels(photo: Photo, landmarks: Float32) -> tuple[UInt8, float]:
    """The working image, or the full one for a face that is small in it, and its scale.

    landmarks : float32 (5, 2), in pixels of the upright file. They alone decide, so that a kept
        photo gives the same chip when it is encoded again.
    """
    if photo.full is None:
        return photo.pixels, photo.scale
    matrix = fit_similarity(
        np.array(DLIB_150.points), landmarks.astype(np.float64) / photo.scale, DLIB_150.weights
    )
    span = DLIB_150.width * math.hypot(matrix[0, 0], matrix[1, 0])
    return (photo.pixels, photo.scale) if span >= _SHARP_ENOUGH else (photo.full(), 1.0)


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
    left, top = min(left, width - 1), min(top, height - 1)
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
    combined = matrix @ framing  # (2, 3), chip pixel of the view -> pixels
    # Pillow puts pixel centres at +1/2, we put them at whole numbers.
    half = np.array([0.5, 0.5])
    shift = combined[:, 2] + half - combined[:, :2] @ half
    coefficients = (*combined[0, :2], shift[0], *combined[1, :2], shift[1])
    return np.asarray(
        source.transform(
            (template.width, template.height),
            Image.Transform.AFFINE,
            coefficients,
            resample=Image.Resampling.BILINEAR,
        )
    )


def _sharpness(chip: UInt8) -> float:
    """Variance of the 4-neighbour Laplacian of the luminance (Pech-Pacheco et al. 2000)."""
    grey = np.asarray(Image.fromarray(chip).convert("L"), dtype=np.float32)
    laplacian = (
        grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    )
    return float(laplacian.var())
