"""Speed up a slow index while it is searched: in another process, then swapped in."""

from __future__ import annotations

import os
from functools import partial
from threading import Lock

from gallery.config import DATABASE_FILE, Settings
from gallery.matching.index import IndexReplica
from gallery.process import ProcessEnded, WorkerProcess, interrupt_held_back
from gallery.store.database import open_database


class SpeedUp:
    """Speeds up a gallery's index when it is slow, unless that has failed before."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._process: WorkerProcess | None = None
        self._has_failed = self._is_closed = False

    def run(self, index: IndexReplica) -> bool:
        """Speed the index up if it is slow; return whether that was done. Queries go on.

        Raises what opening the gallery raises, and OSError if no process can be started.
        """
        if self._has_failed or not index.is_slow():
            return False
        self._has_failed = True  # unless it reaches its end
        other = index.another()
        if not index.is_persistent:  # what is not written to a file cannot come from elsewhere
            other.speed_up()
        elif not self._run_elsewhere(index.encoder):
            return False
        if other.is_slow():  # its file could not be written, or it was no gain
            other.close()
            return False
        index.take_over(other)
        self._has_failed = False
        return True

    def close(self) -> None:
        """Stop a process that is at it; the index and its file stay as they are."""
        with self._lock:
            self._is_closed = True
            if self._process is not None:
                self._process.end()

    def _run_elsewhere(self, encoder: str) -> bool:
        """Have another process do it and save the index. Returns whether it was not stopped."""
        with self._lock, interrupt_held_back():
            if self._is_closed:
                return False
            self._process = WorkerProcess(partial(_start, self._settings, encoder))
        try:
            self._process.receive()  # it is ready
            self._process.send([None])
            self._process.receive()
        except ProcessEnded:
            return False
        finally:
            with self._lock:
                self._process.end()
                self._process = None
        return True


# In the process


def _start(settings: Settings, encoder: str) -> partial[None]:
    if hasattr(os, "nice"):
        os.nice(10)  # whoever asks goes first
    return partial(_speed_up, settings, encoder)


def _speed_up(settings: Settings, encoder: str, _: object) -> None:
    database = open_database(settings, settings.home / DATABASE_FILE)
    index = IndexReplica.of(database, settings, encoder)
    try:
        index.speed_up()
        index.save()
    finally:
        index.close()
        database.close()
