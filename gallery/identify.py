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

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from gallery.config import Promise
from gallery.errors import EncoderChanged, PhotoError, PhotoUnreadable
from gallery.matching.assignment import assign
from gallery.matching.decision import Preference, decide, decision_without_face, matches
from gallery.matching.operating_point import OperatingPoint, rate_for_any
from gallery.matching.scorer import Scorer
from gallery.matching.search import CandidateSearch
from gallery.store import decisions, faces
from gallery.store.database import Database
from gallery.timing import stage
from gallery.types import Candidate, Decision, Encodings, Face, Outcome, Photo, Several
from gallery.vision.photo_source import PhotoSource, Upload, content_in_memory, source_name
from gallery.vision.pipeline import FacePipeline
from gallery.vision.workers import LostPhoto, Workers, map_photos


@dataclass(frozen=True)
class Probe:
    """A query photo, read by steps 1 to 3.

    photo : without its pixels.  encoder : SHA-256 of the encoder's weights.
    faces, encodings : the faces asked about, the largest first; none where `refused` is.
    all_faces : whether every face of the photo is asked about.
    refused : the decision on a photo without a usable face, or with several where one is expected.
    """

    photo: Photo
    encoder: str
    faces: tuple[Face, ...]
    encodings: Encodings
    all_faces: bool
    refused: Decision | None = None


def read_probe(
    pipeline: FacePipeline,
    source: PhotoSource,
    *,
    views: int,
    several: Several | None,
    taken: str | None = None,
) -> Probe:
    """Read a query photo.

    views : how many views of a face are averaged into its encoding.
    several : which face to take when the photo has more than one; None for all of them.
    taken : when the photo was taken, see gallery.dates; None for what its EXIF data say.
    Raises PhotoError when the photo cannot be read or a face in it cannot be encoded, and
    DateInvalid.
    """
    photo = pipeline.open(source, taken)
    found, refused = pipeline.faces(photo), None
    if not found:
        reason = f"{pipeline.no_face(photo)} was found"
        refused = decision_without_face(Outcome.NO_FACE, photo.noted(reason))
    elif several is not None:
        face = several.pick(photo, found)
        if face is None:
            reason = f"{len(found)} faces were found; query all of them, or only the largest"
            refused = decision_without_face(Outcome.SEVERAL_FACES, photo.noted(reason))
        found = [] if face is None else [face]
    return Probe(
        photo.without_pixels(),
        pipeline.encoder.weights_sha256,
        tuple(found),
        pipeline.encode(photo, found, views),
        several is None,
        refused,
    )


def read_probes(
    photos: Iterable[PhotoSource],
    pipeline: FacePipeline,
    workers: Workers,
    *,
    views: int,
    several: Several | None,
    taken: str | None = None,
) -> Iterator[tuple[PhotoSource, Probe | str]]:
    """Read many query photos as read_probe does; yields each with its probe, in order.

    workers : processes that read where there are many photos; pipeline reads where there are few.
    Instead of its probe, a photo that cannot be read has the reason.
    """
    read = partial(_read, views=views, several=several, taken=taken)
    sources = (_portable(photo, pipeline.reader.max_bytes) for photo in photos)
    for photo, result in map_photos(read, sources, pipeline, workers):
        if isinstance(result, LostPhoto):
            yield photo, f"{source_name(photo)} {result.reason}"
        else:
            yield photo, result


def _read(
    pipeline: FacePipeline,
    photo: PhotoSource,
    *,
    views: int,
    several: Several | None,
    taken: str | None,
) -> Probe | str:
    try:
        return read_probe(pipeline, photo, views=views, several=several, taken=taken)
    except PhotoError as error:
        return str(error)


def _portable(photo: PhotoSource, max_bytes: int) -> PhotoSource:
    """The photo, or the content of an open file, which another process cannot read."""
    if isinstance(photo, str | os.PathLike) or not hasattr(photo, "read"):
        return photo
    try:
        return Upload(content_in_memory(photo, max_bytes=max_bytes), source_name(photo))
    except PhotoError as error:
        return _Unreadable(source_name(photo), str(error))


@dataclass(frozen=True)
class _Unreadable:
    """In place of an open file that could not be read."""

    name: str
    reason: str

    def read(self, _: int = -1) -> bytes:
        raise PhotoUnreadable(self.reason)


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
        several: Several | None = Several.REFUSE,
        taken: str | None = None,
    ) -> list[Decision]:
        """Identify the one face in a photo, or every face, the largest first.

        several : which face to take when the photo has more than one; None for all of them. An
            identity is given to at most one face.
        A photo without a usable face has one decision, with outcome "no_face".
        Raises as read_probe does.
        """
        read = partial(read_probe, views=self._views, several=several, taken=taken)
        return self.decide_on(self._pipeline.apply(read, source))

    def decide_on(self, probe: Probe) -> list[Decision]:
        """Decide on each face of a photo that was read. Raises EncoderChanged."""
        if probe.refused is not None:
            return [probe.refused]
        if probe.encoder != self._pipeline.encoder.weights_sha256:
            raise EncoderChanged("the gallery's encoder changed while the photo was read")
        if not probe.all_faces:
            return [self.decide_face(probe.photo, probe.faces[0], probe.encodings)]
        point = self._scorer.operating_point()
        if self._promise == "photo":
            point = self._scorer.point_for_faces(point, len(probe.faces))
        photo_fpir = rate_for_any(point.fpir, len(probe.faces))
        alone = [
            self._decide(probe.photo, face, probe.encodings.row(i), point, photo_fpir)
            for i, face in enumerate(probe.faces)
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
