"""A folder's photos are read once, by several processes, and what was seen is kept at once.

Killed at any moment, it goes on from there: what was kept is not read again while the file is as it
was. A photo that cannot be used, or that kills its reader, is one reason, and the rest go on.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np

from gallery.dedupe.image_similarity import hashes_of, look_of
from gallery.errors import PhotoError
from gallery.store import photo_cache
from gallery.store.database import Database
from gallery.store.photo_cache import SeenPhoto
from gallery.vision.pipeline import FacePipeline

_KEPT_AT_ONCE = 32
_A_TASK = 4
_WORTH_A_WORKER = 48
_KILLED = "its reader was killed on it, perhaps for want of memory"


@dataclass(frozen=True)
class Readers:
    """Who reads. make_eye : gives each process its own; it is sent to them, so it is picklable."""

    count: int
    make_eye: Callable[[], FacePipeline]


@dataclass(frozen=True)
class Listed:
    """A photo of the folder, and the mark of what it was when it was listed."""

    path: Path
    mark: str


def listed(
    paths: Sequence[Path], eye: FacePipeline, views: int
) -> tuple[list[Listed], list[tuple[str, str]]]:
    """The photos, and (photo, reason) of those that are only another name of one of them."""
    found: list[Listed] = []
    skipped: list[tuple[str, str]] = []
    places: set[tuple[int, int]] = set()
    links: list[Path] = []
    for path in paths:
        if path.is_symlink():
            links.append(path)
            continue
        found.append(Listed(path, mark_of(path, eye, views)))
        try:
            state = path.stat()
            places.add((state.st_dev, state.st_ino))
        except OSError:
            continue
    for path in links:
        try:
            state = path.stat()
        except OSError as error:
            skipped.append((str(path), f"{path} cannot be read: {error.strerror}"))
            continue
        if (state.st_dev, state.st_ino) in places:
            skipped.append((str(path), f"{path} is a link to another photo of the folder"))
        else:
            places.add((state.st_dev, state.st_ino))
            found.append(Listed(path, mark_of(path, eye, views)))
    return sorted(found, key=lambda one: one.path), skipped


def mark_of(path: Path, eye: FacePipeline, views: int) -> str:
    """Of where a photo lies, its size and time, and what it is seen with; hexadecimal."""
    try:
        state = path.stat()
        was = f"{state.st_size} {state.st_mtime_ns} {state.st_ino}"
    except OSError:
        was = "unreadable"
    # The encoder's own hash too: its projection is part of what is kept.
    seeing = f"{eye.sees} {eye.encoder.weights_sha256} {views}"
    key = f"2 {seeing} {os.path.abspath(path)} {was}"
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()


def read_all(
    photos: Sequence[Listed],
    database: Database,
    eye: FacePipeline,
    views: int,
    readers: Readers | None,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> None:
    """Read those that were not seen yet, and keep what was seen of them.

    progress : called with photos done and photos in all; what it raises ends the work.
    """
    with database.reading() as session:
        there = photo_cache.usable(session, [one.mark for one in photos])
    missing = [one for one in photos if one.mark not in there]
    done = len(photos) - len(missing)
    progress(done, len(photos))
    if readers is not None and readers.count > 1 and len(missing) >= _WORTH_A_WORKER:
        results = _by_workers(missing, eye, views, readers)
    else:
        results = (see(eye, one, views) for one in missing)
    fresh: list[SeenPhoto] = []
    try:
        for one in results:
            fresh.append(one)
            done += 1
            if len(fresh) >= _KEPT_AT_ONCE:
                _keep(database, fresh)
                fresh = []
            progress(done, len(photos))
    finally:
        if fresh:
            _keep(database, fresh)


def _keep(database: Database, photos: list[SeenPhoto]) -> None:
    with database.writing() as session:
        photo_cache.keep(session, photos)


def see(eye: FacePipeline, one: Listed, views: int) -> SeenPhoto:
    """What there is to see on one photo. Never raises for what is wrong with the photo."""
    try:
        photo = eye.open(one.path)
        faces = eye.faces(photo)
        encodings = eye.encode(photo, faces, views)
        look = look_of(photo)
    except PhotoError as error:
        return photo_cache.unusable(one.mark, str(error))
    except MemoryError:
        return photo_cache.unusable(one.mark, f"{one.path} needs more memory than there is")
    if mark_of(one.path, eye, views) != one.mark:
        return photo_cache.unusable(one.mark, f"{one.path} changed while it was read; run it again")
    points = [face.landmarks for face in faces]
    return SeenPhoto(
        mark=one.mark,
        sha256=photo.sha256,
        width=photo.width,
        height=photo.height,
        look=look,
        hashes=hashes_of(look),
        boxes=np.array([face.box.as_list() for face in faces], np.float32).reshape(-1, 4),
        landmarks=np.array(points, np.float32).reshape(-1, 5, 2),
        encodings=encodings,
    )


_own: list[tuple[FacePipeline, int]] = []
"""In a reader: what it sees with."""


def _start(make_eye: Callable[[], FacePipeline], views: int) -> None:
    import torch

    torch.set_num_threads(1)  # two processes of one thread beat one of two
    _own.append((make_eye(), views))


def _work(some: list[Listed]) -> list[SeenPhoto]:
    eye, views = _own[0]
    return [see(eye, one, views) for one in some]


def _ready() -> bool:
    return bool(_own)


def _can_start(views: int, readers: Readers) -> bool:
    """Whether a reader starts at all."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, _start, (readers.make_eye, views)) as pool:
        try:
            return pool.submit(_ready).result()
        except BrokenProcessPool:
            return False


def _by_workers(
    photos: Sequence[Listed], eye: FacePipeline, views: int, readers: Readers
) -> Iterator[SeenPhoto]:
    """eye : what to see with where no reader starts."""
    remaining = iter(photos)
    any_read = False
    while True:
        lost: list[Listed] = []
        for one in _until_broken(remaining, views, readers, readers.count, _A_TASK, lost):
            any_read = True
            yield one
        if not lost:
            return
        if not any_read and not _can_start(views, readers):
            yield from (see(eye, photo, views) for photo in chain(lost, remaining))
            return
        # One of these killed its reader: each by itself, so that it takes none with it.
        for suspect in lost:
            killed: list[Listed] = []
            yield from _until_broken(iter([suspect]), views, readers, 1, 1, killed)
            for gone in killed:
                yield photo_cache.unusable(gone.mark, f"{gone.path}: {_KILLED}")


def _until_broken(
    remaining: Iterator[Listed],
    views: int,
    readers: Readers,
    count: int,
    a_task: int,
    lost: list[Listed],
) -> Iterator[SeenPhoto]:
    """Read until there is no more, or until a reader dies: then `lost` takes what was under way.

    Few tasks wait at a time, so that memory does not grow with the folder.
    """
    pool = ProcessPoolExecutor(
        count, multiprocessing.get_context("spawn"), _start, (readers.make_eye, views)
    )
    waiting: dict[Future[list[SeenPhoto]], list[Listed]] = {}
    try:
        while True:
            while (
                not lost and len(waiting) < 3 * count and (some := list(islice(remaining, a_task)))
            ):
                try:
                    waiting[pool.submit(_work, some)] = some
                except BrokenProcessPool:
                    lost += some
            if not waiting:
                return
            for ended in wait(waiting, return_when=FIRST_COMPLETED).done:
                some = waiting.pop(ended)
                try:
                    found = ended.result()
                except BrokenProcessPool:
                    lost += some
                else:
                    yield from found
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
