"""Any folder of people, measured with the head in use: the promise, the curves, the mistakes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gallery.errors import TrainingDataTooSmall
from gallery.evaluation.baselines import Cosine, Euclidean, Headed
from gallery.evaluation.comparison import Scored, compare_deciders
from gallery.evaluation.fpir import SIZES, measure_promise
from gallery.matching.head import Head
from gallery.matching.operating_point import operating_point
from gallery.matching.scorer import near_margins
from gallery.matching.templates import fused
from gallery.training.encode import EncodedPeople
from gallery.types import Encodings, Float32

LEAST_PEOPLE, LEAST_WITH_TWO = 4, 2
MISTAKES = ("someone_else", "unlike", "alike")
"""The kinds of mistake, as FolderFigures names them."""
_MOST_SHOWN = 24


@dataclass(frozen=True)
class Mistake:
    """Two photos that do not fit their names.

    photo, other : paths.  name, other_name : whose folders they are in.  margin : the head's.
    """

    photo: str
    name: str
    other: str
    other_name: str
    margin: float


@dataclass(frozen=True)
class FolderFigures:
    """Everything the report shows.

    promise, comparison : see measure_promise and compare_deciders.
    someone_else : photos more like another person's than like their own person's.
    unlike : photos that do not look like the others of their person.
    alike : pairs of people whose photos match each other.
    Each the worst first, at most 24 of each; counts has how many there are.
    """

    promise: dict[str, Any]
    comparison: dict[str, Any]
    scored: list[Scored]
    someone_else: tuple[Mistake, ...]
    unlike: tuple[Mistake, ...]
    alike: tuple[Mistake, ...]
    counts: dict[str, int]


def measure_folder(
    head: Head,
    people: EncodedPeople,
    *,
    rate: float,
    seed: int,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> FolderFigures:
    """Raises TrainingDataTooSmall for too few people, or too few with two photos."""
    numbers, photos = np.unique(people.people, return_counts=True)
    able = int((photos >= 2).sum())
    if len(numbers) < LEAST_PEOPLE or able < LEAST_WITH_TWO:
        raise TrainingDataTooSmall(
            f"{len(numbers)} people with a face, {able} of them with two or more photos; at least"
            f" {LEAST_PEOPLE} and {LEAST_WITH_TWO} are needed: some are enrolled, the others are"
            " the strangers"
        )
    half = len(numbers) // 2
    sizes = tuple(size for size in SIZES if size < half)
    promise = measure_promise(head, people, seed=seed, sizes=(*sizes, half), progress=progress)
    deciders = (
        Euclidean(),
        Cosine(),
        Headed(head, "head", "our head"),
    )
    comparison, scored = compare_deciders(deciders, people, seed=seed, progress=progress)
    someone_else, unlike, alike = _mistakes(head, people, rate)
    return FolderFigures(
        promise,
        comparison,
        scored,
        tuple(someone_else[:_MOST_SHOWN]),
        tuple(unlike[:_MOST_SHOWN]),
        tuple(alike[:_MOST_SHOWN]),
        {"someone_else": len(someone_else), "unlike": len(unlike), "alike": len(alike)},
    )


def _mistakes(
    head: Head, people: EncodedPeople, rate: float
) -> tuple[list[Mistake], list[Mistake], list[Mistake]]:
    """As in FolderFigures: everyone enrolled, each photo taken out in turn."""
    templates = fused(people.people, people.enrolled)
    own = _own_margins(head, people)
    margins = near_margins(head, people.probes, templates.encodings)
    mine = np.searchsorted(templates.identity_ids, people.people)
    margins[np.arange(len(people)), mine] = -np.inf
    others = margins.max(axis=1)
    rival = templates.identity_ids[margins.argmax(axis=1)]
    calibration = head.marks.calibration
    match = operating_point(calibration, len(templates.identity_ids), rate=rate).bias
    different = operating_point(calibration, 1, rate=rate).bias

    def beside(row: int, person: int, margin: float) -> Mistake:
        """The photo and, of that person's others, the one that is most like it."""
        theirs = np.flatnonzero(people.people == person)
        theirs = theirs[theirs != row]
        near = people.enrolled.vectors[theirs] @ people.probes.vectors[row]
        other = int(theirs[near.argmax()])
        return Mistake(
            people.photos[row],
            people.names[people.people[row]],
            people.photos[other],
            people.names[person],
            margin,
        )

    several = np.isfinite(own)
    wrong = np.flatnonzero((others > match) & several & (others > own))
    unlike = np.flatnonzero(several & (own <= different) & ~np.isin(np.arange(len(own)), wrong))
    first: dict[tuple[int, int], int] = {}
    for row in np.flatnonzero((others > match) & ~(several & (others > own))):
        pair = sorted((int(people.people[row]), int(rival[row])))
        best = first.setdefault((pair[0], pair[1]), int(row))
        if others[row] > others[best]:
            first[pair[0], pair[1]] = int(row)
    alike = np.array(list(first.values()), dtype=np.int64)
    return (
        [beside(i, int(rival[i]), float(others[i])) for i in wrong[np.argsort(-others[wrong])]],
        [beside(i, int(people.people[i]), float(own[i])) for i in unlike[np.argsort(own[unlike])]],
        [beside(i, int(rival[i]), float(others[i])) for i in alike[np.argsort(-others[alike])]],
    )


def _own_margins(head: Head, people: EncodedPeople) -> Float32:
    """Each photo against its person's other photos together, float32 (n,); -inf of one photo."""
    rows, rest = [], []
    for person in np.unique(people.people):
        mine = np.flatnonzero(people.people == person)
        for row in mine if len(mine) > 1 else ():
            others = mine[mine != row]
            rows.append(row)
            rest.append(fused(people.people[others], people.enrolled.take(others)).encodings)
    own = np.full(len(people), -np.inf, dtype=np.float32)
    if rows:
        queries = people.probes.take(np.array(rows))
        own[rows] = head.margins(head.sides(queries), head.sides(Encodings.joined(rest)))
    return own
