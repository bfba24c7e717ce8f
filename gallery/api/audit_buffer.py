"""Audit entries of queries, buffered and written every second.

A query must not wait for the database's write lock. If the process is killed, entries not yet
written (at most a second's worth) are lost.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from threading import Lock
from typing import Any

import anyio

from gallery.errors import GalleryError
from gallery.store import audit
from gallery.store.audit import Actor
from gallery.store.database import Database

_INTERVAL = 1.0  # seconds
_CAPACITY = 100_000


class AuditBuffer:
    """The buffer of one gallery. A failed write is tried again; the first is reported to `log`."""

    def __init__(self, database: Database, log: Any) -> None:
        self._database = database
        self._log = log
        self._lock = Lock()
        self._has_failed = False
        self._entries: deque[tuple[datetime, Actor, str, str]] = deque(maxlen=_CAPACITY)

    def add(self, action: str, outcome: str) -> None:
        """Add an entry for the current actor."""
        self._entries.append((datetime.now(UTC), audit.current_actor(), action, outcome))

    def flush(self) -> None:
        """Write the buffered entries. Entries that cannot be written stay in the buffer."""
        with self._lock:
            batch = list(self._entries)
            if not batch:
                return
            try:
                with self._database.writing() as session:
                    for at, actor, action, outcome in batch:
                        audit.record(session, action, outcome=outcome, actor=actor, at=at)
            except GalleryError as error:
                if not self._has_failed:
                    self._log.error("audit trail not written", waiting=len(batch), error=str(error))
                self._has_failed = True
                return
            self._has_failed = False
            for entry in batch:  # a full deque may have dropped its oldest entries meanwhile
                if self._entries and self._entries[0] is entry:
                    self._entries.popleft()

    async def run(self) -> None:
        """Flush every second until cancelled."""
        while True:
            await anyio.sleep(_INTERVAL)
            await anyio.to_thread.run_sync(self.flush)
