"""A worker process that can be killed: it applies a function to items, one after another."""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import ForkingPickler
from types import ModuleType
from typing import Any
from weakref import WeakSet


class ProcessEnded(Exception):
    """The process has ended by itself; `end` returns its exit code."""


class WorkerProcess:
    """A process that reports first that it is ready, then each item it was sent as it is done.

    start : called once in the process; returns the function. Both must be picklable, as must be
        the items and the results.
    Start it within interrupt_held_back.
    Raises OSError if there is no memory for it, or there are too many processes.
    """

    def __init__(self, start: Callable[[], Callable[[Any], Any]]) -> None:
        self._process, self.connection = _started(start)
        self.is_ready = False
        _living.add(self)

    def send(self, items: list[Any]) -> None:
        """Hand it items to do in this order. Raises ProcessEnded."""
        content = ForkingPickler.dumps(items)
        try:
            self.connection.send_bytes(content)
        except OSError as error:
            raise ProcessEnded from error

    def receive(self) -> Any:
        """Wait for a report: None when it is ready, then the result of each item.

        Raises what `start` or the function raised, or ProcessEnded.
        """
        try:
            is_error, value = self.connection.recv()
        except (EOFError, OSError) as error:
            self._process.join(1.0)  # for its own exit code
            raise ProcessEnded from error
        except Exception as error:  # the rest of the report would be taken for the next one
            self._process.kill()
            raise ProcessEnded from error
        if is_error:
            raise value
        self.is_ready = True
        return value

    def end(self) -> int | None:
        """Kill the process, if it has not ended by itself, and return its exit code."""
        self._process.kill()
        self._process.join()
        self.connection.close()
        _living.discard(self)
        return self._process.exitcode


_living: WeakSet[WorkerProcess] = WeakSet()


@atexit.register
def _end_all() -> None:
    """Else multiprocessing would ask them to end, which they do not hear, and wait for them."""
    for process in list(_living):
        process.end()


def _started(start: Callable[[], Callable[[Any], Any]]) -> tuple[SpawnProcess, Connection]:
    """Raises OSError."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    try:
        process = context.Process(target=_work, args=(theirs, start), daemon=True)
        with _main_module_hidden():
            process.start()
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()  # else the end of the process would not be seen
    return process, ours


_hiding = threading.Lock()


@contextlib.contextmanager
def _main_module_hidden() -> Iterator[None]:
    """Keep a process that starts from running the user's program again, to its own end.

    multiprocessing does so for functions that are defined in it. Ours are not.
    """
    with _hiding:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


@contextlib.contextmanager
def interrupt_held_back() -> Iterator[None]:
    """Let Ctrl-C wait until a process is started and its handle is kept.

    The process inherits that, and never sees it.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which else would be started within, and end the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# In a worker process


def _work(connection: Connection, start: Callable[[], Callable[[Any], Any]]) -> None:
    """Report that the function is there, then each item as it is done, until the parent ends.

    What is sent to a whole group of processes is for the parent: it ends this one in its time.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, ConnectionError):
        try:
            function = start()
        except Exception as error:
            connection.send((True, _portable(error)))
            return
        connection.send((False, None))
        while True:
            for item in connection.recv():
                try:
                    report = pickle.dumps((False, function(item)), pickle.HIGHEST_PROTOCOL)
                except Exception as error:
                    report = pickle.dumps((True, _portable(error)))
                connection.send_bytes(report)


def _end_with_parent() -> None:
    """End this process when its parent has ended, also if an item hangs."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _portable(error: Exception) -> Exception:
    """The error as it arrives in another process, with its traceback as a note."""
    trace = f"In a worker process:\n{traceback.format_exc()}"
    try:
        portable: Exception = pickle.loads(pickle.dumps(error))
    except Exception:
        portable = RuntimeError(f"{type(error).__name__}: {error}")
    portable.add_note(trace)
    return portable
