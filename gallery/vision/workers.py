"""One function applied to many photos, by several processes that each build a face pipeline."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Generic, TypeVar

from gallery.vision.pipeline import FacePipeline

_LEAST_PHOTOS = 48
"""With fewer photos the start of the workers takes longer than they save."""
_MAX_WORKERS = 8
_TASK_PHOTOS = 4
_TASKS_PER_WORKER = 3
"""Few tasks wait at a time, so that memory does not grow with the number of photos."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class WorkersUnavailable(Exception):
    """No worker process starts. Nothing was done yet."""


@dataclass(frozen=True)
class Workers:
    """count : of processes.  build_pipeline : called once in each of them; must be picklable."""

    count: int
    build_pipeline: Callable[[], FacePipeline]


def worker_count() -> int:
    """Return how many workers to start on this machine: one per core, up to a limit."""
    return min(_MAX_WORKERS, os.cpu_count() or 1)


def map_photos(
    function: Callable[[FacePipeline, _Item], _Result],
    photos: Sequence[_Item],
    pipeline: FacePipeline,
    workers: Workers | None,
) -> Iterator[tuple[_Item, _Result | None]]:
    """Apply a function to each photo: in worker processes where they pay off, else in this one.

    Yields (photo, result) as they are done, in any order. The result is None for a photo that
    kills the process that reads it; the other photos are not affected.

    function : must be picklable, as must be the photos.
    pipeline : used in this process, for few photos or when no worker starts.
    """
    if workers is not None and workers.count > 1 and len(photos) >= _LEAST_PHOTOS:
        try:
            yield from _map_in_workers(function, photos, workers)
            return
        except WorkersUnavailable:
            pass
    for photo in photos:
        yield photo, function(pipeline, photo)


def _map_in_workers(
    function: Callable[[FacePipeline, _Item], _Result], photos: Sequence[_Item], workers: Workers
) -> Iterator[tuple[_Item, _Result | None]]:
    """Raises WorkersUnavailable before the first result."""
    initializer = partial(_start_worker, workers.build_pipeline, function)
    remaining = iter(photos)
    has_started = False
    while True:
        pool: _Pool[_Item, _Result] = _Pool(workers.count, initializer)
        for result in pool.run(remaining, _TASK_PHOTOS):
            has_started = True
            yield result
        if not pool.interrupted:
            return
        if not has_started and not _can_start(initializer):
            raise WorkersUnavailable
        has_started = True
        # One of these killed its worker. Each is tried alone, so that only that one is lost.
        for photo in pool.interrupted:
            single: _Pool[_Item, _Result] = _Pool(1, initializer)
            yield from single.run(iter([photo]), 1)
            for killer in single.interrupted:
                yield killer, None


class _Pool(Generic[_Item, _Result]):
    """Processes that run until all photos are done or until one of the processes dies.

    interrupted : the photos that were in progress when a process died; empty otherwise.
    """

    def __init__(self, count: int, initializer: Callable[[], None]) -> None:
        self.interrupted: list[_Item] = []
        self._count = count
        self._executor = _executor(count, initializer)
        self._tasks: dict[Future[list[Any]], list[_Item]] = {}

    def run(
        self, photos: Iterator[_Item], task_photos: int
    ) -> Iterator[tuple[_Item, _Result | None]]:
        """Take photos from the iterator, so many a task, and yield each with its result."""
        try:
            while True:
                self._submit(photos, task_photos)
                if not self._tasks:
                    return
                for future in wait(self._tasks, return_when=FIRST_COMPLETED).done:
                    task = self._tasks.pop(future)
                    try:
                        results = future.result()
                    except BrokenProcessPool:
                        self.interrupted += task
                    else:
                        yield from zip(task, results, strict=True)
        finally:
            self._executor.shutdown(wait=False, cancel_futures=True)

    def _submit(self, photos: Iterator[_Item], task_photos: int) -> None:
        while not self.interrupted and len(self._tasks) < _TASKS_PER_WORKER * self._count:
            task = list(islice(photos, task_photos))
            if not task:
                return
            try:
                self._tasks[self._executor.submit(_run_task, task)] = task
            except BrokenProcessPool:
                self.interrupted += task


def _executor(count: int, initializer: Callable[[], None]) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer)


def _can_start(initializer: Callable[[], None]) -> bool:
    with _executor(1, initializer) as executor:
        try:
            executor.submit(_has_pipeline).result()
        except BrokenProcessPool:
            return False
    return True


_worker: list[Callable[[Any], Any]] = []
"""In a worker process: the function, bound to the worker's own pipeline."""


def _start_worker(
    build_pipeline: Callable[[], FacePipeline], function: Callable[[FacePipeline, Any], Any]
) -> None:
    import torch

    torch.set_num_threads(1)  # two processes of one thread are faster than one of two
    _worker.append(partial(function, build_pipeline()))


def _run_task(photos: list[Any]) -> list[Any]:
    return [_worker[0](photo) for photo in photos]


def _has_pipeline() -> bool:
    return bool(_worker)
