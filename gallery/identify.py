"""The walk: a photo in, exactly one known identity or none out.

Each step lives in a module of its own:

1. Decode the photo: `vision.photo`.
2. Detect its faces: `vision.detection`.
3. Align and encode them: `vision.pipeline`, `encoders`.
4. Search for the nearest enrolled identities, the candidates: `matching.search`.
5. Score each candidate; its verdict is "same" or "different": `matching.scorer`.
6. Decide: exactly one "same" is the match: `matching.decision`.
"""

from __future__ import annotations

from dataclasses import replace

from gallery.matching.decision import decide, decision_without_face, matches, one_face_per_identity
from gallery.matching.scorer import Scorer
from gallery.matching.search import CandidateSearch
from gallery.store import decisions, faces
from gallery.store.database import Database
from gallery.timing import stage
from gallery.types import Decision, Encodings, Face, Outcome, Photo, Several
from gallery.vision.pipeline import FacePipeline, PhotoSource


class Identifier:
    """Answer query photos with an identity, or none.

    pipeline : photo to faces to encodings (steps 1 to 3).
    search, scorer : steps 4 and 5.
    views : how many views of a query face are averaged into its encoding.
    """

    def __init__(
        self,
        database: Database,
        pipeline: FacePipeline,
        search: CandidateSearch,
        scorer: Scorer,
        *,
        views: int,
    ) -> None:
        self._database = database
        self._pipeline = pipeline
        self._search = search
        self._scorer = scorer
        self._views = views

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
        return self._identify(photo, [face])[0]

    def query_all(self, source: PhotoSource, *, taken: str | None = None) -> list[Decision]:
        """Identify every face in a photo, largest face first.

        An identity is given to at most one face. A photo without a usable face has one decision,
        with outcome "no_face". Raises what `query` raises.
        """
        photo = self._pipeline.open(source, taken)
        found = self._pipeline.faces(photo)
        if not found:
            return [self._no_face(photo)]
        return one_face_per_identity(self._identify(photo, found))

    def _identify(self, photo: Photo, found: list[Face]) -> list[Decision]:
        encodings = self._pipeline.encode(photo, found, self._views)
        return [self.decide_face(photo, face, encodings.row(i)) for i, face in enumerate(found)]

    def decide_face(self, photo: Photo, face: Face, encoding: Encodings) -> Decision:
        """Decide on one encoded face of a photo.

        encoding : of the face, shape (1, 128).
        Identities that the user ruled out for this face are no candidates.
        """
        with stage("search"):
            neighbours = self._search.find(encoding)
        with stage("judge"):  # the name that the metrics publish
            operating_point = self._scorer.operating_point()
            candidates = self._scorer.score(encoding, neighbours, operating_point)
            with self._database.reading() as session:
                excluded = decisions.rejected_identities(session, photo.sha256, face.box)
                matched_ids = [c.identity.id for c in matches(candidates, excluded)]
                are_distinct = decisions.are_all_distinct(session, matched_ids)
                dates = {}
                if photo.taken is not None:
                    dates = faces.dates_of(session, [c.identity.id for c in candidates])
            decision = decide(
                face,
                candidates,
                operating_point.fpir,
                excluded=excluded,
                are_distinct=are_distinct,
                taken=photo.taken,
                dates=dates,
                weakness=operating_point.weakness(1),
            )
            return replace(decision, reason=photo.noted(decision.reason))

    def _no_face(self, photo: Photo) -> Decision:
        reason = f"{self._pipeline.no_face(photo)} was found"
        return decision_without_face(Outcome.NO_FACE, photo.noted(reason))
