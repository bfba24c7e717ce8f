"""Progress callbacks: how far a long operation is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""progress(done, total): called as an operation advances, in photos, faces or bytes."""

StepProgress = Callable[[str, int, int], None]
"""progress(step, done, total): called as each step of an operation advances."""


def no_progress(_done: int, _total: int) -> None:
    """Report nothing."""


def no_step_progress(_step: str, _done: int, _total: int) -> None:
    """Report nothing."""
