"""What is known of faces besides how they look: two of one photo, and what the user decided."""

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
"""Margins of pairs that the user decided on: no mean over a few million pairs outweighs one."""
_ORDINARY = 0.5
"""Two faces of one photo count as a pair of strangers of the middling kind does."""


@dataclass(frozen=True)
class Constraints:
    """What is known besides the faces.

    photos : int64 (n,), of each row, or None. Two faces of one photo are two people, unless they
        are one picture (a mirror, a collage); it is weighed, and many pairs can outweigh it.
    apart, together : pairs of rows that the user decided on; these are final.
    """

    photos: Int64 | None = None
    apart: frozenset[tuple[int, int]] = field(default_factory=frozenset)
    together: frozenset[tuple[int, int]] = field(default_factory=frozenset)

    @cached_property
    def partners(self) -> dict[int, list[int]]:
        """Of each row those that it is together with."""
        found: dict[int, list[int]] = {}
        for a, b in self.together:
            found.setdefault(a, []).append(b)
            found.setdefault(b, []).append(a)
        return found

    def of(self, rows: Int64) -> Constraints:
        """Those among some rows, int64 ascending, which are counted anew."""
        place = dict(zip(rows.tolist(), range(len(rows)), strict=True))

        def inside(pairs: frozenset[tuple[int, int]]) -> frozenset[tuple[int, int]]:
            return frozenset((place[a], place[b]) for a, b in pairs if a in place and b in place)

        photos = None if self.photos is None else self.photos[rows]
        return Constraints(photos, inside(self.apart), inside(self.together))


class Bound:
    """Puts constraints into margins. apart : those of the constraints."""

    def __init__(
        self, constraints: Constraints, encodings: Encodings, judge: Scorer, point: OperatingPoint
    ) -> None:
        self._photos = constraints.photos
        self._vectors = encodings.vectors
        curve = judge.head.marks.calibration.strangers
        self._ordinary = point.adjustment.here(curve.margin_at(_ORDINARY)) - point.bias
        self._count = len(encodings)
        self.apart = constraints.apart
        self._apart = self._keys(constraints.apart)
        self._together = self._keys(constraints.together)

    def _keys(self, pairs: Iterable[tuple[int, int]]) -> Int64:
        return np.array(sorted(min(p) * self._count + max(p) for p in pairs), dtype=np.int64)

    def weighed(self, first: Int64, second: Int64, margins: Float64) -> Float64:
        """The margins of these pairs, float64 (p,)."""
        found = margins
        if self._photos is not None:
            same = np.flatnonzero(self._photos[first] == self._photos[second])
            a, b = self._vectors[first[same]], self._vectors[second[same]]
            two = same[np.einsum("ij,ij->i", a, b) < SAME_PICTURE_COSINE]
            found = found.copy()
            found[two] = np.minimum(found[two], self._ordinary)
        if len(self._apart) or len(self._together):
            keys = np.minimum(first, second) * self._count + np.maximum(first, second)
            found = np.where(np.isin(keys, self._together), ALWAYS, found)
            found = np.where(np.isin(keys, self._apart), NEVER, found)
        return found
