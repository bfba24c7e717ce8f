"""Group an index for its size while it is searched: in another process, then swapped in."""

from __future__ import annotations

import os
from functools import partial
from threading import Lock

from gallery.config import DATABASE_FILE, Settings
from gallery.matching.index import IndexReplica
from gallery.process import ProcessEnded, WorkerProcess, interrupt_held_back
from gallery.store.database import open_database


class Regrouping:
    """Groups a gallery's index anew when it is outgrown, unless that has failed before."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._process: WorkerProcess | None = None
        self._has_failed = False

    def run(self, index: IndexReplica) -> bool:
        """Group the index if it is outgrown; return whether that was done. Queries go on.

        Raises what opening the gallery raises, and OSError if no process can be started.
        """
        if self._has_failed or not index.is_outgrown():
            return False
        self._has_failed = True  # unless it reaches its end
        other = index.another()
        if not index.is_persistent:  # what is not written to a file cannot come from elsewhere
            other.regroup()
        elif not self._run_elsewhere(index.encoder):
            return False
        if other.is_outgrown():  # its file could not be written
            other.close()
            return False
        index.take_over(other)
        self._has_failed = False
        return True

    def close(self) -> None:
        """Stop a process that is grouping; the index and its file stay as they are."""
        with self._lock:
            self._has_failed = True
            if self._process is not None:
                self._process.end()

    def _run_elsewhere(self, encoder: str) -> bool:
        """Have another process group the index and save it. Returns whether it was not stopped."""
        with self._lock, interrupt_held_back():
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
    return partial(_regroup, settings, encoder)


def _regroup(settings: Settings, encoder: str, _: object) -> None:
    database = open_database(settings, settings.home / DATABASE_FILE)
    index = IndexReplica.of(database, settings, encoder)
    try:
        index.regroup()
        index.save()
    finally:
        index.close()
        database.close()
