"""One function applied to many photos, by several processes that each build a face pipeline."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import TypeVar

from threadpoolctl import threadpool_limits

from gallery.config import Settings
from gallery.errors import GalleryError
from gallery.vision.photo import NEEDS_MEMORY
from gallery.vision.pipeline import FacePipeline
from gallery.vision.process_pool import AHEAD, ProcessPool

_LEAST_PHOTOS = 24
"""With fewer photos the start of the workers takes longer than they save."""
_MAX_WORKERS = 8

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Workers:
    """count : of processes.  build_pipeline : called once in each of them; must be picklable.

    photo_seconds : for one photo, after which its process is killed.  setting : to raise it.
    memory : largest private memory of a process, in bytes, where the platform can limit it.
    """

    count: int
    build_pipeline: Callable[[], FacePipeline]
    photo_seconds: float
    memory: int
    setting: str = "GALLERY_PHOTO_SECONDS"

    def start(self) -> FacePipeline:
        """Build the pipeline in a worker process, and limit the process's memory."""
        threadpool_limits(1)  # two processes of one thread are faster than one of two
        pipeline = self.build_pipeline()
        _limit_memory(self.memory)
        return pipeline

    def lost(self, exit_code: int | None) -> LostPhoto:
        """In place of the result of a photo whose process ended so, or took too long (None)."""
        if exit_code is None:
            return LostPhoto(
                f"took longer than {self.photo_seconds:g} seconds to read; shrink it, or raise"
                f" {self.setting}"
            )
        return LostPhoto(
            f"was not read: its process ended ({_ending(exit_code)}), perhaps for lack of memory"
            f" (GALLERY_WORKER_MEMORY is {self.memory}); run it again, or export the photo as JPEG"
            " or PNG"
        )

    @classmethod
    def of(cls, settings: Settings, build_pipeline: Callable[[], FacePipeline]) -> Workers:
        """One worker per core, up to a number, with the limits of the settings."""
        count = min(_MAX_WORKERS, os.cpu_count() or 1)
        return cls(count, build_pipeline, settings.photo_seconds, settings.worker_memory)


@dataclass(frozen=True)
class LostPhoto:
    """In place of the result of a photo that hangs or ends its process, or runs out of memory.

    reason : why, with the limit and the remedy; words to follow the photo's path.

    So that one photo never stops the others, it also stands for a mistake in the program.
    """

    reason: str


def map_photos(
    function: Callable[[FacePipeline, _Item], _Result],
    photos: Iterable[_Item],
    pipeline: FacePipeline,
    workers: Workers | None,
    *,
    ahead: int = AHEAD,
) -> Iterator[tuple[_Item, _Result | LostPhoto]]:
    """Apply a function to each photo: in worker processes where they pay off, else in this one.

    Yields (photo, result) in the order of the photos, of which a bounded number is taken ahead. A
    photo that is lost does not affect the others. No process is left when the iteration ends.

    function : must be picklable, as must be the photos and the results.
    pipeline : used in this process, for few photos or when no worker starts.
    ahead : as in ProcessPool.
    Raises the GalleryErrors that the function raises, and what `build_pipeline` raises.
    """
    remaining = iter(photos)
    here = partial(_attempt_any, function, pipeline)
    if workers is not None and workers.count > 1:
        first = list(islice(remaining, _LEAST_PHOTOS))
        remaining = chain(first, remaining)
        if len(first) == _LEAST_PHOTOS:
            pool = ProcessPool[_Item, _Result | LostPhoto](
                partial(_start_worker, workers, function),
                workers.lost,
                count=workers.count,
                seconds=workers.photo_seconds,
                ahead=ahead,
            )
            yield from pool.map(remaining, here)
            return
    for photo in remaining:
        yield photo, here(photo)


def _ending(exit_code: int) -> str:
    if exit_code >= 0:
        return f"exit status {exit_code}"
    try:
        return signal.Signals(-exit_code).name
    except ValueError:  # a real-time signal
        return f"signal {-exit_code}"


def attempt(
    function: Callable[[FacePipeline, _Item], _Result], pipeline: FacePipeline, photo: _Item
) -> _Result | LostPhoto:
    """The function's result, unless memory runs out."""
    try:
        return function(pipeline, photo)
    except (MemoryError, RuntimeError) as error:
        # torch and onnxruntime raise a RuntimeError, of no class of its own, that says so.
        if isinstance(error, MemoryError) or "allocat" in str(error):
            return LostPhoto(NEEDS_MEMORY)
        raise


def _attempt_any(
    function: Callable[[FacePipeline, _Item], _Result], pipeline: FacePipeline, photo: _Item
) -> _Result | LostPhoto:
    """The function's result, whatever goes wrong with the photo."""
    try:
        return attempt(function, pipeline, photo)
    except GalleryError:
        raise
    except Exception as error:
        return LostPhoto(
            f"was not read ({type(error).__name__}: {error}); this is a bug, please report it"
        )


# In a worker process


def _start_worker(
    workers: Workers, function: Callable[[FacePipeline, _Item], _Result]
) -> Callable[[_Item], _Result | LostPhoto]:
    return partial(_attempt_any, function, workers.start())


def _limit_memory(memory: int) -> None:
    """Let allocations beyond this many bytes fail. Without effect on Windows and macOS."""
    try:
        import resource
    except ImportError:
        return
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    if most != resource.RLIM_INFINITY:
        memory = min(memory, most)
    resource.setrlimit(resource.RLIMIT_DATA, (memory, most))
