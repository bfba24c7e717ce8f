"""Settings become the parts of a gallery: the only place where they meet.

Parts are built when they are first used, so that listing identities does not load a network.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import cached_property
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from gallery.building import build_eye
from gallery.config import Settings
from gallery.encoders.opening import DEFAULT, Spec, read_spec
from gallery.errors import EncoderChanged, HeadUnusable, HomeError
from gallery.forget import Eraser, finish_erasing
from gallery.store import audit, encoders
from gallery.store.database import open_home
from gallery.store.opening import open_database
from gallery.sync import IndexCopy
from gallery.weights.sources import DLIB_RESNET
from indexer import DEFAULT_ENGINE

if TYPE_CHECKING:
    from gallery.compare import Comparer
    from gallery.encoders.protocol import Traits
    from gallery.enroll import Enroller
    from gallery.identify import Identifier
    from gallery.judge import Judge
    from gallery.projection import Projection
    from gallery.seeing import Eye

DATABASE_FILE, INDEX_FILE = "gallery.db", "faces.index"
T = TypeVar("T")


class Parts:
    """What a gallery is made of; those for another encoder or head in place of the old ones."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        home = open_home(settings.home)
        self.database = open_database(settings, home / DATABASE_FILE)
        self._turn = RLock()
        self._heads_seen: tuple[tuple[str, int, int], ...] = ()
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
        if "_judge" in self.__dict__ and self._heads() != self._heads_seen:
            with self._turn:  # trained anew, or dropped because it knew somebody who was erased
                for part in ("_judge", "_identifier", "_enroller", "_comparer"):
                    self.__dict__.pop(part, None)
        now = self._encoder_now()
        if now is None or now == self.index.encoder:
            return now
        with self._turn:
            if now != self.index.encoder:
                self.index.close()
                self.index = self._copy_of(now)
                built = self.__dict__.get("eye")
                stale = ["_identifier", "_enroller", "_eraser"]
                if built is not None and built.encoder.weights_sha256 != now:
                    stale += ["eye", "_judge", "_comparer"]
                for part in stale:
                    self.__dict__.pop(part, None)
        return now

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
            if before is None or self._encoder_now() == before:
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

    @cached_property
    def eye(self) -> Eye:
        """Photo to encodings. Raises WeightsError, HeadUnusable or EncoderChanged."""
        import torch

        if self.settings.threads:
            torch.set_num_threads(self.settings.threads)
        eye = build_eye(self.settings, self.spec)
        traits, encoder = eye.encoder.network.traits, eye.encoder
        with self.database.reading() as session:
            encoders.check_current(session, encoder.name, encoder.weights_sha256, traits.spec)
            now = encoders.current(session)
        if now is not None and now.spec != traits.spec and traits.name != DEFAULT:
            with self.database.writing() as session:  # its file lies elsewhere now
                encoders.note_spec(session, now.id, traits.spec)
        return eye

    def projection_in_use(self, traits: Traits) -> Projection | None:
        """This network's projection, if encodings of the gallery were made with it."""
        from gallery.encoder import encoder_sha256
        from gallery.head import load_projection
        from gallery.heads import find_head

        try:
            file = find_head(self.settings, traits)
            projection = load_projection(file, traits.sha256, traits.spec)
        except HeadUnusable:
            return None
        with self.database.reading() as session:
            kept = {record.weights_sha256 for record in encoders.kept(session)}
        return projection if encoder_sha256(traits.sha256, projection) in kept else None

    @property
    def judge(self) -> Judge:
        """The head: the one named in the settings, else the home's own, else the shipped one."""
        self._follow()
        return self._judge

    @cached_property
    def _judge(self) -> Judge:
        from gallery.head import load_head
        from gallery.heads import find_head
        from gallery.judge import Judge

        if self.spec.kind == DEFAULT:  # a head can be looked at without loading its encoder
            from gallery.encoders.in_torch import DLIB_TRAITS as traits

            sha256 = DLIB_RESNET.sha256
        else:
            traits, sha256 = self.eye.encoder.network.traits, self.eye.encoder.weights_sha256
        self._heads_seen = self._heads()
        head = load_head(find_head(self.settings, traits), traits.name, sha256, traits.spec)
        rate = self.settings.false_positive_identification_rate
        return Judge(head, self.database, rate=rate)

    @property
    def identifier(self) -> Identifier:
        """The walk."""
        self._follow()
        return self._identifier

    @cached_property
    def _identifier(self) -> Identifier:
        from gallery.candidates import CandidateFinder
        from gallery.identify import Identifier

        candidates = CandidateFinder(self.database, self.index, identities=self.settings.candidates)
        return Identifier(
            self.database, self.eye, candidates, self._judge, views=self.settings.views_query
        )

    @cached_property
    def _eraser(self) -> Eraser:
        return Eraser(
            self.database,
            self.index,
            lambda: self.judge,
            home=self.settings.home,
            cache=self.settings.cache,
        )

    @cached_property
    def _enroller(self) -> Enroller:
        from gallery.enroll import Enroller

        return Enroller(
            self.eye,
            self._identifier,
            self._judge,
            self.database,
            views=self.settings.views_enrolled,
            pictures=self.settings.thumbnails,
            keep=self.settings.keep,
        )

    @cached_property
    def _comparer(self) -> Comparer:
        from gallery.compare import Comparer

        return Comparer(self.eye, self._judge, views=self.settings.views_query)
