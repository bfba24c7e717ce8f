"""Functions for worker processes, and what some items do to the process that gets them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from gallery.errors import EncoderChanged, WeightsMissing
from gallery.timing import stage
from gallery.vision.photo_source import Upload

HANGS, EXITS, CRASHES, EATS, RAISES, UNPICKLABLE = -1, -2, -3, -4, -5, -6


class Unportable(Exception):
    """Cannot be unpickled: it needs two arguments, and keeps their sum."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first + second)


def squared(_pipeline: object, item: int) -> int:
    """The square of an item, unless it is hostile."""
    if item == HANGS:
        time.sleep(3_600)
    if item == EXITS:
        os._exit(3)
    if item == CRASHES:
        os.kill(os.getpid(), signal.SIGSEGV)
    if item == EATS:
        bytearray(3 * 2**30)
    if item == RAISES:
        raise ValueError("the function's own")
    if item == UNPICKLABLE:
        raise Unportable("o", "ne")
    return item * item


def changed(_pipeline: object, _item: int) -> None:
    raise EncoderChanged("changed meanwhile")


def slow_first(_pipeline: object, item: int) -> int:
    """The item; 0 takes a second."""
    time.sleep(1.0 if item == 0 else 0.0)
    return item


def large(_pipeline: object, item: int) -> bytes:
    """More than a pipe holds."""
    return bytes([item]) * 2**20


def mark_and_sleep(folder: Path, seconds: float, _pipeline: object, _item: int) -> None:
    """Leave the process's id in the folder; take the seconds."""
    (folder / str(os.getpid())).touch()
    time.sleep(seconds)


def no_pipeline() -> None:
    """For functions that need none."""


class BarePipeline:
    """Has what starting and applying need."""

    class encoder:
        weights_sha256 = "sha"

    def content(self, photo: float) -> bytes:
        return str(photo).encode()

    def load_second_detector(self) -> None:
        """None."""


def of_number(
    function: Callable[[object, float], object], pipeline: object, photo: Upload
) -> object:
    """The function's result for the number that is the photo's content."""
    return function(pipeline, float(photo.content))


def process_id(_pipeline: object, _item: int) -> int:
    return os.getpid()


def slow(_pipeline: object, item: float) -> float:
    """The item, after as many seconds."""
    time.sleep(item)
    return item


def timed(_pipeline: object, item: float) -> float:
    """The item, after a stage of as many seconds."""
    with stage("decode"):
        time.sleep(item)
    return item


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def no_weights() -> None:
    raise WeightsMissing("weights are not installed: install them")


def killed_unless_first(folder: Path) -> None:
    """The process that makes the file starts; all others are killed."""
    try:
        (folder / "first").touch(exist_ok=False)
    except FileExistsError:
        os.kill(os.getpid(), signal.SIGKILL)


def one_start(folder: Path) -> Callable[[], None]:
    return partial(killed_unless_first, folder)
