"""Processes that read photos for a server as long as it runs: each photo in one of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from queue import LifoQueue
from threading import Lock
from typing import Any, TypeVar

from gallery.errors import EncoderChanged, GalleryError, PhotoLost
from gallery.process import ProcessEnded, WorkerProcess, interrupt_held_back
from gallery.timing import listen, report
from gallery.vision.photo_source import PhotoSource, portable, source_name
from gallery.vision.pipeline import FacePipeline
from gallery.vision.workers import LostPhoto, Workers, attempt

_LOOK_SECONDS = 0.5
"""The longest wait between two looks at the time that a photo has taken."""

_Result = TypeVar("_Result")


class _TooLate(Exception):
    """A process took longer than a photo may."""


class PhotoProcesses:
    """Processes that apply functions to photos, for any number of threads.

    A process is started when it is first needed. A photo that hangs or ends its process is lost
    alone: the next one has a new process.

    workers : how many processes, of which pipeline, within which limits.
    encoder : SHA-256 of the weights that the pipeline must have.
    max_bytes : of an open file, which is read in this process.
    """

    def __init__(self, workers: Workers, encoder: str, *, max_bytes: int) -> None:
        self._workers = workers
        self._max_bytes = max_bytes
        self._start = partial(_start, workers, encoder)
        self._is_closed = False
        self._swap = Lock()
        self._free: LifoQueue[WorkerProcess | None] = LifoQueue()
        for _ in range(workers.count):
            self._free.put(None)

    def apply(
        self,
        function: Callable[[FacePipeline, PhotoSource], _Result],
        photo: PhotoSource,
        here: FacePipeline,
    ) -> _Result:
        """The function's result, from the first process that is free.

        function : must be picklable, as must be its result.
        here : the pipeline of this process, used when no other process can be started.
        Raises PhotoLost, what the function raises, and EncoderChanged when the processes were
        closed or have another encoder.
        """
        sent = portable(photo, self._max_bytes)
        process = self._take()
        if process is None:
            return function(here, sent)
        try:
            process.send([(function, sent)])
            self._wait_for(process)
            result, stages = process.receive()
        except ProcessEnded:
            result, stages = self._workers.lost(process.end()), []
            process = None
        except _TooLate:
            process.end()
            result, stages = self._workers.lost(None), []
            process = None
        except Exception:  # of the function, whose process is ready for the next photo
            raise
        except BaseException:
            process.end()
            process = None
            raise
        finally:
            self._give_back(process)
        for stage, seconds in stages:
            report(stage, seconds)
        if isinstance(result, LostPhoto):
            raise PhotoLost(f"{source_name(photo)} {result.reason}")
        if isinstance(result, GalleryError):
            raise result
        applied: _Result = result
        return applied

    def start(self) -> None:
        """Start the processes now. Raises what building their pipeline raises."""
        started: list[WorkerProcess | None] = []
        try:
            while len(started) < self._workers.count:
                started.append(self._take())
        finally:
            for process in started:
                self._give_back(process)

    def close(self) -> None:
        """End the processes; one that is reading a photo, when it has read it."""
        with self._swap:
            self._is_closed = True
            idle = [self._free.get_nowait() for _ in range(self._free.qsize())]
            for _ in idle:
                self._free.put(None)  # for threads that wait for a process
        for process in idle:
            if process is not None:
                process.end()

    def _take(self) -> WorkerProcess | None:
        """A process that is ready, to be given back; None if none can be started."""
        process = self._free.get()
        try:
            if self._is_closed:
                raise EncoderChanged("the gallery's encoder changed while the photo was read")
            if process is not None:
                if process.is_alive():
                    return process
                process.end()
            with interrupt_held_back():
                process = WorkerProcess(self._start)
            self._wait_for(process)
            process.receive()
        except (OSError, ProcessEnded, _TooLate):  # no memory, too many processes
            if process is not None:
                process.end()
            self._give_back(None)
            return None
        except BaseException:
            if process is not None:
                process.end()
            self._give_back(None)
            raise
        return process

    def _give_back(self, process: WorkerProcess | None) -> None:
        with self._swap:
            is_closed = self._is_closed
            self._free.put(None if is_closed else process)
        if is_closed and process is not None:
            process.end()

    def _wait_for(self, process: WorkerProcess) -> None:
        """Wait for a report. Only time in which this thread waits counts. Raises _TooLate."""
        waited = 0.0
        while waited <= self._workers.photo_seconds:
            before = time.monotonic()
            if process.connection.poll(_LOOK_SECONDS):
                return
            waited += min(time.monotonic() - before, _LOOK_SECONDS)
        raise _TooLate


# In a process


def _start(workers: Workers, encoder: str) -> Callable[[Any], Any]:
    pipeline = workers.start()
    if pipeline.encoder.weights_sha256 != encoder:
        raise EncoderChanged("the gallery's encoder changed while a process was started")
    pipeline.load_second_detector()
    return partial(_apply, pipeline)


def _apply(
    pipeline: FacePipeline, task: tuple[Callable[[FacePipeline, PhotoSource], Any], PhotoSource]
) -> tuple[Any, list[tuple[str, float]]]:
    """The result or the error of one photo, and how long each stage took."""
    function, photo = task
    stages: list[tuple[str, float]] = []
    listen(lambda stage, seconds: stages.append((stage, seconds)))
    try:
        return attempt(function, pipeline, photo), stages
    except GalleryError as error:
        return error, stages
