"""The walk: a photo in, exactly one known identity or none out. This page is the product."""

from __future__ import annotations

from gallery.matching.decision import decide, one_face_an_identity, without_face
from gallery.matching.scorer import Scorer
from gallery.matching.search import CandidateSearch
from gallery.store import decisions
from gallery.store.database import Database
from gallery.timing import stage
from gallery.types import Decision, Encodings, Face, Outcome, Photo, Several, Verdict
from gallery.vision.pipeline import FacePipeline, PhotoSource


class Identifier:
    """Answers queries. views : how many views of a query's face are averaged."""

    def __init__(
        self,
        database: Database,
        eye: FacePipeline,
        candidates: CandidateSearch,
        judge: Scorer,
        *,
        views: int,
    ) -> None:
        self._database = database
        self._eye = eye
        self._candidates = candidates
        self._judge = judge
        self._views = views

    def query(self, source: PhotoSource, *, several: Several = Several.REFUSE) -> Decision:
        """Who is the one face of this photo, or that of several which is to be taken?

        Raises PhotoError for what is no photo; a photo without a face is an answer.
        """
        photo = self._eye.open(source)
        faces = self._eye.faces(photo)
        if not faces:
            return self._no_face()
        face = several.pick(photo, faces)
        if face is None:
            reason = f"{len(faces)} faces were found; ask for all faces, or for the largest"
            return without_face(Outcome.SEVERAL_FACES, reason)
        return self._decide(photo, [face])[0]

    def query_all(self, source: PhotoSource) -> list[Decision]:
        """Who is each face of this photo, largest first? One identity has at most one face.

        A photo without a face has one answer, which says so. Raises PhotoError.
        """
        photo = self._eye.open(source)
        faces = self._eye.faces(photo)
        if not faces:
            return [self._no_face()]
        return one_face_an_identity(self._decide(photo, faces))

    def _no_face(self) -> Decision:
        smallest = self._eye.min_face
        return without_face(Outcome.NO_FACE, f"no face of at least {smallest} pixels was found")

    def _decide(self, photo: Photo, faces: list[Face]) -> list[Decision]:
        encodings = self._eye.encode(photo, faces, self._views)
        return [self.decide(photo, face, encodings.row(i)) for i, face in enumerate(faces)]

    def decide(self, photo: Photo, face: Face, encoding: Encodings) -> Decision:
        """The answer for one encoded face, (1, 128), of a photo.

        Nobody of whom the user said that this face is not theirs is a candidate.
        """
        with stage("search"):
            near = self._candidates.find(encoding)
        with stage("judge"):
            point = self._judge.point()
            candidates = self._judge.candidates(encoding, near, point)
            with self._database.reading() as session:
                out = decisions.not_of(session, photo.sha256, face.box)
                matched = [
                    c.identity.id
                    for c in candidates
                    if c.verdict is Verdict.SAME and c.identity.id not in out
                ]
                two = decisions.are_two(session, matched)
            return decide(face, candidates, point.rate, not_of=out, told_apart=two)
