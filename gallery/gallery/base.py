"""Opening and closing a gallery, and its parts."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from gallery.config import DATABASE_FILE, Settings, load_settings
from gallery.encoders.registry import Spec
from gallery.erasure.erased_bytes import finish_erasing
from gallery.errors import HomeError
from gallery.matching.speed_up import SpeedUp
from gallery.runtime import Runtime
from gallery.store import audit
from gallery.store.database import open_database, open_home

if TYPE_CHECKING:
    from gallery.identify import Identifier
    from gallery.matching.index import IndexReplica
    from gallery.matching.scorer import Scorer
    from gallery.vision.pipeline import FacePipeline


class OpenGallery:
    """A gallery that is open, and its parts. `Gallery` adds what can be done with it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        home = open_home(settings.home)
        self.database = open_database(settings, home / DATABASE_FILE)
        self._runtime = Runtime(settings, self.database)
        self._speed_up = SpeedUp(settings)
        # Finish an interrupted erasure. If it still cannot be finished, queries go on and `check`
        # reports it.
        with contextlib.suppress(HomeError, OSError):
            self._finish_erasing()
            self._prune_audit_trail()

    @classmethod
    def open(cls, home: str | Path | None = None, **settings: object) -> Self:
        """Open the gallery in this folder; create it if there is none.

        home : None for GALLERY_HOME, else the platform's data folder.
        settings : fields of gallery.config.Settings.
        Raises SettingInvalid, HomeError or EncoderChanged.

        >>> with Gallery.open("my-gallery") as gallery:
        ...     len(gallery.identities())
        0
        """
        return cls(load_settings(home=home, **settings))

    def read_in_processes(self) -> int:
        """From now on, read photos in `workers` processes (a setting), as a server does.

        For programs that query from several threads. A photo that hangs, ends its process or needs
        too much memory is lost alone: it raises PhotoLost, or is an outcome of enrolling.
        Returns how many processes could be started; without any, photos are read in this one.
        Raises WeightsError, HeadUnusable or EncoderChanged.

        >>> gallery.read_in_processes()
        2
        """
        return self._runtime.read_in_processes()

    def stop_reading(self) -> None:
        """End these processes at once: what they read raises PhotoLost or EncoderChanged."""
        self._runtime.stop_reading()

    def close(self) -> None:
        """Save the index if it was used, and release all files."""
        try:
            if self._runtime.index.is_open:
                self._runtime.index.save()
        finally:
            self._release()

    def _release(self) -> None:
        self._speed_up.close()
        self._runtime.close()
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
        else:  # saving may fail, and must not hide the error on its way
            self._release()

    # Parts, always for the encoder and the head that the gallery has now

    @property
    def index(self) -> IndexReplica:
        """The search index, a copy of the database's encodings."""
        return self._runtime.parts().index

    @property
    def spec(self) -> Spec:
        """The encoder that the settings name, else the gallery's own, else that of a new one."""
        return self._runtime.spec

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever enrolled."""
        return self._runtime.parts().state.encoder is None

    @property
    def pipeline(self) -> FacePipeline:
        """Photo to encodings. Raises WeightsError, HeadUnusable or EncoderChanged."""
        return self._runtime.parts().pipeline.get()

    @property
    def scorer(self) -> Scorer:
        """The head at this gallery's operating point. Raises HeadUnusable."""
        return self._runtime.parts().scorer.get()

    @property
    def identifier(self) -> Identifier:
        """Encoding to decision. Raises as `pipeline` and `scorer` do."""
        return self._runtime.parts().identifier.get()

    def _finish_erasing(self) -> None:
        finish_erasing(self.database, self.index, self.settings.home)

    def _prune_audit_trail(self) -> None:
        days = self.settings.audit_days
        with self.database.reading() as session:
            due = audit.is_prune_due(session, days)
        if due:
            with self.database.writing() as session:
                audit.prune(session, days)
