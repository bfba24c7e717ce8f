"""Similarity within a gallery: similar faces, look-alike identities, faces unlike their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gallery.matching.operating_point import OperatingPoint
from gallery.matching.scorer import Scorer
from gallery.matching.templates import fuse_templates
from gallery.store.records import StoredEncodings
from gallery.types import Encodings, Int64
from indexer import Edges
from indexer.cells import near_pairs, nearest_of

_NEIGHBOURS = 32
SAME_PICTURE_COSINE = 0.988
"""Two faces with at least this cosine may come from the same picture; the pixels decide.
Of 100 LFW photos altered six ways, 99 % of the copies are at 0.986 or more, and 99 % of the other
photos of the same person at 0.985 or less."""
_SAMPLE, _NEIGHBOURS_PER_SAMPLE = 500, 8
_DEVIATIONS = 2.5


@dataclass(frozen=True)
class LookAlikes:
    """Two identities, by id, for which queries may be ambiguous.

    probability : that they are one person, if that is as likely as not beforehand.
    """

    first: int
    second: int
    probability: float


def candidate_pairs(
    encodings: Encodings,
    scorer: Scorer,
    point: OperatingPoint,
    max_neighbours: int = _NEIGHBOURS,
    progress: Callable[[int], None] = lambda _done: None,
) -> Edges:
    """Return the pairs of faces that may match at this point, as rows, with their cosines.

    Pairs that may come from the same picture are always included.
    max_neighbours : how many of its nearest pairs each face keeps.
    progress : called with the number of faces done.
    """
    min_cosine = cosine_threshold(encodings, scorer, point)
    return near_pairs(encodings.vectors, min_cosine, max_neighbours, progress=progress)


def cosine_threshold(encodings: Encodings, scorer: Scorer, point: OperatingPoint) -> float:
    """Return the cosine below which only about 2 in 1,000 of the matching pairs are.

    A line is fitted to margin over cosine for the nearest neighbours of a sample; the cosine is
    where the line, raised by 2.5 standard deviations of the residuals, reaches the operating point.

    Neighbours are sought among all faces. Those within a sample of a large gallery would be
    strangers, and a line through strangers does not tell where one person's pairs are.
    """
    if len(encodings) < 3:
        return -1.0
    rows = np.sort(np.random.default_rng(0).permutation(len(encodings))[:_SAMPLE])
    neighbours = nearest_of(encodings.vectors, rows, _NEIGHBOURS_PER_SAMPLE)
    cosines = neighbours.similarities
    if np.ptp(cosines) < 1e-4:
        return -1.0
    margins = scorer.margins(encodings, neighbours.first, neighbours.second, point)
    slope, offset = np.polyfit(cosines, margins, 1)
    if slope <= 0:
        return -1.0
    deviation = float((margins - offset - slope * cosines).std())
    cosine = (-offset - _DEVIATIONS * deviation) / slope
    return float(np.clip(cosine, -1.0, SAME_PICTURE_COSINE))


def look_alikes(stored: StoredEncodings, scorer: Scorer, point: OperatingPoint) -> list[LookAlikes]:
    """Return identities whose templates match each other at this point, most probable first."""
    templates = fuse_templates(stored.identity_ids, stored.encodings)
    if len(templates.identity_ids) < 2:
        return []
    edges = candidate_pairs(templates.encodings, scorer, point)
    margins = scorer.margins(templates.encodings, edges.first, edges.second, point)
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


def is_unlike(scorer: Scorer, face: Encodings, others: Encodings) -> bool:
    """Return whether a face, (1, 128), does not match the template of its identity's other photos.

    Scored as a single comparison: another person's photo passes at the stated rate.
    """
    if not len(others):
        return False
    owners: Int64 = np.zeros(len(others), dtype=np.int64)
    pair = Encodings.joined([face, fuse_templates(owners, others).encodings])
    point = scorer.operating_point_for(1)
    return bool(scorer.margins(pair, np.array([0]), np.array([1]), point)[0] <= 0)
