"""What a photo looks like, small enough to keep: a grey picture, hashes of it and of its crops."""

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
"""Left, top, right, bottom in shares: the whole photo, then what little crops leave of it."""
_FINE, _COARSE = 1.2, 4.0
_FLAT = 2.0
_SCALES = np.arange(1.0, 0.69, -0.03)
_HOPELESS = 0.35
_LEAST_SHARE = 0.45
_PARTS, _LEAST_POINTS, _MUCH = 5, 60, 0.7


@dataclass(frozen=True)
class Look:
    """A photo's small grey picture.

    grey : float32 (h, w), 0 to 255, the longer side 96 pixels.  band : the same without its
    coarsest and finest detail: compression changes the finest, and the coarsest is alike in any
    two photos of one scene.
    """

    grey: Float32
    band: Float32

    @classmethod
    def of(cls, jpeg: bytes) -> Look:
        """Of what `look_of` kept."""
        grey = np.asarray(Image.open(io.BytesIO(jpeg)), dtype=np.float32)
        return cls(grey, gaussian_filter(grey, _FINE) - gaussian_filter(grey, _COARSE))

    def mirrored(self) -> Look:
        """Left and right changed."""
        return Look(self.grey[:, ::-1], self.band[:, ::-1])

    @property
    def flat(self) -> bool:
        """Whether there is nothing to be seen on it."""
        return float(self.band.std()) < _FLAT


def look_of(photo: Photo) -> bytes:
    """The small grey picture of a photo, JPEG."""
    image = Image.fromarray(photo.pixels).convert("L")
    # A smaller photo is enlarged, so that the same detail has the same size in every look.
    scale = SIDE / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    image = image.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def hashes_of(jpeg: bytes) -> UInt8:
    """64-bit perceptual hashes of the whole and of what little crops would leave, uint8 (12, 8)."""
    image = Image.open(io.BytesIO(jpeg))
    width, height = image.size
    found = []
    for left, top, right, bottom in _WINDOWS:
        box = (
            round(left * width),
            round(top * height),
            max(round(right * width), round(left * width) + 1),
            max(round(bottom * height), round(top * height) + 1),
        )
        found.append(np.packbits(imagehash.phash(image.crop(box)).hash.ravel()))
    return np.stack(found)


def agreement(one: Look, other: Look, start: Float64 | None = None) -> float:
    """How far two photos show the same pixels, -1 to 1, once one is laid over the other.

    The normalised correlation of their middling detail where they overlap, of the whole or of the
    part that agrees least, whichever is lower: in two photos of one sitting only the mouth may have
    moved. The best over shift, scale and turn near where it begins.
    start : float64 (2, 3), from pixels (x, y, 1) of `one` to pixels of `other`, such as their faces
    give it. None: they are tried as crops of each other.
    """
    if one.flat or other.flat:
        return -1.0
    starts = [start] if start is not None else _as_crops(one, other)
    return max((_refined(one, other, s) for s in starts), default=-1.0)


def _as_crops(one: Look, other: Look) -> list[Float64]:
    """The other as a crop of this one, and this one as a crop of the other."""
    found = []
    for whole, part, inverted in ((one, other, False), (other, one, True)):
        best, matrix = -1.0, None
        h, w = whole.band.shape
        for scale in _SCALES:
            # The part is as wide, or as high, as this share of the whole.
            factor = scale * min(w / part.band.shape[1], h / part.band.shape[0])
            size = round(part.band.shape[1] * factor), round(part.band.shape[0] * factor)
            if min(size) < 16:
                continue
            small = np.asarray(Image.fromarray(part.band).resize(size, Image.Resampling.BILINEAR))
            scores = match_template(whole.band, small)  # type: ignore[no-untyped-call]
            y, x = np.unravel_index(int(scores.argmax()), scores.shape)
            if scores[y, x] > best:
                best = float(scores[y, x])
                matrix = np.array([[factor, 0.0, float(x)], [0.0, factor, float(y)]])
        if matrix is not None and best > _HOPELESS:
            found.append(matrix if inverted else _inverse(matrix))
    return found


def _refined(one: Look, other: Look, start: Float64) -> float:
    """The best correlation near a start, over shift, scale and turn."""
    h, w = one.band.shape
    rows, columns = np.mgrid[0:h:2, 0:w:2]
    centre = np.array([w / 2, h / 2])
    points = np.stack([columns.ravel(), rows.ravel()]).astype(np.float64)  # (2, p)
    mine = one.band[rows, columns].ravel()

    def laid_over(move: Float64) -> tuple[Bool, Float64]:
        """Which points have something of the other under them, and what."""
        right, down, stretch, turn = move * np.array([1.0, 1.0, 0.01, 0.01])
        cos, sin = np.exp(stretch) * np.cos(turn), np.exp(stretch) * np.sin(turn)
        moved = np.array([[cos, -sin], [sin, cos]]) @ (points - centre[:, None])
        moved += (centre + np.array([right, down]))[:, None]
        x, y = start[:, :2] @ moved + start[:, 2:]
        height, width = other.band.shape
        inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
        return inside, map_coordinates(other.band, [y[inside], x[inside]], order=1)

    def correlation(move: Float64) -> float:
        inside, theirs = laid_over(move)
        return _correlation(mine[inside], theirs) if inside.mean() >= _LEAST_SHARE else -1.0

    here = correlation(np.zeros(4))
    if here < _HOPELESS:
        return here
    simplex = np.vstack([np.zeros(4), 2.0 * np.eye(4)])
    best = minimize(
        lambda move: -correlation(move),
        np.zeros(4),
        method="Nelder-Mead",
        options={"initial_simplex": simplex, "maxfev": 120, "xatol": 0.05, "fatol": 1e-3},
    )
    inside, theirs = laid_over(best.x)
    part = (points[1] * _PARTS // h * _PARTS + points[0] * _PARTS // w)[inside].astype(np.int64)
    return min(-float(best.fun), _least_part(mine[inside], theirs, part))


def _least_part(a: Float32, b: Float64, part: Int64) -> float:
    """The correlation of the part that agrees least, of those in which there is much to see."""
    much = _MUCH * float(np.std(a)), _MUCH * float(np.std(b))
    found = [1.0]
    for number in np.unique(part):
        here = part == number
        if here.sum() >= _LEAST_POINTS and (a[here].std() > much[0] or b[here].std() > much[1]):
            found.append(_correlation(a[here], b[here]))
    return min(found)


def _correlation(a: Float32, b: Float64) -> float:
    a, b = a - a.mean(), b - b.mean()
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / lengths if lengths > 1e-6 else -1.0


def _inverse(matrix: Float64) -> Float64:
    linear = np.linalg.inv(matrix[:, :2])
    found: Float64 = np.hstack([linear, -linear @ matrix[:, 2:]])
    return found


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
