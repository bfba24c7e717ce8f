"""How long each stage of a query takes, reported to a listener if there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter

STAGES = ("decode", "detect", "encode", "search", "judge")

Listener = Callable[[str, float], None]
"""Called with a stage's name and its seconds, in the thread that ran it."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def listen(listener: Listener) -> None:
    """Report every stage to this listener, in the rest of this task and in threads it starts."""
    _listener.set(listener)


def report(name: str, seconds: float) -> None:
    """Report a stage that ran elsewhere."""
    listener = _listener.get()
    if listener is not None:
        listener(name, seconds)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Time a block. name : one of STAGES."""
    listener = _listener.get()
    if listener is None:
        yield
        return
    start = perf_counter()
    try:
        yield
    finally:
        listener(name, perf_counter() - start)
