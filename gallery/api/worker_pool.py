"""Work beside the event loop: a few threads, a bounded queue, and each request's own deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import Request

from gallery.api.problems import Refusal

T = TypeVar("T")


class NotDone(Refusal):
    """There was no room, or no time left."""

    def __init__(self, said: str) -> None:
        later = {"Retry-After": "2"}
        super().__init__(HTTPStatus.SERVICE_UNAVAILABLE, "service-unavailable", said, later)


class WorkerPool:
    """threads : at once.  queue : how many may wait for one.

    What waits is not begun after its request's deadline. What runs then is answered, but keeps its
    thread until it ends, and is the request's `state.late` until then: there are never more.
    """

    def __init__(self, *, threads: int, queue: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="work")
        self._free = asyncio.Semaphore(threads)
        self._most = threads + queue
        self.running = 0

    async def do(self, request: Request, task: Callable[[], T]) -> T:
        """Its result. Raises NotDone when too many wait, or the request's deadline has passed."""
        if self.running >= self._most:
            raise NotDone(f"{self.running} requests wait; try later")
        loop = asyncio.get_running_loop()
        deadline: float = request.state.deadline
        self.running += 1
        try:
            async with asyncio.timeout_at(deadline):
                await self._free.acquire()
        except BaseException as error:
            self.running -= 1
            if isinstance(error, TimeoutError):
                raise NotDone("not reached in time; send it again") from error
            raise
        if loop.time() >= deadline:
            self._free.release()
            self.running -= 1
            raise NotDone("not reached in time; send it again")
        begun = loop.run_in_executor(self._pool, copy_context().run, task)
        begun.add_done_callback(self._ended)
        try:
            async with asyncio.timeout_at(deadline):
                return await asyncio.shield(begun)
        except TimeoutError as error:
            if begun.done():
                raise
            request.state.late = begun
            raise NotDone("it took too long, and may yet be done; send it again later") from error

    def close(self) -> None:
        """Begin nothing more; what runs ends."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _ended(self, begun: asyncio.Future[Any]) -> None:
        self._free.release()
        self.running -= 1
        if not begun.cancelled():
            begun.exception()  # whoever waited is gone: nobody else would take it
