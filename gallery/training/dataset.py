"""A labelled data set: a folder with one folder of photos per person, and its split file."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gallery.errors import NoPeople, PhotoUnreadable
from gallery.vision.folder import LeftOut, Why, is_clutter, photos_in


@dataclass(frozen=True)
class PeopleFolder:
    """People by name, sorted, each with at least one photo.

    part : the part of the split file that these people are; None without a split file.
    """

    root: Path
    people: dict[str, list[Path]]
    part: str | None

    @property
    def photos(self) -> int:
        return sum(len(photos) for photos in self.people.values())

    def sample(self, limit: int, seed: int) -> PeopleFolder:
        """At most `limit` of the people, drawn at random."""
        names = np.random.default_rng(seed).permutation(sorted(self.people))[:limit].tolist()
        return PeopleFolder(self.root, {n: self.people[n] for n in sorted(names)}, self.part)


def people_in(root: Path, part: str | None = None) -> PeopleFolder:
    """List the people of a folder.

    part : "train" or "test": only the people of this part, if there is a split file, so that
        nobody is both trained and tested on. None: everyone.
    Raises PhotoUnreadable if root is not a folder, NoPeople if there are none.
    """
    if not root.is_dir():
        raise PhotoUnreadable(f"{root} is not a folder; give one with a folder for each person")
    split = None if part is None else split_file(root)
    names = None if split is None else _people_of(split, part)
    people = {
        # Photos in subfolders do not count: a folder of folders is not one person.
        folder.name: [photo for photo in photos_in(folder) if photo.parent == folder]
        for folder in sorted(root.iterdir())
        if folder.is_dir()
        and not is_clutter(folder.name)
        and (names is None or folder.name in names)
    }
    people = {name: photos for name, photos in people.items() if photos}
    if not people:
        raise NoPeople(
            f"{root} has no people in it; give a folder with one folder per person, named after"
            " the person and with their photos directly inside"
        )
    return PeopleFolder(root, people, part if names is not None else None)


def strangers_in(root: Path) -> PeopleFolder:
    """Like people_in, but each loose photo in the folder is also a person of its own.

    Raises PhotoUnreadable if root is not a folder, NoPeople if there are no photos.
    """
    loose = {photo.name: [photo] for photo in photos_in(root) if photo.parent == root}
    try:
        folders = people_in(root).people
    except NoPeople:
        folders = {}
    if not loose and not folders:
        raise NoPeople(f"{root} has no photos in it or in its folders")
    return PeopleFolder(root, dict(sorted((folders | loose).items())), None)


def left_out_of(root: Path, *, with_loose: bool = False) -> list[LeftOut]:
    """List the files that people_in does not read; with_loose, those that strangers_in does not."""
    left_out: list[LeftOut] = []
    for photo in photos_in(root, left_out):
        depth = len(photo.relative_to(root).parts)
        if depth > 2:
            left_out.append(LeftOut(photo, Why.DEEPER))
        elif depth == 1 and not with_loose:
            left_out.append(LeftOut(photo, Why.LOOSE))
    return left_out


def split_file(root: Path) -> Path | None:
    """The split.csv (columns person and split) in the folder, beside it, or in NAME_protocols."""
    root = root.resolve()
    folders = (root, root.parent, root.parent / f"{root.name}_protocols")
    return next((f / "split.csv" for f in folders if (f / "split.csv").is_file()), None)


def _people_of(split: Path, part: str | None) -> set[str]:
    try:
        rows = list(csv.DictReader(split.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise NoPeople(f"{split} cannot be read as CSV in UTF-8: {error}") from error
    if not rows or not {"person", "split"} <= set(rows[0]):
        raise NoPeople(f"{split} has no columns 'person' and 'split'")
    return {row["person"] for row in rows if row["split"] == part}
