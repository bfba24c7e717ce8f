"""Worker processes that can be killed: an item that hangs or ends its process is lost alone.

`concurrent.futures` cannot stop a task that runs, and one process that dies breaks its whole pool.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing.connection import wait
from typing import Any, Generic, TypeVar

from gallery.process import ProcessEnded, WorkerProcess, interrupt_held_back

AHEAD = 32
"""Items taken for each process and not yet yielded. They bound the memory, and how many results
wait for a slow item before them."""
_TASK_ITEMS = 4
"""Handed to a process at once, so that it has work while the parent has other work."""
_LOOK_SECONDS = 0.5
"""The longest wait between two looks at the time that items have taken."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


_PENDING = object()


@dataclass(eq=False)
class _Slot:
    """An item that was taken, and its result as soon as there is one."""

    item: Any
    result: Any = _PENDING


@dataclass(eq=False)
class _Worker:
    """task : what it was handed, the item in progress first.  seconds : spent on that item."""

    process: WorkerProcess
    task: deque[_Slot] = field(default_factory=deque)
    seconds: float = 0.0


class ProcessPool(Generic[_Item, _Result]):
    """A function applied to items by several processes.

    start : called once in each process; returns the function. Both must be picklable, as must be
        the items and the results.
    lost : called in this process; returns the result of an item whose process ended with this
        exit code, negative for a signal, or was killed for taking too long (None).
    count : of processes; fewer if no more can be started.
    seconds : after which the process of an item is killed. Only time in which this process waits
        counts, so that a program that is stopped and continued loses nothing.
    ahead : items taken for each process and not yet yielded; smaller than AHEAD for large items.
    """

    def __init__(
        self,
        start: Callable[[], Callable[[_Item], _Result]],
        lost: Callable[[int | None], _Result],
        *,
        count: int,
        seconds: float,
        ahead: int = AHEAD,
    ) -> None:
        self._start = start
        self._lost = lost
        self._count = count
        self._seconds = seconds
        self._ahead = ahead * count
        self._workers: list[_Worker] = []
        self._waiting: deque[_Slot] = deque()

    def map(
        self, items: Iterator[_Item], here: Callable[[_Item], _Result]
    ) -> Iterator[tuple[_Item, _Result]]:
        """Yield each item with its result, in order. Only a bounded number is taken ahead.

        No process is left when the iteration ends, also early.
        here : the function, for this process: used when no other process can be started.
        Raises what `start` or the function raises in a process.
        """
        taken: deque[_Slot] = deque()
        try:
            while True:
                slots = [_Slot(item) for item in islice(items, self._ahead - len(taken))]
                taken += slots
                self._waiting += slots
                if not taken:
                    return
                self._hand_out()
                if self._workers:
                    self._look()
                else:
                    slot = self._waiting.popleft()
                    slot.result = here(slot.item)
                while taken and taken[0].result is not _PENDING:
                    slot = taken.popleft()
                    yield slot.item, slot.result
        finally:
            for worker in self._workers:
                worker.process.end()

    def _hand_out(self) -> None:
        """Give each idle worker a task. Start workers while there is more to do."""
        for worker in [w for w in self._workers if w.process.is_ready and not w.task]:
            if not self._waiting:
                return
            size = min(_TASK_ITEMS, -(-len(self._waiting) // self._count))
            task = deque(self._waiting.popleft() for _ in range(size))
            try:
                worker.process.send([slot.item for slot in task])
            except ProcessEnded:  # before it began
                self._take_back(task)
                self._ended(worker)
            else:
                worker.task = task
        while self._waiting and len(self._workers) < self._count:
            try:
                with interrupt_held_back():
                    self._workers.append(_Worker(WorkerProcess(self._start)))
            except OSError:  # no memory, too many processes
                self._count = len(self._workers)

    def _look(self) -> None:
        """Wait for reports; give up the items that take too long."""
        before = time.monotonic()
        ready = wait([worker.process.connection for worker in self._workers], _LOOK_SECONDS)
        waited = min(time.monotonic() - before, _LOOK_SECONDS)
        for worker in list(self._workers):
            if worker.process.connection in ready:
                worker.seconds = 0.0
                self._receive(worker)
            elif worker.task:
                worker.seconds += waited
                if worker.seconds > self._seconds:
                    self._ended(worker, is_late=True)

    def _receive(self, worker: _Worker) -> None:
        try:
            was_ready = worker.process.is_ready
            result = worker.process.receive()
        except ProcessEnded:
            self._ended(worker)
            return
        if was_ready:
            worker.task.popleft().result = result

    def _ended(self, worker: _Worker, *, is_late: bool = False) -> None:
        """Lose the item in progress; the others of the task are handed out again."""
        exit_code = worker.process.end()
        self._workers.remove(worker)
        if worker.task:
            worker.task.popleft().result = self._lost(None if is_late else exit_code)
            self._take_back(worker.task)
        else:  # it did not start, or ended for no item: another would do so, too
            self._count -= 1

    def _take_back(self, task: deque[_Slot]) -> None:
        self._waiting.extendleft(reversed(task))
