"""Groups of people, given by the user: reading the file, and measuring each group alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gallery.errors import ProtocolUnusable
from gallery.training.encode import EncodedPeople
from gallery.training.errata import checked_person, read_rows
from gallery.training.identification import TopCandidates
from gallery.training.statistics import interval
from gallery.types import Bool

COLUMNS = ("person", "group")
NO_GROUP = "(none)"
_FEWEST = 5
"""A group of fewer strangers gets no sentence: a bootstrap over so few people says little."""


@dataclass(frozen=True)
class Groups:
    """The group of each person in `file`."""

    file: Path
    by_name: dict[str, str]

    def of(self, people: EncodedPeople) -> tuple[str, ...]:
        """The group of each of `people.names`; NO_GROUP if it is not in the file."""
        return tuple(self.by_name.get(name, NO_GROUP) for name in people.names)


def read_groups(file: Path | None, root: Path) -> Groups | None:
    """Read a CSV with the columns person and group; None if there is no file.

    root : the folder of people; a person is written as the name of their folder.
    Raises ProtocolUnusable with the line of a bad row: a column is missing, the folder has no such
    person, the group is empty, or the person has a group already.
    """
    if file is None:
        return None
    by_name: dict[str, str] = {}
    for where, (person, group) in read_rows(file, COLUMNS):
        person = checked_person(person, root, where)
        if not group:
            raise ProtocolUnusable(
                f"{where}: no group for {person!r}; write one, or remove the line: people who are"
                f" not listed are the group {NO_GROUP!r}"
            )
        if person in by_name:
            raise ProtocolUnusable(
                f"{where}: {person!r} is listed twice; a person has one group: remove one line"
            )
        by_name[person] = group
    return Groups(file, by_name)


def group_rows(
    groups: tuple[str, ...],
    galleries: Sequence[tuple[TopCandidates, Bool]],
    size: int,
    rate: float,
    seed: int,
) -> list[dict[str, Any]]:
    """A row of figures for each group, by name, in the galleries of one size.

    groups : of each person number.
    galleries : the queries of each gallery, and bool (q,), whether the candidate matches. A query
        belongs to the group of the person it shows.
    size, rate : of the galleries; the promised FPIR.
    """
    people = np.concatenate([top.people for top, _ in galleries])
    known = np.concatenate([top.known for top, _ in galleries])
    right = np.concatenate([top.right for top, _ in galleries])
    matches = np.concatenate([matched for _, matched in galleries])
    group = np.array(groups)[people]
    rows = []
    for name in sorted(set(group.tolist()), key=lambda name: (name == NO_GROUP, name)):
        members, strangers = known & (group == name), ~known & (group == name)
        row = {
            "gallery": size,
            "group": name,
            "promised": rate,
            "people": len(np.unique(people[group == name])),
            "known_people": len(np.unique(people[members])),
            "known": int(members.sum()),
            "stranger_people": len(np.unique(people[strangers])),
            "strangers": int(strangers.sum()),
        }
        for figure, of, hits in (
            ("known_found", members, matches & right),
            ("known_misnamed", members, matches & ~right),
            ("strangers_named", strangers, matches),
        ):
            some = bool(of.any())
            row[figure] = float(hits[of].mean()) if some else None
            row[f"{figure}_interval"] = (
                list(interval(people[of], hits[of], seed=seed)) if some else [0.0, 1.0]
            )
        row["above_promised"] = (
            row["stranger_people"] >= _FEWEST and row["strangers_named_interval"][0] > rate
        )
        rows.append(row)
    return rows


def sentences(rows: Sequence[dict[str, Any]]) -> list[str]:
    """One for each row whose strangers are surely named more often than stated."""
    return [
        f"strangers of {row['group']} are named {100 * row['strangers_named']:.1f} % of the time,"
        f" {row['strangers_named'] / row['promised']:.1f} times the stated rate, in a gallery of"
        f" {row['gallery']:,}"
        for row in rows
        if row["above_promised"]
    ]
