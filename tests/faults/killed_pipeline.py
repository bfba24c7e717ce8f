"""Pipelines whose process is killed, as by the kernel when memory runs out, or hangs."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from gallery import Gallery
from gallery.config import Settings
from gallery.encoders.registry import Spec
from gallery.factory import build_pipeline
from gallery.types import Photo
from gallery.vision.photo import PhotoReader
from gallery.vision.pipeline import FacePipeline, PhotoSource

DEADLY, ENDLESS = "deadly.jpg", "endless.jpg"


class KilledPipeline:
    """Works as another pipeline until it opens the photo named DEADLY, which kills the process,
    or ENDLESS, which takes for ever.
    """

    def __init__(self, pipeline: FacePipeline) -> None:
        self._pipeline = pipeline

    def __getattr__(self, name: str) -> object:
        return getattr(self._pipeline, name)

    def open(self, source: PhotoSource) -> Photo:
        if isinstance(source, Path) and source.name == DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)
        if isinstance(source, Path) and source.name == ENDLESS:
            time.sleep(3_600)
        return self._pipeline.open(source)


def killed_at_start() -> FacePipeline:
    """A factory whose process cannot start."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def killed_by_photo(home: Path, cache: Path) -> FacePipeline:
    """A factory, called in the worker process."""
    pipeline: FacePipeline = KilledPipeline(Gallery.open(home, cache=cache, threads=1).pipeline)  # type: ignore[assignment]
    return pipeline


class _KilledReader:
    """Works as another reader until it decodes a file of these bytes, which kills the process."""

    def __init__(self, reader: PhotoReader) -> None:
        self._reader = reader

    def decode(self, content: bytes, source: str) -> Photo:
        if content == DEADLY.encode():
            os.kill(os.getpid(), signal.SIGKILL)
        return self._reader.decode(content, source)

    def read(self, path: Path) -> Photo:
        return self._reader.read(path)


def killed_by_picture(settings: Settings, spec: Spec) -> FacePipeline:
    """A factory, called in the worker process."""
    pipeline = build_pipeline(settings, spec)
    pipeline.reader = _KilledReader(pipeline.reader)  # type: ignore[assignment]
    return pipeline
