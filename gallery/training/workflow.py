"""What the workflows of training and evaluation share: a gallery's parts, progress, encoding."""

from __future__ import annotations

from typing import Any, Protocol

from gallery.config import Settings
from gallery.encoders.projection import Projection
from gallery.encoders.protocol import Traits
from gallery.encoders.registry import read_spec
from gallery.factory import build_workers
from gallery.matching.scorer import Scorer
from gallery.progress import StepProgress, no_step_progress
from gallery.store.database import Database
from gallery.store.records import FaceRecord, StoredEncodings
from gallery.training.dataset import PeopleFolder
from gallery.training.encode import EncodedPeople, encode_people
from gallery.vision.pipeline import FacePipeline


class GalleryLike(Protocol):
    """The parts of a Gallery that the workflows use; pass a Gallery."""

    @property
    def settings(self) -> Settings: ...

    @property
    def database(self) -> Database: ...

    @property
    def pipeline(self) -> FacePipeline: ...

    @property
    def scorer(self) -> Scorer: ...

    def encodings(self) -> StoredEncodings: ...

    def faces(self) -> list[FaceRecord]: ...

    def projection_in_use(self, traits: Traits) -> Projection | None: ...

    def keep_calibration(
        self, adjustment: dict[str, Any], report: dict[str, Any], evidence: dict[str, Any]
    ) -> int: ...


def encode_folder(
    gallery: GalleryLike,
    folder: PeopleFolder,
    *,
    pipeline: FacePipeline | None = None,
    native: bool = False,
    progress: StepProgress = no_step_progress,
) -> EncodedPeople:
    """Encode the central face of each photo in the folder; encodings in the cache are reused.

    pipeline : None is the gallery's.
    native : see encode_people.
    """
    settings = gallery.settings
    pipeline = pipeline or gallery.pipeline
    spec = read_spec(pipeline.encoder.network.traits.spec)
    return encode_people(
        folder,
        pipeline,
        pipeline.views,
        settings.cache,
        lambda done: progress("encoding", done, folder.photos),
        workers=build_workers(settings, spec, native=True),
        native=native,
    )
