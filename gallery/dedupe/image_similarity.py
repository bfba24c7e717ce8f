"""How far two photos show the same pixels, from small grey images and perceptual hashes."""

from __future__ import annotations

import io
from dataclasses import dataclass

import imagehash
import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.optimize import minimize
from skimage.feature import match_template

from gallery.encoders.template import fit_similarity
from gallery.types import Bool, Float32, Float64, Int64, Photo, UInt8

SIDE = 96
_QUALITY = 90
_WINDOWS = (
    (0.0, 0.0, 1.0, 1.0),
    *((m, m, 1 - m, 1 - m) for m in (0.03, 0.06, 0.1)),
    *((x, y, x + 0.88, y + 0.88) for x in (0.0, 0.12) for y in (0.0, 0.12)),
    (0.1, 0.0, 1.0, 1.0),
    (0.0, 0.1, 1.0, 1.0),
    (0.0, 0.0, 0.9, 1.0),
    (0.0, 0.0, 1.0, 0.9),
)
"""Left, top, right, bottom as shares: the whole photo, then slight crops of it."""
_FINE_SIGMA, _COARSE_SIGMA = 1.2, 4.0
_FLAT = 2.0
_CROP_SCALES = np.arange(1.0, 0.69, -0.03)
_LEAST_CORRELATION = 0.35
_LEAST_OVERLAP = 0.45
_TILES, _LEAST_TILE_POINTS, _DETAILED = 5, 60, 0.7


@dataclass(frozen=True)
class GreyImage:
    """A photo's small grey image.

    grey : float32 (h, w), 0 to 255, the longer side 96 pixels.
    band : the same, band-passed. Compression changes the finest detail, and any two photos of one
        scene share the coarsest.
    """

    grey: Float32
    band: Float32

    @classmethod
    def from_jpeg(cls, jpeg: bytes) -> GreyImage:
        """The image that `grey_jpeg` encoded."""
        grey = np.asarray(Image.open(io.BytesIO(jpeg)), dtype=np.float32)
        return cls(grey, gaussian_filter(grey, _FINE_SIGMA) - gaussian_filter(grey, _COARSE_SIGMA))

    def mirrored(self) -> GreyImage:
        """Left and right exchanged."""
        return GreyImage(self.grey[:, ::-1], self.band[:, ::-1])

    @property
    def is_flat(self) -> bool:
        """Whether it shows nothing to compare."""
        return float(self.band.std()) < _FLAT


def grey_jpeg(photo: Photo) -> bytes:
    """A photo's small grey image as JPEG."""
    image = Image.fromarray(photo.pixels).convert("L")
    # A smaller photo is enlarged, so that the same detail has the same size in every image.
    scale = SIDE / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    image = image.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def perceptual_hashes(jpeg: bytes) -> UInt8:
    """64-bit perceptual hashes of a grey image and of slight crops of it, uint8 (12, 8)."""
    image = Image.open(io.BytesIO(jpeg))
    width, height = image.size
    hashes = []
    for left, top, right, bottom in _WINDOWS:
        box = (
            round(left * width),
            round(top * height),
            max(round(right * width), round(left * width) + 1),
            max(round(bottom * height), round(top * height) + 1),
        )
        hashes.append(np.packbits(imagehash.phash(image.crop(box)).hash.ravel()))
    return np.stack(hashes)


def agreement(image: GreyImage, other: GreyImage, start: Float64 | None = None) -> float:
    """How far two photos show the same pixels once aligned, -1 to 1.

    The normalised correlation of their band-passed images where they overlap, of the whole or of
    the tile that agrees least, whichever is lower: in two photos of one sitting only the mouth may
    have moved. The best over shift, scale and rotation near the start.
    start : float64 (2, 3), from pixels (x, y, 1) of `image` to pixels of `other`, for example from
    their faces. None: try each as a crop of the other.
    """
    if image.is_flat or other.is_flat:
        return -1.0
    starts = [start] if start is not None else _crop_alignments(image, other)
    return max((_refined_agreement(image, other, s) for s in starts), default=-1.0)


def _crop_alignments(image: GreyImage, other: GreyImage) -> list[Float64]:
    """Alignments of `other` as a crop of `image`, and of `image` as a crop of `other`."""
    alignments = []
    for whole, crop, is_inverted in ((image, other, False), (other, image, True)):
        best, matrix = -1.0, None
        h, w = whole.band.shape
        for scale in _CROP_SCALES:
            # The crop is as wide, or as high, as this share of the whole.
            factor = scale * min(w / crop.band.shape[1], h / crop.band.shape[0])
            size = round(crop.band.shape[1] * factor), round(crop.band.shape[0] * factor)
            if min(size) < 16:
                continue
            small = np.asarray(Image.fromarray(crop.band).resize(size, Image.Resampling.BILINEAR))
            scores = match_template(whole.band, small)  # type: ignore[no-untyped-call]
            y, x = np.unravel_index(int(scores.argmax()), scores.shape)
            if scores[y, x] > best:
                best = float(scores[y, x])
                matrix = np.array([[factor, 0.0, float(x)], [0.0, factor, float(y)]])
        if matrix is not None and best > _LEAST_CORRELATION:
            alignments.append(matrix if is_inverted else _inverse(matrix))
    return alignments


def _refined_agreement(image: GreyImage, other: GreyImage, start: Float64) -> float:
    """The best agreement near a start, over shift, scale and rotation."""
    h, w = image.band.shape
    rows, columns = np.mgrid[0:h:2, 0:w:2]
    centre = np.array([w / 2, h / 2])
    points = np.stack([columns.ravel(), rows.ravel()]).astype(np.float64)  # (2, p)
    values = image.band[rows, columns].ravel()

    def sampled(move: Float64) -> tuple[Bool, Float64]:
        """Which points lie within the other image once moved, and its values there."""
        right, down, stretch, turn = move * np.array([1.0, 1.0, 0.01, 0.01])
        cos, sin = np.exp(stretch) * np.cos(turn), np.exp(stretch) * np.sin(turn)
        moved = np.array([[cos, -sin], [sin, cos]]) @ (points - centre[:, None])
        moved += (centre + np.array([right, down]))[:, None]
        x, y = start[:, :2] @ moved + start[:, 2:]
        height, width = other.band.shape
        inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
        return inside, map_coordinates(other.band, [y[inside], x[inside]], order=1)

    def correlation(move: Float64) -> float:
        inside, other_values = sampled(move)
        if inside.mean() < _LEAST_OVERLAP:
            return -1.0
        return _correlation(values[inside], other_values)

    at_start = correlation(np.zeros(4))
    if at_start < _LEAST_CORRELATION:
        return at_start
    simplex = np.vstack([np.zeros(4), 2.0 * np.eye(4)])
    best = minimize(
        lambda move: -correlation(move),
        np.zeros(4),
        method="Nelder-Mead",
        options={"initial_simplex": simplex, "maxfev": 120, "xatol": 0.05, "fatol": 1e-3},
    )
    inside, other_values = sampled(best.x)
    tiles = (points[1] * _TILES // h * _TILES + points[0] * _TILES // w)[inside].astype(np.int64)
    return min(-float(best.fun), _least_tile_correlation(values[inside], other_values, tiles))


def _least_tile_correlation(a: Float32, b: Float64, tiles: Int64) -> float:
    """The lowest correlation of a tile, among those with much detail. tiles : of each point."""
    detailed = _DETAILED * float(np.std(a)), _DETAILED * float(np.std(b))
    correlations = [1.0]
    for tile in np.unique(tiles):
        here = tiles == tile
        if here.sum() >= _LEAST_TILE_POINTS and (
            a[here].std() > detailed[0] or b[here].std() > detailed[1]
        ):
            correlations.append(_correlation(a[here], b[here]))
    return min(correlations)


def _correlation(a: Float32, b: Float64) -> float:
    a, b = a - a.mean(), b - b.mean()
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / lengths if lengths > 1e-6 else -1.0


def _inverse(matrix: Float64) -> Float64:
    linear = np.linalg.inv(matrix[:, :2])
    inverse: Float64 = np.hstack([linear, -linear @ matrix[:, 2:]])
    return inverse


def by_landmarks(
    points: Float32, others: Float32, scale: float, other_scale: float, mirrored: bool
) -> Float64:
    """From pixels of one look to another's, so that five landmarks of a face lie over each other.

    points, others : float32 (5, 2), in pixels of the photos.  scale, other_scale : pixels of the
    look for each of the photo's.  mirrored : the other shows the face the other way round.
    """
    a, b = points.astype(np.float64) * scale, others.astype(np.float64) * other_scale
    if mirrored:
        b = b[[1, 0, 2, 4, 3]]
    flip = np.array([-1.0, 1.0]) if mirrored else np.ones(2)
    matrix = fit_similarity(a * flip, b)
    matrix[:, :2] *= flip
    return matrix
