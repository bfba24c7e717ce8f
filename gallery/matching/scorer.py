"""Step 5 of the walk for one gallery: candidates through the head, one verdict an identity."""

from __future__ import annotations

from collections.abc import Collection
from threading import Lock

import numpy as np

from gallery.matching.head import Head
from gallery.matching.operating_point import (
    PROMISED_RATE,
    Adjustment,
    OperatingPoint,
    adjusted_to,
    operating_point,
)
from gallery.matching.search import CandidateFaces
from gallery.matching.templates import fused
from gallery.store import calibrations, faces, identities
from gallery.store.change_log import latest_change
from gallery.store.database import Database
from gallery.types import Candidate, Encodings, Float32, Float64, Int64, Verdict

_BATCH = 16_384
_SHORTLIST = 50
_OWN_IDENTITIES = 400
"""So many of a gallery's identities are compared with each other to learn what they are like."""


class Scorer:
    """The head at the operating point of a gallery.

    rate : the promised false-positive identification rate.
    """

    def __init__(self, head: Head, database: Database, *, rate: float = PROMISED_RATE) -> None:
        self.head = head
        self._database = database
        self._rate = rate
        self._lock = Lock()
        self._point: tuple[tuple[int, int, int], OperatingPoint] | None = None

    @property
    def rate(self) -> float:
        """The promised false-positive identification rate."""
        return self._rate

    def point(self) -> OperatingPoint:
        """The operating point for the gallery as it is now, the same in every process.

        A calibration that is in use goes before what the gallery says of itself.
        """
        with self._lock:
            with self._database.reading() as session:
                everyone = np.array(identities.ids(session), dtype=np.int64)
                calibrated = calibrations.in_use(session, self.head.sha256)
                number = 0 if calibrated is None else calibrated.id
                position = latest_change(session), len(everyone), number
                if self._point is not None and self._point[0] == position:
                    return self._point[1]
                stored = faces.encodings_of(
                    session, _some(everyone).tolist() if calibrated is None else []
                )
            if calibrated is None:
                adjustment = own_adjustment(self.head, stored.identity_ids, stored.encodings)
            else:
                adjustment = Adjustment.from_json(calibrated.adjustment)
            self._point = position, self._at(len(everyone), adjustment)
            return self._point[1]

    def own_point(self, without: Collection[int] = ()) -> OperatingPoint:
        """As it would be without any calibration, and without these identities."""
        with self._database.reading() as session:
            everyone = np.array(
                [one for one in identities.ids(session) if one not in without], dtype=np.int64
            )
            stored = faces.encodings_of(session, _some(everyone).tolist())
        adjustment = own_adjustment(self.head, stored.identity_ids, stored.encodings)
        return self._at(len(everyone), adjustment)

    def _at(self, comparisons: int, adjustment: Adjustment) -> OperatingPoint:
        calibration = self.head.marks.calibration
        return operating_point(calibration, comparisons, rate=self._rate, adjustment=adjustment)

    def point_at(self, point: OperatingPoint, identities: int) -> OperatingPoint:
        """What a point of this gallery would be with so many identities like those it has."""
        return operating_point(
            self.head.marks.calibration,
            identities,
            rate=point.rate,
            adjustment=point.adjustment,
        )

    def point_of(self, comparisons: int) -> OperatingPoint:
        """The operating point for so many comparisons of people of whom nothing is known."""
        return operating_point(self.head.marks.calibration, comparisons, rate=self._rate)

    def margins(
        self, encodings: Encodings, first: Int64, second: Int64, point: OperatingPoint
    ) -> Float64:
        """How far the pairs (first[i], second[i]) are on the side of "same", in logits.

        first, second : rows of encodings, int64 (p,). Returns float64 (p,). The pairs' encodings
        are gathered in batches, so that memory does not grow with p times 128.
        """
        rows = _ascending(np.concatenate([first, second]), len(encodings))
        sides = self.head.sides(encodings.take(rows))
        a, b = np.searchsorted(rows, first), np.searchsorted(rows, second)
        found = np.empty(len(first), dtype=np.float64)
        for start in range(0, len(first), _BATCH):
            some = slice(start, start + _BATCH)
            found[some] = self.head.margins(sides[a[some]], sides[b[some]])
        return found - point.bias

    def candidates(
        self, query: Encodings, near: CandidateFaces, point: OperatingPoint
    ) -> list[Candidate]:
        """One candidate an identity, judged by all its photos together.

        query : one encoding, (1, 128). The enrolled face that is most like it is named.
        """
        stored = near.stored
        if not len(stored.face_ids):
            return []
        templates = fused(stored.identity_ids, stored.encodings)
        margins = self.head.margins(
            np.repeat(self.head.sides(query), len(templates.identity_ids), axis=0),
            self.head.sides(templates.encodings),
        )
        same, probabilities = point.same(margins), point.probabilities(margins)
        found: list[Candidate] = []
        for i, identity in enumerate(templates.identity_ids.tolist()):
            record = near.nearest[identity]
            row = int(np.flatnonzero(stored.face_ids == record.id)[0])
            found.append(
                Candidate(
                    identity=record.identity,
                    face_id=record.id,
                    photo=record.photo,
                    similarity=float(stored.encodings.vectors[row] @ query.vectors[0]),
                    probability=float(probabilities[i]),
                    verdict=Verdict.SAME if same[i] else Verdict.DIFFERENT,
                )
            )
        return found


def _ascending(rows: Int64, count: int) -> Int64:
    """Each of some of `count` rows once: sorted when they are few, marked when they are many."""
    if len(rows) < count // 16:
        return np.unique(rows)
    asked = np.zeros(count, dtype=np.bool_)
    asked[rows] = True
    return np.flatnonzero(asked)


def own_adjustment(head: Head, owners: Int64, encodings: Encodings) -> Adjustment:
    """What people enrolled together say of how alike strangers are here.

    Of at most 400 of them: one face of each, as if it were a query, against the fused photos of
    every other.
    """
    rows = np.flatnonzero(np.isin(owners, _some(np.unique(owners))))
    owners, encodings = owners[rows], encodings.take(rows)
    templates = fused(owners, encodings)
    count = len(templates.identity_ids)
    firsts = np.unique(owners, return_index=True)[1]
    margins = cross_margins(head, encodings.take(firsts), templates.encodings)
    above = np.triu_indices(count, k=1)
    return adjusted_to(head.marks.calibration.enrolled, margins[above], count)


def _some(people: Int64) -> Int64:
    """At most 400 of these people, int64 ascending, always the same ones."""
    rng = np.random.default_rng(len(people))
    return np.sort(rng.permutation(np.sort(people))[:_OWN_IDENTITIES])


def near_margins(head: Head, queries: Encodings, enrolled: Encodings) -> Float32:
    """As cross_margins, but -inf where a query's fifty nearest by cosine have no part.

    So it is in a gallery, where the head sees the nearest alone; float32 (queries, enrolled).
    """
    cosines = queries.vectors @ enrolled.vectors.T
    keep = min(_SHORTLIST, len(enrolled))
    near = np.argpartition(-cosines, keep - 1, axis=1)[:, :keep]
    rows = np.repeat(np.arange(len(queries)), keep)
    a, b = head.sides(queries), head.sides(enrolled)
    margins = np.full(cosines.shape, -np.inf, dtype=np.float32)
    margins[rows, near.ravel()] = head.margins(a[rows], b[near.ravel()])
    return margins


def cross_margins(head: Head, queries: Encodings, enrolled: Encodings) -> Float32:
    """Every query against every enrolled one, float32 (queries, enrolled)."""
    a, b = head.sides(queries), head.sides(enrolled)
    margins = np.empty((len(a), len(b)), dtype=np.float32)
    rows = max(1, _BATCH // max(1, len(b)))
    for start in range(0, len(a), rows):
        some = a[start : start + rows]
        pairs = head.margins(np.repeat(some, len(b), axis=0), np.tile(b, (len(some), 1)))
        margins[start : start + rows] = pairs.reshape(len(some), len(b))
    return margins
