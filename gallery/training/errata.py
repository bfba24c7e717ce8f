"""Errata: known mistakes in the labels of a folder of people, and people corrected by them.

A CSV with the columns kind, photo_or_name_a and photo_or_name_b; a photo is written NAME/FILE:

- two_names: the two names are one person's. Their photos are joined.
- wrong_name: photo a shows the person named second, or somebody else if that is empty. Photo a is
  left out.
- same_picture: two photos are one picture, under two names. Both are left out.
- doubtful: it is not known whose the two photos are. Both are left out.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from gallery.errors import ProtocolUnusable
from gallery.training.encode import EncodedPeople
from gallery.types import Bool

COLUMNS = ("kind", "photo_or_name_a", "photo_or_name_b")
KINDS = ("two_names", "wrong_name", "same_picture", "doubtful")


@dataclass(frozen=True)
class Errata:
    """The rows of one or more files, for the folder of people `root`.

    files : where they come from.
    left_out : photos, such as "Name/Name_0001.jpg".
    first_names : of each name that is one of a person's several, the one first in the files.
    """

    root: Path
    files: tuple[Path, ...]
    left_out: frozenset[str]
    first_names: dict[str, str]

    def applied(self, people: EncodedPeople) -> EncodedPeople:
        """The people with the photos left out and the names joined.

        A person whose names are not all among the people is left out: another name is in the other
        part of a split.csv, so that one person would be both trained and tested on.
        """
        kept = self.joined(people).take(np.flatnonzero(self._is_kept(people)))
        return replace(kept, skipped=people.skipped)

    def joined(self, people: EncodedPeople) -> EncodedPeople:
        """The people with the names joined, and all of the photos. Each person has the number of
        the first of their names.
        """
        numbers = {name: number for number, name in enumerate(people.names)}
        first = [
            numbers.get(self.first_names.get(name, name), numbers[name]) for name in people.names
        ]
        return replace(people, people=np.array(first, dtype=np.int64)[people.people])

    def _is_kept(self, people: EncodedPeople) -> Bool:
        names = set(people.names)
        parted = {
            first for name, first in self.first_names.items() if not names.issuperset((name, first))
        }
        first = [self.first_names.get(name, name) for name in people.names]
        photos = (Path(photo).relative_to(self.root).as_posix() for photo in people.photos)
        return np.array(
            [
                photo not in self.left_out and first[person] not in parted
                for photo, person in zip(photos, people.people.tolist(), strict=True)
            ],
            dtype=np.bool_,
        )

    def as_json(self) -> dict[str, Any]:
        """What a report says of them: counts of the rows, not of what was measured."""
        return {
            "files": [file.name for file in self.files],
            "photos_left_out": len(self.left_out),
            "names_joined": len(self.first_names),
        }


def read_errata(files: Sequence[Path], root: Path) -> Errata | None:
    """Read and join the files; None if there are none.

    root : the folder of people that they correct.
    Raises ProtocolUnusable with the line of a bad row: a column is missing, the kind is unknown,
    or the folder has no such photo or name (in any part of a split.csv).
    """
    if not files:
        return None
    left_out: set[str] = set()
    first_names: dict[str, str] = {}
    for file in files:
        for where, (kind, a, b) in read_rows(file, COLUMNS):
            if kind == "two_names":
                _join(first_names, *(checked_person(name, root, where) for name in (a, b)))
            elif kind == "wrong_name":
                left_out.add(_photo(a, root, where))
                if b:
                    checked_person(b, root, where)
            elif kind in KINDS:
                left_out |= {_photo(a, root, where), _photo(b, root, where)}
            else:
                raise ProtocolUnusable(
                    f"{where}: the kind {kind!r} is not one of {', '.join(KINDS)}; correct it, or"
                    " remove the line"
                )
    return Errata(root, tuple(files), frozenset(left_out), first_names)


def corrected(people: EncodedPeople, errata: Errata | None) -> EncodedPeople:
    """The people with the errata applied, or as they are without errata."""
    return people if errata is None else errata.applied(people)


def read_rows(file: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    """The rows of a CSV file in UTF-8: "FILE, line N", and the values of these columns.

    Raises ProtocolUnusable if it cannot be read, or a column or a value is missing.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.DictReader(lines, strict=True)
            if missing := [name for name in columns if name not in (rows.fieldnames or ())]:
                raise ProtocolUnusable(
                    f"{file}, line 1: no column {', '.join(missing)}; the first line must name the"
                    f" columns {','.join(columns)}"
                )
            for row in rows:
                where = f"{file}, line {rows.line_num}"
                values = [row[name] for name in columns]
                if None in values:
                    raise ProtocolUnusable(
                        f"{where}: fewer values than columns; it needs {','.join(columns)}"
                    )
                yield where, [value.strip() for value in values]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ProtocolUnusable(f"{file} cannot be read as CSV in UTF-8: {error}") from error


def checked_person(name: str, root: Path, where: str) -> str:
    """The person's name as that of their folder. Raises ProtocolUnusable if there is none."""
    parts = PurePosixPath(name).parts
    if len(parts) != 1 or parts[0] in ("/", "..") or not (root / name).is_dir():
        raise ProtocolUnusable(
            f"{where}: {root} has no person {name!r}; write the name as the person's folder, or"
            " remove the line"
        )
    return parts[0]


def _photo(photo: str, root: Path, where: str) -> str:
    parts = PurePosixPath(photo).parts
    if len(parts) != 2 or parts[0] == "/" or ".." in parts or not (root / photo).is_file():
        raise ProtocolUnusable(
            f"{where}: {root} has no photo {photo!r}; write it as NAME/FILE, or remove the line"
        )
    return "/".join(parts)


def _join(first_names: dict[str, str], a: str, b: str) -> None:
    """Let both names, and those already joined with them, have the same first name."""
    first, other = (first_names.get(name, name) for name in (a, b))
    for name in [other, *(n for n, f in first_names.items() if f == other)]:
        if name != first:
            first_names[name] = first
