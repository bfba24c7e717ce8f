"""Work on photos, beside the event loop: a few threads, a bounded queue, a time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from http import HTTPStatus
from typing import TypeVar

from starlette.exceptions import HTTPException

T = TypeVar("T")
_LATER = {"Retry-After": "2"}


class Work:
    """threads : at once.  queue : how many may wait.  seconds : for each, waiting included.

    What takes too long is answered, but keeps its thread until it ends: there are never more.
    """

    def __init__(self, *, threads: int, queue: int, seconds: float) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="photo")
        self._most = threads + queue
        self._seconds = seconds
        self.running = 0

    async def do(self, task: Callable[[], T]) -> T:
        """Its result. Raises HTTPException 503 when too many wait, or it took too long."""
        if self.running >= self._most:
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE, f"{self.running} requests wait; try later", _LATER
            )
        loop = asyncio.get_running_loop()
        context = copy_context()
        self.running += 1
        begun = self._pool.submit(context.run, task)
        begun.add_done_callback(lambda _: _tell(loop, self._ended))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(begun), self._seconds)
        except TimeoutError as error:
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE, f"it took over {self._seconds:g} seconds", _LATER
            ) from error

    def close(self) -> None:
        """Begin nothing more; what runs ends."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _ended(self) -> None:
        self.running -= 1


def _tell(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)
