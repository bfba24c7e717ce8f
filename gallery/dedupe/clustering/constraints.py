"""What is known about pairs besides their faces: two of one photo, and the user's decisions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from gallery.matching.lookalikes import SAME_PICTURE_COSINE
from gallery.matching.operating_point import OperatingPoint
from gallery.matching.scorer import Scorer
from gallery.types import Encodings, Float64, Int64

NEVER, ALWAYS = -1e12, 1e9
"""Margins of pairs the user decided on. No mean over a few million pairs outweighs one."""
_MEDIAN_RATE = 0.5
"""Two faces of one photo count as the median pair of strangers."""


@dataclass(frozen=True)
class Constraints:
    """Constraints on the clusters of n rows.

    photos : int64 (n,), each row's photo, or None. Two faces of one photo count as two people,
        unless they are one picture (a mirror, a collage). Many matching pairs can outweigh this.
    apart, together : pairs of rows the user decided on. These are final.
    """

    photos: Int64 | None = None
    apart: frozenset[tuple[int, int]] = field(default_factory=frozenset)
    together: frozenset[tuple[int, int]] = field(default_factory=frozenset)

    @cached_property
    def partners(self) -> dict[int, list[int]]:
        """For each row, the rows it is together with."""
        partners: dict[int, list[int]] = {}
        for a, b in self.together:
            partners.setdefault(a, []).append(b)
            partners.setdefault(b, []).append(a)
        return partners

    def of(self, rows: Int64) -> Constraints:
        """The constraints among these rows, int64 ascending, renumbered from 0."""
        index_of = dict(zip(rows.tolist(), range(len(rows)), strict=True))

        def among(pairs: frozenset[tuple[int, int]]) -> frozenset[tuple[int, int]]:
            return frozenset(
                (index_of[a], index_of[b]) for a, b in pairs if a in index_of and b in index_of
            )

        photos = None if self.photos is None else self.photos[rows]
        return Constraints(photos, among(self.apart), among(self.together))


class ConstrainedMargins:
    """Applies constraints to margins at one operating point. apart : see Constraints."""

    def __init__(
        self, constraints: Constraints, encodings: Encodings, scorer: Scorer, point: OperatingPoint
    ) -> None:
        self._photos = constraints.photos
        self._vectors = encodings.vectors
        strangers = scorer.head.metadata.calibration.strangers
        self._stranger_margin = (
            point.adjustment.to_gallery(strangers.margin_at(_MEDIAN_RATE)) - point.bias
        )
        self._count = len(encodings)
        self.apart = constraints.apart
        self._apart_keys = self._keys(constraints.apart)
        self._together_keys = self._keys(constraints.together)

    def _keys(self, pairs: Iterable[tuple[int, int]]) -> Int64:
        """One number for each pair, ascending."""
        return np.array(sorted(min(p) * self._count + max(p) for p in pairs), dtype=np.int64)

    def apply(self, first: Int64, second: Int64, margins: Float64) -> Float64:
        """The constrained margins of these pairs, float64 (p,)."""
        result = margins
        if self._photos is not None:
            same_photo = np.flatnonzero(self._photos[first] == self._photos[second])
            a, b = self._vectors[first[same_photo]], self._vectors[second[same_photo]]
            two_people = same_photo[np.einsum("ij,ij->i", a, b) < SAME_PICTURE_COSINE]
            result = result.copy()
            result[two_people] = np.minimum(result[two_people], self._stranger_margin)
        if len(self._apart_keys) or len(self._together_keys):
            keys = np.minimum(first, second) * self._count + np.maximum(first, second)
            result = np.where(np.isin(keys, self._together_keys), ALWAYS, result)
            result = np.where(np.isin(keys, self._apart_keys), NEVER, result)
        return result
