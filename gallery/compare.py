"""Verification: are two photos of the same person, 1 or 0?"""

from __future__ import annotations

from functools import partial

from gallery.matching.scorer import Scorer
from gallery.types import Comparison, Encodings, Face, Several
from gallery.vision.photo_source import PhotoSource
from gallery.vision.pipeline import FacePipeline


class Comparer:
    """Compare two photos at the operating point for a single comparison.

    views : how many views of a face are averaged into its encoding.
    """

    def __init__(self, pipeline: FacePipeline, scorer: Scorer, *, views: int) -> None:
        self._pipeline = pipeline
        self._scorer = scorer
        self._views = views

    def compare(
        self, first: PhotoSource, second: PhotoSource, *, several: Several = Several.REFUSE
    ) -> Comparison:
        """Compare the one face of each photo.

        several : which face to take when a photo has more than one; by default, none.
        Raises PhotoError, also for a photo without a usable face or with several.
        """
        encode = partial(_encoded_face, several=several, views=self._views)
        face_a, a = self._pipeline.apply(encode, first)
        face_b, b = self._pipeline.apply(encode, second)
        operating_point, head = self._scorer.operating_point_for(1), self._scorer.head
        margins = head.margins(head.sides(a), head.sides(b))
        return Comparison(
            same=int(operating_point.is_same(margins)[0]),
            probability=float(operating_point.probabilities(margins)[0]),
            similarity=float(a.vectors[0] @ b.vectors[0]),
            faces=(face_a, face_b),
        )


def _encoded_face(
    pipeline: FacePipeline, source: PhotoSource, *, several: Several, views: int
) -> tuple[Face, Encodings]:
    photo = pipeline.open(source)
    face = pipeline.one_face(photo, several)
    return face, pipeline.encode(photo, [face], views)
