"""A folder of people: one folder a person, their photos in it; and who may be learned from."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gallery.errors import NoPeople, PhotoUnreadable
from gallery.vision.photo import photos_in


@dataclass(frozen=True)
class PeopleFolder:
    """People by name, each with at least one photo, sorted.

    part : which part of a split file's people these are; None when there is no split file.
    """

    root: Path
    people: dict[str, list[Path]]
    part: str | None

    @property
    def photos(self) -> int:
        return sum(len(photos) for photos in self.people.values())

    def some(self, most: int, seed: int) -> PeopleFolder:
        """At most so many of them, drawn at random."""
        names = np.random.default_rng(seed).permutation(sorted(self.people))[:most].tolist()
        return PeopleFolder(self.root, {n: self.people[n] for n in sorted(names)}, self.part)


def people_in(root: Path, part: str | None = None) -> PeopleFolder:
    """The people of a folder.

    part : "train" or "test": take only those people that a split file puts there, when there is
        one in the folder or beside it, so that no one is learned from and tested on. None: all.
    Raises PhotoUnreadable when it is no folder, NoPeople when it holds none.
    """
    if not root.is_dir():
        raise PhotoUnreadable(f"{root} is not a folder; name one that has a folder for each person")
    split = None if part is None else split_file(root)
    wanted = None if split is None else _people_of(split, part)
    people = {
        # Only photos right inside: a folder of folders is not one person.
        folder.name: [photo for photo in photos_in(folder) if photo.parent == folder]
        for folder in sorted(root.iterdir())
        if folder.is_dir()
        and not folder.name.startswith(".")
        and (wanted is None or folder.name in wanted)
    }
    people = {name: photos for name, photos in people.items() if photos}
    if not people:
        raise NoPeople(
            f"{root} has no people; name the folder above theirs, with each person's photos right"
            " inside a folder of their name"
        )
    return PeopleFolder(root, people, part if wanted is not None else None)


def strangers_in(root: Path) -> PeopleFolder:
    """Like people_in, but every photo right inside the folder is somebody as well.

    Raises PhotoUnreadable when it is no folder, NoPeople when it holds nobody.
    """
    alone = {photo.name: [photo] for photo in photos_in(root) if photo.parent == root}
    try:
        folders = people_in(root).people
    except NoPeople:
        folders = {}
    if not alone and not folders:
        raise NoPeople(f"{root} has no photos in it, nor in the folders right inside")
    return PeopleFolder(root, dict(sorted((folders | alone).items())), None)


def split_file(root: Path) -> Path | None:
    """The folder's split.csv (columns person and split): in it, beside it, or in NAME_protocols."""
    root = root.resolve()
    places = (root, root.parent, root.parent / f"{root.name}_protocols")
    return next((p / "split.csv" for p in places if (p / "split.csv").is_file()), None)


def _people_of(split: Path, part: str | None) -> set[str]:
    try:
        rows = list(csv.DictReader(split.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise NoPeople(f"{split} cannot be read as CSV in UTF-8: {error}") from error
    if not rows or not {"person", "split"} <= set(rows[0]):
        raise NoPeople(f"{split} has no columns 'person' and 'split'")
    return {row["person"] for row in rows if row["split"] == part}
