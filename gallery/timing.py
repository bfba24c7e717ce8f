"""How long the steps of the walk take, told to whoever listens; by default nobody does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter

STAGES = ("decode", "detect", "encode", "search", "judge")

Listener = Callable[[str, float], None]
"""Called with a stage's name and its seconds, in the thread that did the work."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def listen(listener: Listener) -> None:
    """Tell this one of every stage in the rest of this task, and in threads started from it."""
    _listener.set(listener)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """One step; name : one of STAGES."""
    listener = _listener.get()
    if listener is None:
        yield
        return
    start = perf_counter()
    try:
        yield
    finally:
        listener(name, perf_counter() - start)
