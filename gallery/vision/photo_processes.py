"""Processes that read photos for a server as long as it runs: each photo in one of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import count
from queue import PriorityQueue
from threading import Lock
from typing import Any, TypeVar

from gallery.errors import EncoderChanged, GalleryError, PhotoLost
from gallery.process import ProcessEnded, WorkerProcess, interrupt_held_back
from gallery.timing import listen, report
from gallery.vision.photo_source import PhotoSource, Upload, source_name
from gallery.vision.pipeline import FacePipeline
from gallery.vision.workers import LostPhoto, Workers, attempt

_LOOK_SECONDS = 0.5
"""The longest wait between two looks at the time that a photo has taken."""
_START_SECONDS, _ANSWER_SECONDS = 60.0, 10.0
"""For a process to be ready, and for an idle one to say that it is."""
_CLOSED = "the processes that read photos were closed"

_Result = TypeVar("_Result")
_Task = tuple[Callable[[FacePipeline, PhotoSource], Any], PhotoSource]


class _TooLate(Exception):
    """A process took longer than it may, or nobody waits for it any more."""


class PhotoProcesses:
    """Processes that apply functions to photos, for any number of threads.

    A process is started when it is first needed. A photo that hangs or ends its process is lost
    alone: the next one has another process.

    workers : how many processes, of which pipeline, within which limits.
    encoder : SHA-256 of the weights that the pipeline must have.
    """

    def __init__(self, workers: Workers, encoder: str) -> None:
        self._workers = workers
        self._start = partial(_start, workers, encoder)
        self._is_closed = self._is_stopped = False
        self._swap = Lock()
        self._number = count()
        self._free: PriorityQueue[tuple[bool, int, WorkerProcess | None]] = PriorityQueue()
        for _ in range(workers.count):
            self._give_back(None)

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
        sent = Upload(here.content(photo), source_name(photo))
        result, stages = self._outcome((function, sent), here)
        for stage, seconds in stages:
            report(stage, seconds)
        if isinstance(result, LostPhoto):
            raise PhotoLost(f"{sent} {result.reason}")
        if isinstance(result, GalleryError):
            raise result
        applied: _Result = result
        return applied

    def start(self) -> int:
        """Start the processes now; return how many are ready.

        Raises what building their pipeline raises.
        """
        launched = [self._launched(self._taken()) for _ in range(self._workers.count)]
        ready = 0
        try:
            while launched:
                process = self._ready(launched.pop())
                if process is not None:
                    self._give_back(process)
                    ready += 1
        finally:
            for process in filter(None, launched):
                self._end(process)
        return ready

    def close(self, *, now: bool = False) -> None:
        """End the processes; one that is reading a photo, when it has read it.

        now : also what is being read is given up.
        """
        with self._swap:
            self._is_closed = True
            self._is_stopped = self._is_stopped or now
            idle = [self._free.get_nowait()[2] for _ in range(self._free.qsize())]
            for _ in idle:  # for threads that wait for a process
                self._free.put((True, next(self._number), None))
        for process in idle:
            if process is not None:
                process.end()

    def _outcome(self, task: _Task, here: FacePipeline) -> tuple[Any, list[tuple[str, float]]]:
        """What `_apply` returns of a task."""
        while True:
            process = self._ready(self._launched(self._taken()))
            if process is None:
                return attempt(task[0], here, task[1]), []
            has_begun = False
            try:
                process.send([None])  # one that was killed while idle answers nothing
                self._receive(process, _ANSWER_SECONDS)
                process.send([task])
                has_begun = True
                outcome: tuple[Any, list[tuple[str, float]]]
                outcome = self._receive(process, self._workers.photo_seconds)
            except ProcessEnded:
                exit_code = self._end(process)
                if has_begun:
                    return self._workers.lost(exit_code), []
            except _TooLate:
                self._end(process)
                if self._is_stopped:
                    raise EncoderChanged(_CLOSED) from None
                if has_begun:
                    return self._workers.lost(None), []
            except Exception:  # of the function, whose process is ready for the next photo
                self._give_back(process)
                raise
            except BaseException:
                self._end(process)
                raise
            else:
                self._give_back(process)
                return outcome

    def _taken(self) -> WorkerProcess | None:
        """Wait for a process, one that runs if there is one; None stands for one to be started."""
        _, _, process = self._free.get()
        if self._is_closed:
            self._give_back(process)
            raise EncoderChanged(_CLOSED)
        return process

    def _launched(self, process: WorkerProcess | None) -> WorkerProcess | None:
        """The process, or a new one in place of None; None if no process can be started."""
        if process is not None:
            return process
        try:
            with interrupt_held_back():
                return WorkerProcess(self._start)
        except OSError:  # no memory, too many processes
            self._give_back(None)
            return None
        except BaseException:
            self._give_back(None)
            raise

    def _ready(self, process: WorkerProcess | None) -> WorkerProcess | None:
        """The process as soon as it is ready; None if it ended instead, or there is none."""
        if process is None or process.is_ready:
            return process
        try:
            self._receive(process, _START_SECONDS)
        except (ProcessEnded, _TooLate):
            self._end(process)
            return None
        except BaseException:
            self._end(process)
            raise
        return process

    def _end(self, process: WorkerProcess) -> int | None:
        """End a process, and let another be started in its place."""
        exit_code = process.end()
        self._give_back(None)
        return exit_code

    def _give_back(self, process: WorkerProcess | None) -> None:
        with self._swap:
            is_closed = self._is_closed
            kept = None if is_closed else process
            self._free.put((kept is None, next(self._number), kept))
        if is_closed and process is not None:
            process.end()

    def _receive(self, process: WorkerProcess, seconds: float) -> Any:
        """Wait for a report. Only time in which this thread waits counts. Raises _TooLate."""
        waited = 0.0
        while waited <= seconds and not self._is_stopped:
            before = time.monotonic()
            if process.connection.poll(_LOOK_SECONDS):
                return process.receive()
            waited += min(time.monotonic() - before, _LOOK_SECONDS)
        raise _TooLate


# In a process


def _start(workers: Workers, encoder: str) -> Callable[[_Task | None], Any]:
    pipeline = workers.start()
    if pipeline.encoder.weights_sha256 != encoder:
        raise EncoderChanged("the gallery's encoder changed while a process was started")
    pipeline.load_second_detector()
    return partial(_apply, pipeline)


def _apply(pipeline: FacePipeline, task: _Task | None) -> Any:
    """The result or the error of one photo, and how long each stage took."""
    if task is None:
        return None
    function, photo = task
    stages: list[tuple[str, float]] = []
    listen(lambda stage, seconds: stages.append((stage, seconds)))
    try:
        return attempt(function, pipeline, photo), stages
    except GalleryError as error:
        return error, stages
