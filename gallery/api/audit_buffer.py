"""Who asked, and with which outcome, for the audit trail: gathered, and written each second.

A query must not wait for the database's write lock. What a killed process had not written yet, at
most a second's queries, is missing from the trail.
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

_EVERY = 1.0
_MOST = 100_000


class AuditBuffer:
    """Of one gallery. log : told when the trail cannot be written."""

    def __init__(self, database: Database, log: Any) -> None:
        self._database = database
        self._log = log
        self._lock = Lock()
        self._noted: deque[tuple[datetime, Actor, str, str]] = deque(maxlen=_MOST)

    def note(self, action: str, outcome: str) -> None:
        """To be called by whoever acts."""
        self._noted.append((datetime.now(UTC), audit.current(), action, outcome))

    def write(self) -> None:
        """Write what was noted; what cannot be written now is kept for the next time."""
        with self._lock:
            some = list(self._noted)
            if not some:
                return
            try:
                with self._database.writing() as session:
                    for at, actor, action, outcome in some:
                        audit.record(session, action, outcome=outcome, actor=actor, at=at)
            except GalleryError as error:
                self._log.error("audit trail not written", waiting=len(some), error=str(error))
                return
            for written in some:  # of a full deque the oldest may have made room meanwhile
                if self._noted and self._noted[0] is written:
                    self._noted.popleft()

    async def keep_writing(self) -> None:
        """Until it is cancelled."""
        while True:
            await anyio.sleep(_EVERY)
            await anyio.to_thread.run_sync(self.write)
