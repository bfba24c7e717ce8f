"""Two photos: the same person, 1 or 0?"""

from __future__ import annotations

from gallery.matching.scorer import Scorer
from gallery.types import Comparison, Encodings, Face, Several
from gallery.vision.pipeline import FacePipeline, PhotoSource


class Comparer:
    """Compares two photos at the operating point of a single comparison."""

    def __init__(self, eye: FacePipeline, judge: Scorer, *, views: int) -> None:
        self._eye = eye
        self._judge = judge
        self._views = views

    def compare(
        self, first: PhotoSource, second: PhotoSource, *, several: Several = Several.REFUSE
    ) -> Comparison:
        """Raises PhotoError, also for no face, or several when it is not said which to take."""
        (face_a, a), (face_b, b) = (self._one(s, several) for s in (first, second))
        point, head = self._judge.point_of(1), self._judge.head
        margins = head.margins(head.sides(a), head.sides(b))
        similarity = float(a.vectors[0] @ b.vectors[0])
        return Comparison(
            int(point.same(margins)[0]),
            float(point.probabilities(margins)[0]),
            similarity,
            (face_a, face_b),
        )

    def _one(self, source: PhotoSource, several: Several) -> tuple[Face, Encodings]:
        photo = self._eye.open(source)
        face = self._eye.one_face(photo, several)
        return face, self._eye.encode(photo, [face], self._views)
