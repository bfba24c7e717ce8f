"""An eye whose process is killed by one photo, as the kernel does when memory runs out."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from gallery import Gallery
from gallery.types import Photo
from gallery.vision.pipeline import FacePipeline, PhotoSource

DEADLY = "deadly.jpg"


class DeadlyEye:
    """Sees as another, until it opens the photo of that name."""

    def __init__(self, eye: FacePipeline) -> None:
        self._eye = eye

    def __getattr__(self, name: str) -> object:
        return getattr(self._eye, name)

    def open(self, source: PhotoSource) -> Photo:
        if isinstance(source, Path) and source.name == DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)
        return self._eye.open(source)


def no_eye() -> FacePipeline:
    """A process that cannot start."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def deadly_eye(home: Path, cache: Path) -> FacePipeline:
    """Made in the process that is to see with it."""
    eye: FacePipeline = DeadlyEye(Gallery.open(home, cache=cache, threads=1).pipeline)  # type: ignore[assignment]
    return eye
