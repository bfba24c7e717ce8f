"""A folder of people: one folder a person, their photos in it; and who may be learned from."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from gallery.errors import PhotoUnreadable, TrainingDataTooSmall
from gallery.photo import photos_in


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


def people_in(root: Path, part: str | None = None) -> PeopleFolder:
    """The people of a folder.

    part : "train" or "test": take only those people that a split file puts there, when there is
        one in the folder or beside it, so that no one is learned from and tested on. None: all.
    Raises PhotoUnreadable when it is no folder, TrainingDataTooSmall when it holds no people.
    """
    if not root.is_dir():
        raise PhotoUnreadable(f"{root} is not a folder; name one that has a folder for each person")
    split = None if part is None else split_file(root)
    wanted = None if split is None else _people_of(split, part)
    people = {
        folder.name: photos_in(folder)
        for folder in sorted(root.iterdir())
        if folder.is_dir()
        and not folder.name.startswith(".")
        and (wanted is None or folder.name in wanted)
    }
    people = {name: photos for name, photos in people.items() if photos}
    if not people:
        raise TrainingDataTooSmall(
            f"{root} has no people; put each person's photos in a folder of their name"
        )
    return PeopleFolder(root, people, part if wanted is not None else None)


def split_file(root: Path) -> Path | None:
    """The folder's split.csv (columns person and split): in it, beside it, or in NAME_protocols."""
    root = root.resolve()
    places = (root, root.parent, root.parent / f"{root.name}_protocols")
    return next((p / "split.csv" for p in places if (p / "split.csv").is_file()), None)


def _people_of(split: Path, part: str | None) -> set[str]:
    with open(split, newline="", encoding="utf-8") as lines:
        rows = csv.DictReader(lines)
        if not {"person", "split"} <= set(rows.fieldnames or ()):
            raise TrainingDataTooSmall(f"{split} has no columns 'person' and 'split'")
        return {row["person"] for row in rows if row["split"] == part}
