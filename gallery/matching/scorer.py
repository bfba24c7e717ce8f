"""Step 5 of the walk: the head scores each candidate at the gallery's operating point."""

from __future__ import annotations

from collections.abc import Collection
from threading import Lock

import numpy as np

from gallery.matching.adjustment import Adjustment
from gallery.matching.gallery_margins import gallery_impostors, gallery_margins, identity_sample
from gallery.matching.gallery_sample import GallerySample
from gallery.matching.head import Head
from gallery.matching.impostors import Impostors
from gallery.matching.operating_point import (
    DEFAULT_FPIR,
    OperatingPoint,
    operating_point,
    rate_for_each,
)
from gallery.matching.search import CandidateFaces
from gallery.matching.templates import fuse_templates
from gallery.store import calibrations, faces, identities
from gallery.store.database import Database
from gallery.types import Candidate, Encodings, Float64, Int64, Verdict

_BATCH = 16_384


class Scorer:
    """Turn candidates into verdicts: the head at a gallery's operating point.

    fpir : the stated false-positive identification rate.
    """

    def __init__(self, head: Head, database: Database, *, fpir: float = DEFAULT_FPIR) -> None:
        self.head = head
        self._database = database
        self._rate = fpir
        self._lock = Lock()
        self._sample = GallerySample(head)
        self._cached: tuple[tuple[int, int], OperatingPoint] | None = None

    @property
    def fpir(self) -> float:
        """The stated false-positive identification rate."""
        return self._rate

    def operating_point(self) -> OperatingPoint:
        """Return the operating point of the gallery as it is now, the same in every process but
        for rounding.

        A calibration in use takes precedence over what the gallery's own identities show.
        """
        with self._lock:
            with self._database.reading() as session:
                impostors = self._sample.impostors(session)
                comparisons = identities.count(session)
                calibration = calibrations.in_use(session, self.head.sha256)
            version = 0 if calibration is None else calibration.id
            if self._cached is not None:
                state, point = self._cached
                if state == (comparisons, version) and point.impostors is impostors:
                    return point
            adjustment = None
            if calibration is not None:
                adjustment = Adjustment.from_json(calibration.adjustment)
            point = self._operating_point(comparisons, impostors, adjustment)
            self._cached = (comparisons, version), point
            return point

    def uncalibrated_operating_point(self, without: Collection[int] = ()) -> OperatingPoint:
        """Return the operating point without any calibration, and without these identities."""
        with self._database.reading() as session:
            comparisons = sum(i not in without for i in identities.ids(session))
            owners = [i for i in faces.all_owners(session) if i not in without]
            sample = identity_sample(np.array(owners, dtype=np.int64))
            stored = faces.encodings_of(session, sample.tolist())
        impostors = gallery_impostors(self.head, stored.identity_ids, stored.encodings)
        return self._operating_point(comparisons, impostors)

    def operating_point_for(self, comparisons: int) -> OperatingPoint:
        """Return the operating point for this many comparisons of people not in the gallery."""
        return self._operating_point(comparisons)

    def point_at_size(self, point: OperatingPoint, identities: int) -> OperatingPoint:
        """Return a point as it would be with this many identities like those in the gallery."""
        return self._moved(point, identities, point.fpir)

    def point_for_faces(self, point: OperatingPoint, faces: int) -> OperatingPoint:
        """Return the point that holds the stated rate for a photo of so many faces as a whole."""
        return self._moved(point, point.comparisons, rate_for_each(point.fpir, faces))

    def larger_half_that_matches(self, point: OperatingPoint, margin: float) -> int | None:
        """Return the largest size of the gallery at which a candidate would have matched.

        margin : of the candidate over `point`, at most 0.
        Returns None if it would not even have with half as many identities.
        """
        low, high = (point.comparisons + 1) // 2, point.comparisons
        if low == high or self.point_at_size(point, low).bias >= margin + point.bias:
            return None
        while high - low > 1:
            middle = (low + high) // 2
            if self.point_at_size(point, middle).bias < margin + point.bias:
                low = middle
            else:
                high = middle
        return low

    def forget(self) -> None:
        """Forget what is cached of the gallery, encodings of enrolled people among it."""
        with self._lock:
            self._cached, self._sample = None, GallerySample(self.head)

    def _moved(self, point: OperatingPoint, identities: int, fpir: float) -> OperatingPoint:
        return operating_point(
            self.head.metadata.calibration,
            identities,
            fpir=fpir,
            adjustment=point.adjustment if point.is_calibrated else None,
            impostors=point.impostors,
        )

    def _operating_point(
        self,
        comparisons: int,
        impostors: Impostors | None = None,
        adjustment: Adjustment | None = None,
    ) -> OperatingPoint:
        return operating_point(
            self.head.metadata.calibration,
            comparisons,
            fpir=self._rate,
            adjustment=adjustment,
            impostors=impostors,
        )

    def margins(
        self, encodings: Encodings, first: Int64, second: Int64, point: OperatingPoint
    ) -> Float64:
        """Return the margins of pairs over the operating point, in logits: positive is "same".

        first, second : int64 (p,), rows of `encodings`; pair i is (first[i], second[i]).
        Returns float64 (p,). Sides are gathered in batches, so memory does not grow by p * 128.
        """
        rows = _unique_rows(np.concatenate([first, second]), len(encodings))
        sides = self.head.sides(encodings.take(rows))
        a, b = np.searchsorted(rows, first), np.searchsorted(rows, second)
        margins = np.empty(len(first), dtype=np.float64)
        for start in range(0, len(first), _BATCH):
            batch = slice(start, start + _BATCH)
            margins[batch] = self.head.margins(sides[a[batch]], sides[b[batch]])
        return margins - point.bias

    def score(
        self, query: Encodings, neighbours: CandidateFaces, point: OperatingPoint
    ) -> list[Candidate]:
        """Score the nearest identities: one candidate each, judged by its template.

        query : one encoding, (1, 128). A candidate names its face that is most similar to it.
        point : of this gallery, see operating_point.
        """
        stored = neighbours.stored
        if not len(stored.face_ids):
            return []
        templates = fuse_templates(stored.identity_ids, stored.encodings)
        assert point.impostors is not None
        margins = gallery_margins(self.head, query, templates, point.impostors)[0]
        is_same, probabilities = point.is_same(margins), point.probabilities(margins)
        cosines = stored.encodings.vectors @ query.vectors[0]
        cosine_of = dict(zip(stored.face_ids.tolist(), cosines.tolist(), strict=True))
        candidates: list[Candidate] = []
        for i, identity_id in enumerate(templates.identity_ids.tolist()):
            face = neighbours.nearest[identity_id]
            candidates.append(
                Candidate(
                    identity=face.identity,
                    face_id=face.id,
                    photo=face.photo,
                    similarity=cosine_of[face.id],
                    probability=float(probabilities[i]),
                    verdict=Verdict.SAME if is_same[i] else Verdict.DIFFERENT,
                    margin=float(margins[i]) - point.bias,
                )
            )
        return candidates


def _unique_rows(rows: Int64, count: int) -> Int64:
    """Return each distinct row below `count` once, ascending.

    Few rows are sorted; many are marked, which is faster.
    """
    if len(rows) < count // 16:
        return np.unique(rows)
    is_used = np.zeros(count, dtype=np.bool_)
    is_used[rows] = True
    return np.flatnonzero(is_used)
