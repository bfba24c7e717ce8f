"""The vector index as a replica of the database, caught up from its change log before every search.

The database is the truth. The index can always be built again from it.
"""

from __future__ import annotations

import contextlib
import glob
from pathlib import Path
from threading import Lock

import numpy as np
from filelock import FileLock

from gallery.config import INDEX_FILE, Settings
from gallery.errors import HomeUnusable
from gallery.store import faces
from gallery.store.change_log import changed_since, latest_change
from gallery.store.database import Database
from gallery.types import DIMENSION, Float32
from indexer import (
    DEFAULT_ENGINE,
    Neighbours,
    SnapshotUnusable,
    VectorIndex,
    load_index,
    open_index,
)

_POSITION = "position"
_GALLERY = "gallery"
_ENCODER = "encoder"
_BATCH = 50_000


class IndexReplica:
    """One gallery's index in this process, and its saved file.

    A stale file is caught up; one that is missing, damaged or another gallery's is built again.

    engine : of `indexer`.  encoder : SHA-256 of the encoder whose encodings are indexed.
    persistent : whether the index is saved to the file; an encrypted gallery's is not.
    """

    def __init__(
        self, database: Database, file: Path, *, engine: str, encoder: str, persistent: bool = True
    ) -> None:
        self._database = database
        self._file = file
        self._engine = engine
        self._is_persistent = persistent
        self._metadata = {_GALLERY: database.gallery_id(), _ENCODER: encoder}
        self._lock = Lock()
        self._position = 0
        self._saved_position: int | None = None
        self._index: VectorIndex | None = None

    @classmethod
    def of(cls, database: Database, settings: Settings, encoder: str) -> IndexReplica:
        """The index of a gallery. It is not yet open."""
        return cls(
            database,
            settings.home / INDEX_FILE,
            engine=DEFAULT_ENGINE,
            encoder=encoder,
            # The file is not encrypted. Rebuilding the index takes a second for 100,000 faces.
            persistent=settings.key_file is None,
        )

    @property
    def encoder(self) -> str:
        """SHA-256 of the encoder whose encodings are indexed."""
        return self._metadata[_ENCODER]

    @property
    def is_open(self) -> bool:
        """Whether the index is in memory, so that it may be worth saving."""
        return self._index is not None

    @property
    def file(self) -> Path:
        """The file that the index is saved to."""
        return self._file

    @property
    def is_persistent(self) -> bool:
        """Whether the index is saved to the file."""
        return self._is_persistent

    @property
    def is_saved(self) -> bool:
        """Whether the file exists; it is written on closing."""
        return self._file.exists()

    def search(self, vectors: Float32, k: int) -> Neighbours:
        """Return the k nearest faces among all committed so far, by any process."""
        with self._lock:
            return self._current().search(vectors, k)

    def catch_up(self) -> VectorIndex:
        """Return the index with everything committed so far, by any process."""
        with self._lock:
            return self._current()

    def is_slow(self) -> bool:
        """Whether the index is slow for its size, see indexer.VectorIndex."""
        with self._lock:
            return self._current().is_slow()

    def described(self) -> str:
        """How the index is searched, and how long that takes, in words."""
        with self._lock:
            return self._current().described()

    def speed_up(self) -> None:
        """Prepare the index for quick searches. Searches wait meanwhile."""
        with self._lock:
            self._current().speed_up()
            self._saved_position = None

    def another(self) -> IndexReplica:
        """Return a second index of the same gallery and file, which is not yet open."""
        return IndexReplica(
            self._database,
            self._file,
            engine=self._engine,
            encoder=self.encoder,
            persistent=self._is_persistent,
        )

    def take_over(self, other: IndexReplica) -> None:
        """Search another one's index from now on, in place of this one; the other is closed."""
        other.catch_up()  # so that nobody waits for it below
        with other._lock, self._lock:
            previous = self._index
            self._index, other._index = other._index, None
            self._position, self._saved_position = other._position, other._saved_position
            if previous is not None:
                previous.close()

    def save(self) -> None:
        """Save the index, so that the next process has less to catch up with.

        A full or read-only disk is ignored: the file is only a replica.
        """
        with self._lock, contextlib.suppress(OSError):
            self._current()
            if self._saved_position == self._position or not self._is_persistent:
                return
            with self._file_lock():
                # Catch up again under the lock: what was erased meanwhile must not be written back.
                self._current().save(self._file, self._file_metadata())
                self._saved_position = self._position

    def rebuild(self) -> None:
        """Build the index from the database, and overwrite the file. Raises HomeUnusable."""
        with self._lock:
            self._rebuild()
            self._overwrite()

    def overwrite(self) -> None:
        """Write the file without what was erased, also if nothing else has changed.

        Raises HomeUnusable.
        """
        with self._lock:
            self._overwrite()

    def _overwrite(self) -> None:
        """Also delete the files that a killed process left half-written."""
        try:
            with self._file_lock():
                for leftover in self._file.parent.glob(f"{glob.escape(self._file.name)}*.part"):
                    leftover.unlink(missing_ok=True)
                if self._is_persistent:
                    self._current().save(self._file, self._file_metadata())
                else:
                    self._file.unlink(missing_ok=True)
        except OSError as error:
            raise HomeUnusable(
                f"{self._file} cannot be written ({error.strerror}), so the old index is still in"
                " it; fix that and run `gallery check`, or delete the file"
            ) from error
        self._saved_position = self._position

    def close(self) -> None:
        """Release the memory; the file stays as it was last saved."""
        with self._lock:
            if self._index is not None:
                self._index.close()
                self._index = None

    def problems(self) -> list[str]:
        """Return what is wrong with the saved file; empty when nothing is."""
        try:
            index, position = self._load()
        except SnapshotUnusable as error:
            with self._database.reading() as session:
                return [str(error)] if faces.count(session) else []
        while True:  # until no other process writes in between
            with self._database.reading() as session:
                stored, latest = faces.ids(session), latest_change(session)
            if position > latest:
                return [f"{self._file} is newer than the database (change {position} of {latest})"]
            index, position = self._apply_changes(index, position)
            if position == latest:
                break
        indexed = index.ids().tolist()
        index.close()
        if indexed != stored:
            return [f"{self._file} has {len(indexed)} faces, the database {len(stored)}"]
        return []

    def _file_lock(self) -> FileLock:
        """A lock between processes, so that none overwrites the file with an older state."""
        return FileLock(self._file.with_name(f"{self._file.name}.lock"), mode=0o600)

    def _file_metadata(self) -> dict[str, str]:
        return {**self._metadata, _POSITION: str(self._position)}

    def _current(self) -> VectorIndex:
        if self._index is None:
            try:
                self._index, self._position = self._load()
                self._saved_position = self._position
            except SnapshotUnusable:
                return self._rebuild()
        with self._database.reading() as session:
            latest = latest_change(session)
        if latest < self._position:  # an older database was restored
            return self._rebuild()
        if latest > self._position:
            self._index, self._position = self._apply_changes(self._index, self._position)
        return self._index

    def _apply_changes(self, index: VectorIndex, position: int) -> tuple[VectorIndex, int]:
        """Apply the changes after a position; return the index and its new position."""
        with self._database.reading() as session:
            latest = latest_change(session)
            if latest == position:
                return index, position
            changed = changed_since(session, position)
            for start in range(0, len(changed), _BATCH):
                face_ids = changed[start : start + _BATCH]
                stored = faces.encodings_by_id(session, face_ids)
                index.erase(np.array(face_ids, dtype=np.int64))
                index.add(stored.face_ids, stored.encodings.vectors)
        return index, latest

    def _load(self) -> tuple[VectorIndex, int]:
        if not self._is_persistent:
            raise SnapshotUnusable("the gallery is encrypted, so its index is kept only in memory")
        index, metadata = load_index(self._engine, DIMENSION, self._file)
        position = metadata.pop(_POSITION, "")
        if metadata != self._metadata or not position.isdecimal():
            raise SnapshotUnusable(f"{self._file} belongs to another gallery or encoder")
        return index, int(position)

    def _rebuild(self) -> VectorIndex:
        index = open_index(self._engine, DIMENSION)
        with self._database.reading() as session:
            position = latest_change(session)
            for block in faces.all_encodings(session):
                index.add(block.face_ids, block.encodings.vectors)
        self._index, self._position, self._saved_position = index, position, None
        return index
