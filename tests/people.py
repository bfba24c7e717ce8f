"""Drawn people: encodings of nobody, for tests that need many."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gallery.training.encode import EncodedPeople
from gallery.types import DIMENSION, Encodings, Float32

NEAR_IDENTICAL = 0.986
"""As measured for dlib's network."""


def rows_of(people: int, photos: int, seed: int, spread: float = 0.02) -> Float32:
    """Unit rows; a person's photos are adjacent."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(people, DIMENSION)) / np.sqrt(DIMENSION) + 0.02
    rows = np.repeat(centres, photos, axis=0)
    rows += spread * rng.normal(size=rows.shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def encodings(rows: Float32) -> Encodings:
    count = len(rows)
    return Encodings(rows, np.full(count, 1.4, np.float32), np.full(count, 0.998, np.float32))


def strangers(count: int, seed: int = 9) -> EncodedPeople:
    faces = encodings(rows_of(count, 1, seed))
    names = tuple(f"stranger {i}" for i in range(count))
    return EncodedPeople(faces, faces, np.arange(count), names, names, names, (), NEAR_IDENTICAL)


def people_on_disk(root: Path, count: int, photos: int, seed: int) -> EncodedPeople:
    """Drawn people "person 00", ... with empty files ROOT/NAME/N.jpg as photos."""
    faces = encodings(rows_of(count, photos, seed))
    names = tuple(f"person {number:02}" for number in range(count))
    files = [root / name / f"{photo}.jpg" for name in names for photo in range(photos)]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    paths = tuple(map(str, files))
    owners = np.repeat(np.arange(count), photos)
    return EncodedPeople(faces, faces, owners, names, paths, paths, (), None)
