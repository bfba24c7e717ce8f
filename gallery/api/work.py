"""Work on photos, beside the event loop: a few threads, a bounded queue, a time limit."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

import anyio
from starlette.exceptions import HTTPException

T = TypeVar("T")
_LATER = {"Retry-After": "2"}


class Work:
    """threads : at once.  queue : how many may wait.  seconds : for each, waiting included."""

    def __init__(self, *, threads: int, queue: int, seconds: float) -> None:
        self._limiter = anyio.CapacityLimiter(threads)
        self._most = threads + queue
        self._seconds = seconds
        self.running = 0

    async def do(self, task: Callable[[], T]) -> T:
        """Its result. Raises HTTPException 503 when too many wait, or it took too long."""
        if self.running >= self._most:
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE, f"{self.running} requests wait; try later", _LATER
            )
        self.running += 1
        try:
            with anyio.fail_after(self._seconds):
                return await anyio.to_thread.run_sync(
                    task, abandon_on_cancel=True, limiter=self._limiter
                )
        except TimeoutError as error:
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE, f"it took over {self._seconds:g} seconds", _LATER
            ) from error
        finally:
            self.running -= 1
