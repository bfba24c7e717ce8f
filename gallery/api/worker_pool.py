"""Threads for blocking work, with a bounded queue and a deadline per request."""

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
_TOO_LATE = "timed out in the queue; try again"


class Unavailable(Refusal):
    """503: the queue is full, or the deadline has passed."""

    def __init__(self, detail: str) -> None:
        retry = {"Retry-After": "2"}
        super().__init__(HTTPStatus.SERVICE_UNAVAILABLE, "service-unavailable", detail, retry)


class WorkerPool:
    """threads : tasks that run at once.  queue : tasks that may wait.

    A task that waits past its request's deadline is not started. One that runs past it keeps its
    thread until it ends, as the request's `state.running`; its request is answered 503.
    """

    def __init__(self, *, threads: int, queue: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="work")
        self._free_threads = asyncio.Semaphore(threads)
        self._capacity = threads + queue
        self.pending = 0
        """Tasks running or waiting."""

    async def run(self, request: Request, task: Callable[[], T]) -> T:
        """Return the task's result. Raises Unavailable."""
        if self.pending >= self._capacity:
            raise Unavailable(f"{self.pending} requests are waiting; try again later")
        loop = asyncio.get_running_loop()
        deadline: float = request.state.deadline
        self.pending += 1
        try:
            async with asyncio.timeout_at(deadline):
                await self._free_threads.acquire()
        except BaseException as error:
            self.pending -= 1
            if isinstance(error, TimeoutError):
                raise Unavailable(_TOO_LATE) from error
            raise
        if loop.time() >= deadline:
            self._free_threads.release()
            self.pending -= 1
            raise Unavailable(_TOO_LATE)
        future = loop.run_in_executor(self._pool, copy_context().run, task)
        future.add_done_callback(self._finish)
        try:
            async with asyncio.timeout_at(deadline):
                return await asyncio.shield(future)
        except TimeoutError as error:
            if future.done():
                raise
            request.state.running = future
            raise Unavailable("timed out while running, and may still finish; try again") from error

    def close(self) -> None:
        """Start no more tasks, and wait for those that run."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _finish(self, future: asyncio.Future[Any]) -> None:
        self._free_threads.release()
        self.pending -= 1
        if not future.cancelled():
            future.exception()  # mark as retrieved: the request may be gone
