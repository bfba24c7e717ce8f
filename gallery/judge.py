"""Step 5 of the walk for one gallery: candidates through the head, one verdict an identity."""

from __future__ import annotations

import numpy as np

from gallery.candidates import CandidateFaces
from gallery.head import Head
from gallery.operating_point import OperatingPoint, operating_point
from gallery.types import Candidate, Encodings, Float64, Int64, Verdict

_BATCH = 16_384


class Judge:
    """The head at the operating point of a gallery's size."""

    def __init__(self, head: Head) -> None:
        self._head = head

    def point(self, faces: int) -> OperatingPoint:
        """The operating point for a gallery of this many faces."""
        return operating_point(self._head.marks.curve, faces)

    def probabilities(self, a: Encodings, b: Encodings, point: OperatingPoint) -> Float64:
        """That a[i] and b[i] are one person, float64 (n,); over one half means "same"."""
        return point.judge(self._head.logits(a, b))[0]

    def margins(
        self, encodings: Encodings, first: Int64, second: Int64, point: OperatingPoint
    ) -> Float64:
        """How far the pairs (first[i], second[i]) are on the side of "same", in logits.

        first, second : rows of encodings, int64 (p,). Returns float64 (p,). The pairs' encodings
        are gathered in batches, so that memory does not grow with p times 128.
        """
        found = np.empty(len(first), dtype=np.float64)
        for start in range(0, len(first), _BATCH):
            some = slice(start, start + _BATCH)
            logits = self._head.logits(encodings.take(first[some]), encodings.take(second[some]))
            found[some] = point.judge(logits)[1]
        return found

    def candidates(
        self, query: Encodings, near: CandidateFaces, point: OperatingPoint
    ) -> list[Candidate]:
        """One candidate an identity: its enrolled face that the head finds likeliest.

        query : one encoding, (1, 128).
        """
        count = len(near.records)
        repeated = query.take(np.zeros(count, dtype=np.int64))
        probabilities = self.probabilities(repeated, near.stored.encodings, point)
        cosines = near.stored.encodings.vectors @ query.vectors[0]
        best: dict[int, Candidate] = {}
        for i in np.argsort(-probabilities, kind="stable"):
            record = near.records[i]
            if record.identity.id not in best:
                best[record.identity.id] = Candidate(
                    identity=record.identity,
                    face_id=record.id,
                    photo=record.photo,
                    similarity=float(cosines[i]),
                    probability=float(probabilities[i]),
                    verdict=Verdict.SAME if probabilities[i] > 0.5 else Verdict.DIFFERENT,
                )
        return list(best.values())
