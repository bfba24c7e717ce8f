"""The protocol files of LFW: BLUFR's trials and View 2's pairs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from gallery.errors import ProtocolUnusable
from gallery.training.encode import EncodedPeople
from gallery.training.errata import Errata
from gallery.types import Int64


@dataclass(frozen=True)
class BlufrTrial:
    """Indices into the protocol's photos, int64 each."""

    training: Int64
    gallery: Int64
    probes: Int64
    testing: Int64


@dataclass(frozen=True)
class Blufr:
    """photos : such as "Name/Name_0001.jpg".  people : int64 (n,), the number of each's person."""

    photos: tuple[str, ...]
    people: Int64
    trials: tuple[BlufrTrial, ...]


@dataclass(frozen=True)
class View2Pairs:
    """Pairs of photos.  same : int64 (p,), 0 or 1.  folds : int64 (p,), from 0."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    same: Int64
    folds: Int64


def read_blufr(file: Path) -> Blufr:
    """Read blufr_lfw_config.mat. Raises ProtocolUnusable."""
    try:
        config = loadmat(file)
        photos = tuple(_with_folder(str(row[0][0])) for row in config["imageList"])
        columns = [config[k] for k in ("trainIndex", "galIndex", "probIndex", "testIndex")]
        trials = tuple(
            BlufrTrial(*(column[i, 0].ravel().astype(np.int64) - 1 for column in columns))
            for i in range(len(columns[0]))
        )
        people = config["labels"].ravel().astype(np.int64)
    except (OSError, ValueError, KeyError, IndexError, TypeError, NotImplementedError) as error:
        raise ProtocolUnusable(f"{file} is not a BLUFR configuration: {error}") from error
    return Blufr(photos, people, trials)


def corrected_blufr(protocol: Blufr, errata: Errata) -> Blufr:
    """The protocol with the errata applied: photos are left out of every trial, and the labels of a
    person's names are joined.

    A person with one name among a trial's training people and another among its test people is
    left out of the training.
    """
    names = [photo.split("/")[0] for photo in protocol.photos]
    labels = dict(zip(names, protocol.people.tolist(), strict=True))
    people = np.array(
        [labels.get(errata.first_names.get(name, name), labels[name]) for name in names],
        dtype=np.int64,
    )
    left_out = np.array([photo in errata.left_out for photo in protocol.photos], dtype=np.bool_)

    def trial(lists: BlufrTrial) -> BlufrTrial:
        training, *tests = (
            part[~left_out[part]]
            for part in (lists.training, lists.gallery, lists.probes, lists.testing)
        )
        is_tested = np.isin(people[training], people[tests[-1]])
        return BlufrTrial(training[~is_tested], *tests)

    return Blufr(protocol.photos, people, tuple(trial(lists) for lists in protocol.trials))


def read_pairs(file: Path) -> View2Pairs:
    """Read View 2's pairs.txt. Raises ProtocolUnusable."""
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
        raise ProtocolUnusable(f"{file} is not a list of View 2 pairs: {error}") from error
    numbers = np.repeat(np.arange(folds, dtype=np.int64), 2 * half)
    return View2Pairs(tuple(first), tuple(second), np.array(same, dtype=np.int64), numbers)


def rows_of_photos(people: EncodedPeople, root: Path, photos: tuple[str, ...]) -> Int64:
    """The row in `people` of each photo, int64; -1 if no face was detected in it.

    Raises ProtocolUnusable if the folder has none of the photos.
    """
    by_photo = {Path(p).relative_to(root).as_posix(): i for i, p in enumerate(people.photos)}
    rows = np.array([by_photo.get(photo, -1) for photo in photos], dtype=np.int64)
    if (rows < 0).all():
        raise ProtocolUnusable(f"{root} has none of the protocol's photos, such as {photos[0]}")
    return rows


def _with_folder(photo: str) -> str:
    return photo if "/" in photo else f"{photo.rsplit('_', 1)[0]}/{photo}"
