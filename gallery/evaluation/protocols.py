"""Files of LFW's evaluation protocols: BLUFR's trials and View 2's pairs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from gallery.errors import ProtocolUnusable
from gallery.training.encode import EncodedPeople
from gallery.types import Int64


@dataclass(frozen=True)
class BlufrTrial:
    """Places in the protocol's list of photos, int64 each."""

    training: Int64
    gallery: Int64
    probes: Int64
    testing: Int64


@dataclass(frozen=True)
class Blufr:
    """photos : "Name/Name_0001.jpg".  people : int64 (n,), one number a person."""

    photos: tuple[str, ...]
    people: Int64
    trials: tuple[BlufrTrial, ...]


@dataclass(frozen=True)
class Pairs2:
    """View 2. first, second : photos.  same : int64 (p,).  folds : int64 (p,), from 0."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    same: Int64
    folds: Int64


def read_blufr(file: Path) -> Blufr:
    """BLUFR's configuration (a MATLAB file). Raises ProtocolUnusable."""
    try:
        kept = loadmat(file)
        photos = tuple(_with_folder(str(row[0][0])) for row in kept["imageList"])
        columns = [kept[k] for k in ("trainIndex", "galIndex", "probIndex", "testIndex")]
        trials = tuple(
            BlufrTrial(*(column[i, 0].ravel().astype(np.int64) - 1 for column in columns))
            for i in range(len(columns[0]))
        )
        people = kept["labels"].ravel().astype(np.int64)
    except (OSError, ValueError, KeyError, IndexError, TypeError, NotImplementedError) as error:
        raise ProtocolUnusable(f"{file} is no BLUFR configuration: {error}") from error
    return Blufr(photos, people, trials)


def read_pairs(file: Path) -> Pairs2:
    """View 2's pairs.txt. Raises ProtocolUnusable."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        folds, half = (int(word) for word in lines[0].split())
        first, second, same = [], [], []
        for line in lines[1:]:
            words = line.split()
            a, i = words[0], int(words[1])
            b, j = (a, int(words[2])) if len(words) == 3 else (words[2], int(words[3]))
            first.append(f"{a}/{a}_{i:04d}.jpg")
            second.append(f"{b}/{b}_{j:04d}.jpg")
            same.append(int(len(words) == 3))
        if len(same) != folds * 2 * half:
            raise ValueError(f"{len(same)} pairs, expected {folds} folds of {2 * half}")
    except (OSError, ValueError, IndexError) as error:
        raise ProtocolUnusable(f"{file} is no list of View 2 pairs: {error}") from error
    numbers = np.repeat(np.arange(folds, dtype=np.int64), 2 * half)
    return Pairs2(tuple(first), tuple(second), np.array(same, dtype=np.int64), numbers)


def places(people: EncodedPeople, root: Path, photos: tuple[str, ...]) -> Int64:
    """Each photo's row, int64; -1 for one in which no face was found.

    Raises ProtocolUnusable when the folder has none of the photos.
    """
    rows = {Path(photo).relative_to(root).as_posix(): i for i, photo in enumerate(people.photos)}
    found = np.array([rows.get(photo, -1) for photo in photos], dtype=np.int64)
    if (found < 0).all():
        raise ProtocolUnusable(f"{root} has none of the protocol's photos, such as {photos[0]}")
    return found


def _with_folder(photo: str) -> str:
    return photo if "/" in photo else f"{photo.rsplit('_', 1)[0]}/{photo}"
