"""Settings become the parts of a gallery: the only place where they meet.

Parts are built when they are first used, so that listing identities does not load a network.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import cached_property
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from gallery.config import Settings
from gallery.encoders.registry import DEFAULT, Spec, read_spec
from gallery.encoders.weights import DLIB_RESNET
from gallery.erasure.erase import Eraser, finish_erasing
from gallery.errors import EncoderChanged, HeadUnusable, HomeError
from gallery.factory import build_pipeline
from gallery.matching.index import IndexCopy
from gallery.store import audit, encoders
from gallery.store.database import open_database, open_home
from indexer import DEFAULT_ENGINE

if TYPE_CHECKING:
    from gallery.compare import Comparer
    from gallery.encoders.projection import Projection
    from gallery.encoders.protocol import Traits
    from gallery.enroll import Enroller
    from gallery.identify import Identifier
    from gallery.matching.scorer import Scorer
    from gallery.vision.pipeline import FacePipeline

DATABASE_FILE, INDEX_FILE = "gallery.db", "faces.index"
REENCODE_LOCK = "reencode.lock"
"""Held by who re-encodes the gallery, and by who replaces what that needs."""
_WITH_HEAD = ("_scorer", "_identifier", "_enroller", "_comparer")
T = TypeVar("T")


class _part(cached_property[T]):  # it is used as cached_property is
    """A part that is built when it is first used, by one thread, under the lock that `_follow`
    takes away parts under: so no part is built of others of two encoders, and none outlives them.
    """

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> T: ...

    def __get__(self, instance: object, owner: type[Any] | None = None) -> Self | T:
        if instance is None:
            return self
        assert isinstance(instance, Parts)
        with instance._turn:
            return super().__get__(instance, owner)


class Parts:
    """What a gallery is made of; those for another encoder or head in place of the old ones."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        home = open_home(settings.home)
        self.database = open_database(settings, home / DATABASE_FILE)
        self._turn = RLock()
        self._heads_seen: tuple[tuple[str, int, int], ...] | None = None
        self._check_encoder()
        self.index = self._copy_of(self._encoder_now() or DLIB_RESNET.sha256)
        # An erasure that was cut short is finished now. What still hinders it must not hinder
        # queries; `check` says that it is not done.
        with contextlib.suppress(HomeError):
            finish_erasing(self.database, self.index, home)
            self._prune()

    def _check_encoder(self) -> None:
        """What can be told without loading an encoder. Raises EncoderChanged or SettingInvalid."""
        spec = self.spec
        if spec.kind == DEFAULT:
            with self.database.reading() as session:
                encoders.check_current(session, DEFAULT, DLIB_RESNET.sha256, None)
            return
        with self.database.reading() as session:
            now = encoders.current(session)
            if now is not None and now.name != spec.kind:
                encoders.check_current(session, spec.kind, "", str(spec))

    def _copy_of(self, encoder_sha256: str) -> IndexCopy:
        file = self.settings.home / INDEX_FILE
        return IndexCopy(
            self.database,
            file,
            engine=DEFAULT_ENGINE,
            encoder=encoder_sha256,
            # The file is not encrypted. Building the index anew takes a second for 100,000 faces.
            kept=self.settings.key_file is None,
        )

    @property
    def spec(self) -> Spec:
        """The encoder that the settings name, else the gallery's own, else the default."""
        if self.settings.encoder is not None:
            return read_spec(self.settings.encoder)
        with self.database.reading() as session:
            now = encoders.current(session)
        return read_spec(DEFAULT if now is None else now.spec or now.name)

    def _encoder_now(self) -> str | None:
        with self.database.reading() as session:
            now = encoders.current(session)
        return None if now is None else now.weights_sha256

    def _follow(self) -> str | None:
        """Have the parts for the encoder and the head that the gallery has now: another process may
        have changed them. Returns the encoder's SHA-256; None while nothing was ever enrolled.
        """
        if self._heads_seen is not None and self._heads() != self._heads_seen:
            with self._turn:  # trained anew, or dropped because it knew somebody who was erased
                self._drop(*_WITH_HEAD, *(["pipeline"] if self._projects_otherwise() else []))
                self._heads_seen = None
        now = self._encoder_now()
        if now is None or not self._stale(now):
            return now
        with self._turn:
            now = self._encoder_now()  # it may have taken long to get here
            if now is None:
                return now
            # The index is last: who sees it without the lock finds nothing old beside it.
            self._drop(*self._stale(now))
            if now != self.index.encoder:
                old, self.index = self.index, self._copy_of(now)
                old.close()
        return now

    def _stale(self, now: str) -> list[str]:
        """The parts that are not for this encoder. `_index` stands for the index."""
        stale = []
        judge = self.__dict__.get("_scorer")
        if self.index.encoder != now:
            stale += ["_index", "_eraser", "_identifier", "_enroller"]
        if self._sees_otherwise(now):
            stale += ["pipeline", "_identifier", "_enroller", "_comparer"]
        if judge is not None and judge.head.marks.encoder_sha256 != now:
            stale += _WITH_HEAD
        return stale

    def _sees_otherwise(self, now: str | None) -> bool:
        eye = self.__dict__.get("pipeline")
        return eye is not None and eye.encoder.weights_sha256 != now

    def _drop(self, *parts: str) -> None:
        for part in parts:
            self.__dict__.pop(part, None)

    def _projects_otherwise(self) -> bool:
        """Whether the head that is there now brings another projection than the eye has."""
        from gallery.matching.head import load_projection
        from gallery.matching.head_files import find_head

        eye = self.__dict__.get("pipeline")
        if eye is None or eye.encoder.projection is None:
            return False
        traits = eye.encoder.network.traits
        try:
            found = load_projection(find_head(self.settings, traits), traits.sha256, traits.spec)
        except HeadUnusable:
            return False
        return bool(found.sha256 != eye.encoder.projection.sha256)

    def _heads(self) -> tuple[tuple[str, int, int], ...]:
        """The head files that could be in use, and their state."""
        named = [] if self.settings.head is None else [self.settings.head]
        states = []
        for file in (*named, *sorted(self.settings.home.glob("head*.safetensors"))):
            with contextlib.suppress(OSError):
                found = file.stat()
                states.append((file.name, found.st_mtime_ns, found.st_ino))
        return tuple(states)

    def _steady(self, ask: Callable[[], T]) -> T:
        """An answer during which the gallery's encoder did not change."""
        while True:
            before = self._follow()
            try:
                answer = ask()
            except EncoderChanged:
                if self._encoder_now() == before:
                    raise
                continue
            now = self._encoder_now()
            # A first enrolment, this one or another, makes an encoder the gallery's.
            if now == before or (before is None and not self._sees_otherwise(now)):
                return answer

    def close(self) -> None:
        """Save the index, if it was used, and let go of everything."""
        try:
            if self.index.opened:
                self.index.save()
        finally:
            self.index.close()
            self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:  # the error that is on its way must not be hidden by another one
            self.index.close()
            self.database.close()

    def _prune(self) -> None:
        """Drop what the audit trail has no need of any more."""
        days = self.settings.audit_days
        with self.database.reading() as session:
            due = audit.due(session, days)
        if due:
            with self.database.writing() as session:
                audit.prune(session, days)

    @_part
    def pipeline(self) -> FacePipeline:
        """Photo to encodings. Raises WeightsError, HeadUnusable or EncoderChanged."""
        import torch

        if self.settings.threads:
            torch.set_num_threads(self.settings.threads)
        heads = self._heads()
        eye = build_pipeline(self.settings, self.spec)
        self._heads_seen = heads if self._heads_seen is None else self._heads_seen
        traits, encoder = eye.encoder.network.traits, eye.encoder
        with self.database.reading() as session:
            encoders.check_current(session, encoder.name, encoder.weights_sha256, traits.spec)
            now = encoders.current(session)
        if now is not None and now.spec != traits.spec and traits.name != DEFAULT:
            with self.database.writing() as session:  # its file lies elsewhere now
                encoders.note_spec(session, now.id, traits.spec)
        return eye

    def projection_in_use(self, traits: Traits) -> Projection | None:
        """This network's projection that encodings of the gallery were made with, if any were;
        before others the one at home, since that is where a new one would be written.
        """
        from gallery.encoders.encoder import encoder_sha256
        from gallery.matching.head_files import projections

        with self.database.reading() as session:
            kept = {record.weights_sha256 for record in encoders.kept(session)}
        for projection in projections(self.settings, traits):
            if encoder_sha256(traits.sha256, projection) in kept:
                return projection
        return None

    @property
    def scorer(self) -> Scorer:
        """The head: the one named in the settings, else the home's own, else the shipped one."""
        self._follow()
        return self._scorer

    @_part
    def _scorer(self) -> Scorer:
        from gallery.matching.head import load_head
        from gallery.matching.head_files import find_head
        from gallery.matching.scorer import Scorer

        heads = self._heads()
        # A head can be looked at without loading its encoder.
        if "pipeline" not in self.__dict__ and self.spec.kind == DEFAULT:
            from gallery.encoders.dlib import DLIB_TRAITS as traits

            sha256 = DLIB_RESNET.sha256
        else:
            traits, sha256 = (
                self.pipeline.encoder.network.traits,
                self.pipeline.encoder.weights_sha256,
            )
        head = load_head(find_head(self.settings, traits), traits.name, sha256, traits.spec)
        rate = self.settings.false_positive_identification_rate
        self._heads_seen = heads if self._heads_seen is None else self._heads_seen
        return Scorer(head, self.database, rate=rate)

    @property
    def identifier(self) -> Identifier:
        """The walk."""
        self._follow()
        return self._identifier

    @_part
    def _identifier(self) -> Identifier:
        from gallery.identify import Identifier
        from gallery.matching.search import CandidateSearch

        candidates = CandidateSearch(self.database, self.index, identities=self.settings.candidates)
        return Identifier(
            self.database, self.pipeline, candidates, self._scorer, views=self.settings.views_query
        )

    @_part
    def _eraser(self) -> Eraser:
        return Eraser(
            self.database,
            self.index,
            lambda: self.scorer,
            home=self.settings.home,
            cache=self.settings.cache,
        )

    @_part
    def _enroller(self) -> Enroller:
        from gallery.enroll import Enroller

        return Enroller(
            self.pipeline,
            self._identifier,
            self._scorer,
            self.database,
            views=self.settings.views_enrolled,
            pictures=self.settings.thumbnails,
            keep=self.settings.keep,
        )

    @_part
    def _comparer(self) -> Comparer:
        from gallery.compare import Comparer

        return Comparer(self.pipeline, self._scorer, views=self.settings.views_query)
