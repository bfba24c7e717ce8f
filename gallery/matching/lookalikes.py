"""Who is alike within the gallery: near pairs, look-alike identities, a face unlike its owner's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gallery.matching.operating_point import OperatingPoint
from gallery.matching.scorer import Scorer
from gallery.matching.templates import fused
from gallery.store.records import StoredEncodings
from gallery.types import Encodings, Int64
from indexer import Edges, near_pairs, nearest_of

_NEIGHBOURS = 32
SAME_PICTURE_COSINE = 0.988
"""Two encodings at least this alike may be of one picture of a face; pixels say whether they are.
Of 100 LFW photos altered six ways, copies are at 0.986 or more in 99 of 100, other photos of the
person at 0.985 or less in 99 of 100."""
_SAMPLE, _OF_EACH = 500, 8
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
    judge: Scorer,
    point: OperatingPoint,
    most: int = _NEIGHBOURS,
    progress: Callable[[int], None] = lambda _done: None,
) -> Edges:
    """The pairs of n faces that may match at this point, rows as ids, with their cosines.

    All that may be of one picture are among them.
    most : a face keeps so many of its nearest.  progress : called with the number of faces done.
    """
    least = least_cosine(encodings, judge, point)
    return near_pairs(encodings.vectors, least, most, progress=progress)


def least_cosine(encodings: Encodings, judge: Scorer, point: OperatingPoint) -> float:
    """Under this cosine hardly a pair matches, some two in a thousand of those that do: so says a
    line through the nearest neighbours of a sample, less two and a half deviations from it.

    The neighbours are looked for among all faces: those within a sample of many are strangers, and
    a line through strangers does not say where one person's pairs are.
    """
    if len(encodings) < 3:
        return -1.0
    rows = np.sort(np.random.default_rng(0).permutation(len(encodings))[:_SAMPLE])
    near = nearest_of(encodings.vectors, rows, _OF_EACH)
    cosines = near.similarities
    if np.ptp(cosines) < 1e-4:
        return -1.0
    margins = judge.margins(encodings, near.first, near.second, point)
    slope, offset = np.polyfit(cosines, margins, 1)
    if slope <= 0:
        return -1.0
    stray = float((margins - offset - slope * cosines).std())
    return float(np.clip((-offset - _SURELY * stray) / slope, -1.0, SAME_PICTURE_COSINE))


def look_alikes(stored: StoredEncodings, judge: Scorer, point: OperatingPoint) -> list[LookAlikes]:
    """Identities whose fused photos match each other at this point, the likeliest first."""
    templates = fused(stored.identity_ids, stored.encodings)
    if len(templates.identity_ids) < 2:
        return []
    edges = near_faces(templates.encodings, judge, point)
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


def unlike(judge: Scorer, face: Encodings, others: Encodings) -> bool:
    """Whether a face, (1, 128), does not look like the n other photos of its identity together.

    Judged as one comparison would be: of other people's photos the promised share goes unnoticed.
    """
    if not len(others):
        return False
    owner: Int64 = np.zeros(len(others), dtype=np.int64)
    pair = Encodings.joined([face, fused(owner, others).encodings])
    point = judge.point_of(1)
    return bool(judge.margins(pair, np.array([0]), np.array([1]), point)[0] <= 0)
