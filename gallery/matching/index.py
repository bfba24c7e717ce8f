"""The database is the truth; the index is a copy that is caught up before every search."""

from __future__ import annotations

import contextlib
import glob
from pathlib import Path
from threading import Lock

import numpy as np
from filelock import FileLock

from gallery.errors import HomeUnusable
from gallery.store import faces
from gallery.store.change_log import changed_since, latest_change
from gallery.store.database import Database
from gallery.types import DIMENSION, Float32
from indexer import Neighbours, SnapshotUnusable, VectorIndex, load_index, open_index

_POSITION = "position"
_GALLERY = "gallery"
_ENCODER = "encoder"
_AT_ONCE = 50_000


class IndexCopy:
    """The index of one gallery in this process, and its saved file.

    The file may be missing, stale, truncated, or another gallery's: then it is built again.
    kept : whether there is to be a file; a gallery that is encrypted has none.
    """

    def __init__(
        self, database: Database, file: Path, *, engine: str, encoder: str, kept: bool = True
    ) -> None:
        self._database = database
        self._file = file
        self._engine = engine
        self._kept = kept
        self._marks = {_GALLERY: database.gallery_id(), _ENCODER: encoder}
        self._lock = Lock()
        self._position = 0
        self._saved: int | None = None
        self._index: VectorIndex | None = None

    @property
    def encoder(self) -> str:
        """SHA-256 of the encoder whose encodings it holds."""
        return self._marks[_ENCODER]

    @property
    def opened(self) -> bool:
        """Whether anything has asked for the index, so that it may be worth saving."""
        return self._index is not None

    @property
    def file(self) -> Path:
        """Where it is saved."""
        return self._file

    @property
    def saved(self) -> bool:
        """Whether there is a file; it is only a copy, and made at closing."""
        return self._file.exists()

    def search(self, vectors: Float32, k: int) -> Neighbours:
        """The k nearest of everything committed by now, by any process."""
        with self._lock:
            return self._current().search(vectors, k)

    def catch_up(self) -> VectorIndex:
        """The index with everything committed by now, by any process."""
        with self._lock:
            return self._current()

    def save(self) -> None:
        """Save what the next process would otherwise have to catch up with.

        A full or read-only disk is no error here: the file is only a copy.
        """
        with self._lock, contextlib.suppress(OSError):
            self._current()
            if self._saved == self._position or not self._kept:
                return
            with self._alone():
                # Caught up again under the lock: what was erased since must not be written back.
                self._current().save(self._file, self._all_marks())
                self._saved = self._position

    def rebuild(self) -> None:
        """Build it from the database and save it over whatever the file holds.

        What a killed process left half-written goes too. Raises HomeUnusable.
        """
        with self._lock:
            try:
                with self._alone():
                    for leftover in self._file.parent.glob(f"{glob.escape(self._file.name)}*.part"):
                        leftover.unlink(missing_ok=True)
                    self._rebuilt()
                    if self._kept:
                        self._current().save(self._file, self._all_marks())
                    else:
                        self._file.unlink(missing_ok=True)
            except OSError as error:
                raise HomeUnusable(
                    f"{self._file} cannot be written ({error.strerror}), so what it held is still"
                    " in it; mend that and run `gallery check`, or delete the file"
                ) from error
            self._saved = self._position

    def close(self) -> None:
        """Give back the memory; the file stays as it was last saved."""
        with self._lock:
            if self._index is not None:
                self._index.close()
                self._index = None

    def problems(self) -> list[str]:
        """What is wrong with the saved file, in words; empty when it is as good as new."""
        try:
            index, position = self._loaded()
        except SnapshotUnusable as error:
            with self._database.reading() as session:
                return [str(error)] if faces.count(session) else []
        while True:  # until nobody writes in between
            with self._database.reading() as session:
                stored, latest = faces.ids(session), latest_change(session)
            if position > latest:
                return [f"{self._file} is newer than the database (change {position} of {latest})"]
            index, position = self._caught_up(index, position)
            if position == latest:
                break
        found = index.ids().tolist()
        index.close()
        if found != stored:
            return [f"{self._file} has {len(found)} faces, the database {len(stored)}"]
        return []

    def _alone(self) -> FileLock:
        """Held while the file is written, so that no process puts an older state back."""
        return FileLock(self._file.with_name(f"{self._file.name}.lock"), mode=0o600)

    def _all_marks(self) -> dict[str, str]:
        return {**self._marks, _POSITION: str(self._position)}

    def _current(self) -> VectorIndex:
        if self._index is None:
            try:
                self._index, self._position = self._loaded()
                self._saved = self._position
            except SnapshotUnusable:
                return self._rebuilt()
        with self._database.reading() as session:
            latest = latest_change(session)
        if latest < self._position:  # an older database was put in place
            return self._rebuilt()
        self._index, self._position = self._caught_up(self._index, self._position)
        return self._index

    def _caught_up(self, index: VectorIndex, position: int) -> tuple[VectorIndex, int]:
        """The index with what was logged after a position, and the position it is at then."""
        with self._database.reading() as session:
            latest = latest_change(session)
            if latest == position:
                return index, position
            changed = changed_since(session, position)
            for start in range(0, len(changed), _AT_ONCE):
                some = changed[start : start + _AT_ONCE]
                there = faces.encodings_by_id(session, some)
                index.erase(np.array(some, dtype=np.int64))
                index.add(there.face_ids, there.encodings.vectors)
        return index, latest

    def _loaded(self) -> tuple[VectorIndex, int]:
        if not self._kept:
            raise SnapshotUnusable("the gallery is encrypted, and its index kept in memory alone")
        index, marks = load_index(self._engine, DIMENSION, self._file)
        position = marks.pop(_POSITION, "")
        if marks != self._marks or not position.isdecimal():
            raise SnapshotUnusable(f"{self._file} belongs to another gallery or encoder")
        return index, int(position)

    def _rebuilt(self) -> VectorIndex:
        index = open_index(self._engine, DIMENSION)
        with self._database.reading() as session:
            position = latest_change(session)
            for block in faces.all_encodings(session):
                index.add(block.face_ids, block.encodings.vectors)
        self._index, self._position, self._saved = index, position, None
        return index
