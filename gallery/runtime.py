"""The parts of an open gallery, for one encoder and one head; the only place where parts meet.

Parts are built at their first use, so that listing identities loads no network. A part, once built,
never changes: when the gallery's encoder or head changes, a new `Parts` takes the place of the old.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar

from gallery.config import Settings
from gallery.encoders.built_in import DLIB_TRAITS, TRAITS
from gallery.encoders.registry import Spec, default_kind, read_spec
from gallery.errors import EncoderChanged, HeadUnusable
from gallery.factory import build_pipeline, build_workers
from gallery.matching.index import IndexReplica
from gallery.store import encoders
from gallery.store.database import Database

if TYPE_CHECKING:
    from gallery.compare import Comparer
    from gallery.enrolment.enroller import Enroller
    from gallery.identify import Identifier
    from gallery.matching.scorer import Scorer
    from gallery.vision.photo_processes import PhotoProcesses
    from gallery.vision.pipeline import FacePipeline

_MAX_UNCHANGED_FAILURES = 2
_SHARE_FOR_READING = 0.9
"""Of the time that a server has for a request."""
T = TypeVar("T")


class Lazy(Generic[T]):
    """A value that is built at its first use, once, by whichever thread needs it first.

    A build that raises is tried again at the next use.
    """

    def __init__(self, build: Callable[[], T], built: T | None = None) -> None:
        self._build = build
        self._lock = Lock()
        self._value = built

    @property
    def built(self) -> T | None:
        """The value, or None before its first use."""
        return self._value

    def get(self) -> T:
        """The value. Raises what building it raises."""
        if self._value is None:
            with self._lock:
                if self._value is None:
                    self._value = self._build()
        return self._value


@dataclass(frozen=True)
class State:
    """What the parts of a gallery are for.

    encoder : SHA-256 of the encoder in use; None while nothing was ever enrolled.
    heads : name, modification time and inode of every head file that could be in use.
    """

    encoder: str | None
    heads: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Parts:
    """The parts of a gallery in one state. They are only ever combined with one another."""

    state: State
    index: IndexReplica
    pipeline: Lazy[FacePipeline]
    scorer: Lazy[Scorer]
    identifier: Lazy[Identifier]
    enroller: Lazy[Enroller]
    comparer: Lazy[Comparer]


class Runtime:
    """The parts for the state that a gallery is in now."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._swap = Lock()
        self._reads_in_processes = False
        self._check_encoder()
        state = self._state()
        self._parts = self._assembled(state, self._new_index(state.encoder or DLIB_TRAITS.sha256))

    @property
    def index(self) -> IndexReplica:
        """The index of the parts that were used last, for closing it."""
        return self._parts.index

    def close(self) -> None:
        """End the processes that read photos, and release the index's file."""
        _close_processes(self._parts.pipeline.built)
        self._parts.index.close()

    def read_in_processes(self) -> int:
        """Start the processes that read photos; those for a new encoder start with its photos.

        Returns how many are ready.
        """
        self._reads_in_processes = True
        pipeline = self.parts().pipeline.get()
        if pipeline.processes is None:
            pipeline.processes = self._photo_processes(pipeline)
        return pipeline.processes.start()

    def stop_reading(self) -> None:
        """End the processes that read photos now: what they read is lost."""
        pipeline = self._parts.pipeline.built
        if pipeline is not None and pipeline.processes is not None:
            pipeline.processes.close(now=True)

    @property
    def spec(self) -> Spec:
        """The encoder that the settings name, else the gallery's own, else that of a new one."""
        if self._settings.encoder is not None:
            return read_spec(self._settings.encoder)
        with self._database.reading() as session:
            current = encoders.current(session)
        if current is None:
            return read_spec(default_kind(self._settings.cache))
        return read_spec(current.spec or current.name)

    def parts(self) -> Parts:
        """The parts for the present state, which another process may have changed."""
        if self._state() == self._parts.state:
            return self._parts
        with self._swap:
            state = self._state()  # it may have taken long to get here
            previous = self._parts
            if state != previous.state:
                self._parts = self._succeeding(previous, state)
                if self._parts.index is not previous.index:
                    previous.index.close()
                if self._parts.pipeline.built is not previous.pipeline.built:
                    _close_processes(previous.pipeline.built)
            return self._parts

    def steady(self, operation: Callable[[Parts], T]) -> T:
        """The result of an operation during which the gallery's encoder did not change.

        It is repeated when the encoder changed meanwhile, or may have: there and back again.
        """
        unchanged_failures = 0
        while True:
            parts = self.parts()
            try:
                result = operation(parts)
            except EncoderChanged:
                if self._encoder() == parts.state.encoder:
                    unchanged_failures += 1
                    if unchanged_failures == _MAX_UNCHANGED_FAILURES:
                        raise
                continue
            encoder = self._encoder()
            if encoder == parts.state.encoder:
                return result
            # A first enrolment, this one or another, makes an encoder the gallery's.
            if parts.state.encoder is None and _is_for(parts.pipeline.built, encoder):
                return result

    def _encoder(self) -> str | None:
        with self._database.reading() as session:
            current = encoders.current(session)
        return None if current is None else current.weights_sha256

    def _state(self) -> State:
        named = [] if self._settings.head is None else [self._settings.head]
        heads = []
        for file in (*named, *sorted(self._settings.home.glob("head*.safetensors"))):
            with contextlib.suppress(OSError):
                status = file.stat()
                heads.append((file.name, status.st_mtime_ns, status.st_ino))
        return State(self._encoder(), tuple(heads))

    def _check_encoder(self) -> None:
        """What can be checked without loading an encoder. Raises EncoderChanged, SettingInvalid."""
        spec = self.spec
        with self._database.reading() as session:
            if spec.kind == DLIB_TRAITS.name:
                encoders.check_current(session, spec.kind, DLIB_TRAITS.sha256, None)
                return
            current = encoders.current(session)
            if current is not None and current.name != spec.kind:
                encoders.check_current(session, spec.kind, "", str(spec))

    def _new_index(self, encoder: str) -> IndexReplica:
        return IndexReplica.of(self._database, self._settings, encoder)

    def _succeeding(self, previous: Parts, state: State) -> Parts:
        """Parts for a new state, with those of the previous one that are right for it too."""
        encoder = previous.index.encoder if state.encoder is None else state.encoder
        same_index = previous.index.encoder == encoder
        index = previous.index if same_index else self._new_index(encoder)
        pipeline = previous.pipeline.built
        if not _is_for(pipeline, state.encoder):
            pipeline = None
        heads_changed = state.heads != previous.state.heads
        if pipeline is not None and heads_changed and self._projects_otherwise(pipeline):
            pipeline = None
        scorer = previous.scorer.built
        if scorer is not None and (
            heads_changed or scorer.head.metadata.encoder_sha256 != state.encoder
        ):
            scorer = None
        return self._assembled(state, index, pipeline, scorer)

    def _projects_otherwise(self, pipeline: FacePipeline) -> bool:
        """Whether the head that is there now brings another projection than the pipeline has."""
        from gallery.matching.head import load_projection
        from gallery.matching.head_files import find_head

        if pipeline.encoder.projection is None:
            return False
        traits = pipeline.encoder.network.traits
        try:
            projection = load_projection(
                find_head(self._settings, traits), traits.sha256, traits.spec
            )
        except HeadUnusable:
            return False
        return projection.sha256 != pipeline.encoder.projection.sha256

    def _assembled(
        self,
        state: State,
        index: IndexReplica,
        built_pipeline: FacePipeline | None = None,
        built_scorer: Scorer | None = None,
    ) -> Parts:
        settings, database = self._settings, self._database
        pipeline = Lazy(self._build_pipeline, built_pipeline)
        scorer = Lazy(lambda: self._build_scorer(pipeline), built_scorer)

        def build_identifier() -> Identifier:
            from gallery.identify import Identifier
            from gallery.matching.search import CandidateSearch

            candidates = CandidateSearch(database, index, identities=settings.candidates)
            return Identifier(
                database,
                pipeline.get(),
                candidates,
                scorer.get(),
                views=pipeline.get().views.probe,
                promise=settings.promise,
            )

        def build_enroller() -> Enroller:
            from gallery.enrolment.enroller import Enroller

            return Enroller(
                pipeline.get(),
                identifier.get(),
                scorer.get(),
                database,
                views=pipeline.get().views.enrolled,
                thumbnails=settings.thumbnails,
                keep=settings.keep,
            )

        def build_comparer() -> Comparer:
            from gallery.compare import Comparer

            return Comparer(pipeline.get(), scorer.get(), views=pipeline.get().views.probe)

        identifier = Lazy(build_identifier)
        return Parts(
            state, index, pipeline, scorer, identifier, Lazy(build_enroller), Lazy(build_comparer)
        )

    def _build_pipeline(self) -> FacePipeline:
        """Build for the encoder of the moment. `parts` and `steady` find out if it is a newer one.

        Raises WeightsError, HeadUnusable or EncoderChanged.
        """
        pipeline = build_pipeline(self._settings, self.spec)
        traits, encoder = pipeline.encoder.network.traits, pipeline.encoder
        with self._database.reading() as session:
            encoders.check_current(session, encoder.name, encoder.weights_sha256, traits.spec)
            current = encoders.current(session)
        if current is not None and current.spec != traits.spec and traits.name not in TRAITS:
            with self._database.writing() as session:  # its file lies elsewhere now
                encoders.set_spec(session, current.id, traits.spec)
        if self._reads_in_processes:
            pipeline.processes = self._photo_processes(pipeline)
        return pipeline

    def _photo_processes(self, pipeline: FacePipeline) -> PhotoProcesses:
        from gallery.vision.photo_processes import PhotoProcesses

        settings, encoder = self._settings, pipeline.encoder
        spec = read_spec(encoder.network.traits.spec)
        threads = settings.threads or max(1, (os.cpu_count() or 1) // settings.workers)
        workers = build_workers(settings, spec, threads=threads)
        workers = replace(workers, count=settings.workers)
        answerable = settings.api_seconds * _SHARE_FOR_READING
        if answerable < workers.photo_seconds:  # later, nobody waits for the answer
            workers = replace(workers, photo_seconds=answerable, setting="GALLERY_API_SECONDS")
        return PhotoProcesses(workers, encoder.weights_sha256)

    def _build_scorer(self, pipeline: Lazy[FacePipeline]) -> Scorer:
        """The head: the one named in the settings, else the home's own, else the shipped one."""
        from gallery.matching.head import load_head
        from gallery.matching.head_files import built_in_sha256, find_head
        from gallery.matching.scorer import Scorer

        # A built-in encoder's head can be loaded without loading the encoder.
        if pipeline.built is None and self.spec.kind in TRAITS:
            traits = TRAITS[self.spec.kind]
            sha256 = built_in_sha256(self._settings, traits)
        else:
            encoder = pipeline.get().encoder
            traits, sha256 = encoder.network.traits, encoder.weights_sha256
        head = load_head(find_head(self._settings, traits), traits.name, sha256, traits.spec)
        rate = self._settings.false_positive_identification_rate
        return Scorer(head, self._database, fpir=rate)


def _close_processes(pipeline: FacePipeline | None) -> None:
    if pipeline is not None and pipeline.processes is not None:
        pipeline.processes.close()


def _is_for(pipeline: FacePipeline | None, encoder: str | None) -> bool:
    """Whether the pipeline, if there is one, encodes with this encoder, if there is one."""
    return pipeline is None or encoder is None or pipeline.encoder.weights_sha256 == encoder
