"""The walk: a photo in, exactly one known identity or none out.

Each step lives in a module of its own:

1. Decode the photo: `vision.photo`.
2. Detect its faces: `vision.detection`.
3. Align and encode them: `vision.pipeline`, `encoders`.
4. Search for the nearest enrolled identities, the candidates: `matching.search`.
5. Score each candidate; its verdict is "same" or "different": `matching.scorer`.
6. Decide: exactly one "same" is the match: `matching.decision`. The faces of one photo are decided
   on together: `matching.assignment`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gallery.config import Promise
from gallery.matching.assignment import assign
from gallery.matching.decision import Preference, decide, decision_without_face, matches
from gallery.matching.operating_point import OperatingPoint, rate_for_any
from gallery.matching.scorer import Scorer
from gallery.matching.search import CandidateSearch
from gallery.store import decisions, faces
from gallery.store.database import Database
from gallery.timing import stage
from gallery.types import Candidate, Decision, Encodings, Face, Outcome, Photo, Several
from gallery.vision.photo_source import PhotoSource
from gallery.vision.pipeline import FacePipeline


class Identifier:
    """Answer query photos with an identity, or none.

    pipeline : photo to faces to encodings (steps 1 to 3).
    search, scorer : steps 4 and 5.
    views : how many views of a query face are averaged into its encoding.
    promise : whether the stated rate is that of each stranger or, where all faces of a photo are
        decided on, that of each photo of strangers.
    """

    def __init__(
        self,
        database: Database,
        pipeline: FacePipeline,
        search: CandidateSearch,
        scorer: Scorer,
        *,
        views: int,
        promise: Promise = "face",
    ) -> None:
        self._database = database
        self._pipeline = pipeline
        self._search = search
        self._scorer = scorer
        self._views = views
        self._promise = promise

    def query(
        self,
        source: PhotoSource,
        *,
        several: Several = Several.REFUSE,
        taken: str | None = None,
    ) -> Decision:
        """Identify the one face in a photo.

        several : which face to take when the photo has more than one; by default, none.
        taken : when the photo was taken, see gallery.dates; None for what its EXIF data say.
        A photo without a usable face is an outcome, not an error.
        Raises PhotoError when the photo cannot be read or a face in it cannot be encoded, and
        DateInvalid.
        """
        photo = self._pipeline.open(source, taken)
        found = self._pipeline.faces(photo)
        if not found:
            return self._no_face(photo)
        face = several.pick(photo, found)
        if face is None:
            reason = f"{len(found)} faces were found; query all of them, or only the largest"
            return decision_without_face(Outcome.SEVERAL_FACES, photo.noted(reason))
        encoding = self._pipeline.encode(photo, [face], self._views)
        return self.decide_face(photo, face, encoding)

    def query_all(self, source: PhotoSource, *, taken: str | None = None) -> list[Decision]:
        """Identify every face in a photo, largest face first.

        An identity is given to at most one face. A photo without a usable face has one decision,
        with outcome "no_face". Raises what `query` raises.
        """
        photo = self._pipeline.open(source, taken)
        found = self._pipeline.faces(photo)
        if not found:
            return [self._no_face(photo)]
        encodings = self._pipeline.encode(photo, found, self._views)
        point = self._scorer.operating_point()
        if self._promise == "photo":
            point = self._scorer.point_for_faces(point, len(found))
        photo_fpir = rate_for_any(point.fpir, len(found))
        alone = [
            self._decide(photo, face, encodings.row(i), point, photo_fpir)
            for i, face in enumerate(found)
        ]
        return assign([decision for decision, _ in alone], [told_apart for _, told_apart in alone])

    def decide_face(self, photo: Photo, face: Face, encoding: Encodings) -> Decision:
        """Decide on one encoded face of a photo.

        encoding : of the face, shape (1, 128).
        Identities that the user ruled out for this face are no candidates.
        """
        point = self._scorer.operating_point()
        return self._decide(photo, face, encoding, point, point.fpir)[0]

    def _decide(
        self,
        photo: Photo,
        face: Face,
        encoding: Encodings,
        point: OperatingPoint,
        photo_fpir: float,
    ) -> tuple[Decision, Preference | None]:
        """The decision, and the preference if the user told all matching identities apart."""
        with stage("search"):
            neighbours = self._search.find(encoding)
        with stage("judge"):  # the name that the metrics publish
            candidates = self._scorer.score(encoding, neighbours, point)
            with self._database.reading() as session:
                excluded = decisions.rejected_identities(session, photo.sha256, face.box)
                matched_ids = [c.identity.id for c in matches(candidates, excluded)]
                are_distinct = decisions.are_all_distinct(session, matched_ids)
                dates = {}
                if photo.taken is not None:
                    dates = faces.dates_of(session, [c.identity.id for c in candidates])
            preference = point.preference if are_distinct else None
            decision = decide(
                face,
                candidates,
                point.fpir,
                excluded=excluded,
                preference=preference,
                taken=photo.taken,
                dates=dates,
                note=self._note([c for c in candidates if c.identity.id not in excluded], point),
            )
        reason = photo.noted(decision.reason)
        return replace(decision, reason=reason, photo_fpir=photo_fpir), preference

    def _note(self, candidates: Sequence[Candidate], point: OperatingPoint) -> str:
        """What to say if nobody matches: that the likeliest would have in a smaller gallery, or
        that too few people are found.
        """
        margin = max((candidate.margin for candidate in candidates), default=0.0)
        size = self._scorer.larger_half_that_matches(point, margin) if margin < 0 else None
        if size is None:
            return point.weakness(1)
        before = self._scorer.point_at_size(point, size).bias
        return (
            f"among {size} people they would match, and do not among {point.comparisons}: the"
            f" operating point moves up with the gallery, here from {before:.2f} to"
            f" {point.bias:.2f}"
        )

    def _no_face(self, photo: Photo) -> Decision:
        reason = f"{self._pipeline.no_face(photo)} was found"
        return decision_without_face(Outcome.NO_FACE, photo.noted(reason))
