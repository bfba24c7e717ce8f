"""Measure the head in use on a folder of people: the promised FPIR, comparison, and mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gallery.errors import TrainingDataTooSmall
from gallery.evaluation.baselines import Cosine, Euclidean, HeadDecider
from gallery.evaluation.comparison import DeciderScores, compare_deciders
from gallery.evaluation.fpir import SIZES, measure_promise
from gallery.evaluation.groups import Groups
from gallery.matching.gallery_margins import gallery_impostors, pair_margins, shortlist_margins
from gallery.matching.head import Head
from gallery.matching.impostors import Impostors
from gallery.matching.operating_point import operating_point
from gallery.matching.templates import fuse_templates
from gallery.progress import Progress, no_progress
from gallery.training.encode import EncodedPeople
from gallery.types import Encodings, Float32

MIN_PEOPLE, MIN_WITH_TWO = 4, 2
MISTAKES = ("someone_else", "unlike", "alike")
"""The kinds of mistake, as FolderFigures names them."""
_MAX_SHOWN = 24


@dataclass(frozen=True)
class Mistake:
    """Two photos that contradict their labels.

    photo, other : paths.  name, other_name : the people in whose folders they are.
    margin : the head's.
    """

    photo: str
    name: str
    other: str
    other_name: str
    margin: float


@dataclass(frozen=True)
class FolderFigures:
    """The content of the report.

    promise, comparison : see measure_promise and compare_deciders.
    someone_else : photos closer to another person than to their own.
    unlike : photos unlike the other photos of their person.
    alike : pairs of people whose photos match each other.
    counts : of each kind of mistake; the 24 worst of each are listed, the worst first.
    """

    promise: dict[str, Any]
    comparison: dict[str, Any]
    scored: list[DeciderScores]
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
    groups: Groups | None = None,
    progress: Progress = no_progress,
) -> FolderFigures:
    """rate : the promised FPIR.  groups : also measure each of these alone.
    Raises TrainingDataTooSmall if there are too few people, or too few with two photos."""
    numbers, photos = np.unique(people.people, return_counts=True)
    usable = int((photos >= 2).sum())
    if len(numbers) < MIN_PEOPLE or usable < MIN_WITH_TWO:
        raise TrainingDataTooSmall(
            f"{len(numbers)} people with a face, {usable} of them with two or more photos; at least"
            f" {MIN_PEOPLE} and {MIN_WITH_TWO} are needed, to enrol some and query the others as"
            " strangers"
        )
    half = len(numbers) // 2
    sizes = tuple(size for size in SIZES if size < half)
    promise = measure_promise(
        head,
        people,
        seed=seed,
        sizes=(*sizes, half),
        groups=groups,
        rate=rate,
        progress=progress,
    )
    deciders = (
        Euclidean(),
        Cosine(),
        HeadDecider(head, "head", "our head"),
    )
    comparison, scored = compare_deciders(deciders, people, seed=seed, progress=progress)
    someone_else, unlike, alike = _mistakes(head, people, rate)
    return FolderFigures(
        promise,
        comparison,
        scored,
        tuple(someone_else[:_MAX_SHOWN]),
        tuple(unlike[:_MAX_SHOWN]),
        tuple(alike[:_MAX_SHOWN]),
        {"someone_else": len(someone_else), "unlike": len(unlike), "alike": len(alike)},
    )


def _mistakes(
    head: Head, people: EncodedPeople, rate: float
) -> tuple[list[Mistake], list[Mistake], list[Mistake]]:
    """The three kinds of FolderFigures, with everyone enrolled and each photo left out in turn."""
    templates = fuse_templates(people.people, people.enrolled)
    impostors = gallery_impostors(head, people.people, people.enrolled)
    margins = shortlist_margins(head, people.probes, templates, impostors)
    columns = np.searchsorted(templates.identity_ids, people.people)
    margins[np.arange(len(people)), columns] = -np.inf
    own, alone = _own_margins(head, people, impostors)
    others = margins.max(axis=1)
    rival = templates.identity_ids[margins.argmax(axis=1)]
    calibration = head.metadata.calibration
    size = len(templates.identity_ids)
    match = operating_point(calibration, size, fpir=rate, impostors=impostors).bias
    different = operating_point(calibration, 1, fpir=rate).bias

    def mistake(row: int, person: int, margin: float) -> Mistake:
        """The photo, and the other photo of that person that is most similar to it."""
        rows = np.flatnonzero(people.people == person)
        rows = rows[rows != row]
        cosines = people.enrolled.vectors[rows] @ people.probes.vectors[row]
        other = int(rows[cosines.argmax()])
        return Mistake(
            people.photos[row],
            people.names[people.people[row]],
            people.photos[other],
            people.names[person],
            margin,
        )

    has_others = np.isfinite(own)
    is_wrong = (others > match) & has_others & (others > own)
    wrong = np.flatnonzero(is_wrong)
    unlike = np.flatnonzero(has_others & (alone <= different) & ~is_wrong)
    closest: dict[tuple[int, int], int] = {}  # row of each pair of people
    for row in np.flatnonzero((others > match) & ~is_wrong):
        pair = sorted((int(people.people[row]), int(rival[row])))
        best = closest.setdefault((pair[0], pair[1]), int(row))
        if others[row] > others[best]:
            closest[pair[0], pair[1]] = int(row)
    alike = np.array(list(closest.values()), dtype=np.int64)
    return (
        [mistake(i, int(rival[i]), float(others[i])) for i in wrong[np.argsort(-others[wrong])]],
        [mistake(i, int(people.people[i]), float(own[i])) for i in unlike[np.argsort(own[unlike])]],
        [mistake(i, int(rival[i]), float(others[i])) for i in alike[np.argsort(-others[alike])]],
    )


def _own_margins(
    head: Head, people: EncodedPeople, impostors: Impostors
) -> tuple[Float32, Float32]:
    """Each photo's margin to its person's other photos, in the gallery and as a single comparison,
    float32 (n,) each; -inf if there are none.
    """
    rows, templates = [], []
    for person in np.unique(people.people):
        mine = np.flatnonzero(people.people == person)
        for row in mine if len(mine) > 1 else ():
            rest = mine[mine != row]
            rows.append(row)
            templates.append(
                fuse_templates(people.people[rest], people.enrolled.take(rest)).encodings
            )
    own, alone = (np.full(len(people), -np.inf, dtype=np.float32) for _ in range(2))
    if rows:
        queries, others = people.probes.take(np.array(rows)), Encodings.joined(templates)
        own[rows] = pair_margins(head, queries, others, impostors)
        alone[rows] = head.margins(head.sides(queries), head.sides(others))
    return own, alone
