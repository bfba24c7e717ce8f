"""Who is alike within the gallery: near pairs, look-alike identities, a face unlike its owner's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gallery.judge import Judge
from gallery.operating_point import OperatingPoint
from gallery.store.records import StoredEncodings
from gallery.templates import fused
from gallery.types import Encodings, Int64
from indexer import Edges, near_pairs

_NEIGHBOURS = 32
SAME_PICTURE_COSINE = 0.988
"""Two encodings at least this alike may be of one picture of a face; pixels say whether they are.
Of 100 LFW photos altered six ways, copies are at 0.986 or more in 99 of 100, other photos of the
person at 0.985 or less in 99 of 100."""
_SAMPLE = 2_000
_SURELY = 2.5


@dataclass(frozen=True)
class LookAlikes:
    """Two identities, by id, of whom a query may be answered "ambiguous".

    probability : that they are one person, were it as likely as not.
    """

    first: int
    second: int
    probability: float


def near_faces(
    encodings: Encodings,
    judge: Judge,
    bias: float,
    most: int = _NEIGHBOURS,
    progress: Callable[[int], None] = lambda _done: None,
) -> Edges:
    """The pairs of n faces whose margin may be over a bias, rows as ids, with their cosines.

    most : a face keeps so many of its nearest.  progress : called with the number of faces done.
    """
    least = _least_cosine(encodings, judge, bias)
    return near_pairs(encodings.vectors, least, most, progress=progress)


def _least_cosine(encodings: Encodings, judge: Judge, bias: float) -> float:
    """Under this cosine no margin is over the bias: so says a line through a sample of near pairs,
    less two and a half deviations from it.
    """
    rng = np.random.default_rng(0)
    rows = np.sort(rng.permutation(len(encodings))[:_SAMPLE])
    if len(rows) < 3:
        return -1.0
    sample = encodings.take(rows)
    cosines = sample.vectors @ sample.vectors.T
    np.fill_diagonal(cosines, -1.0)
    keep = min(8, len(rows) - 1)
    near = np.argpartition(-cosines, keep - 1, axis=1)[:, :keep].ravel()
    first = np.repeat(np.arange(len(rows)), keep)
    margins = judge.head.margins(*(judge.head.sides(sample)[side] for side in (first, near)))
    found = cosines[first, near]
    if np.ptp(found) < 1e-4:
        return -1.0
    slope, offset = np.polyfit(found, margins, 1)
    if slope <= 0:
        return -1.0
    stray = float((margins - offset - slope * found).std())
    return float(np.clip((bias - offset - _SURELY * stray) / slope, -1.0, 0.9999))


def look_alikes(stored: StoredEncodings, judge: Judge, point: OperatingPoint) -> list[LookAlikes]:
    """Identities whose fused photos match each other at this point, the likeliest first."""
    templates = fused(stored.identity_ids, stored.encodings)
    if len(templates.identity_ids) < 2:
        return []
    edges = near_faces(templates.encodings, judge, point.bias)
    margins = judge.margins(templates.encodings, edges.first, edges.second, point)
    probabilities = point.probabilities((margins + point.bias).astype(np.float32))
    return [
        LookAlikes(
            int(templates.identity_ids[edges.first[i]]),
            int(templates.identity_ids[edges.second[i]]),
            float(probabilities[i]),
        )
        for i in np.argsort(-margins).tolist()
        if margins[i] > 0
    ]


def unlike(judge: Judge, face: Encodings, others: Encodings) -> bool:
    """Whether a face, (1, 128), does not look like the n other photos of its identity together.

    Judged as one comparison would be: of other people's photos the promised share goes unnoticed.
    """
    if not len(others):
        return False
    owner: Int64 = np.zeros(len(others), dtype=np.int64)
    pair = Encodings.joined([face, fused(owner, others).encodings])
    point = judge.point_of(1)
    return bool(judge.margins(pair, np.array([0]), np.array([1]), point)[0] <= 0)
