"""Grouping measured on labelled people, beside its peers, with distractors and both ways round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gallery.dedupe.clustering.cluster import same_person_groups
from gallery.dedupe.clustering.operating_point import GroupingMarks
from gallery.evaluation.clustering_baselines import peers
from gallery.evaluation.clustering_metrics import as_json, figures_of, fit_grouping, intervals_of
from gallery.matching.head import Head
from gallery.matching.scorer import Scorer
from gallery.store.database import Database
from gallery.training.calibrate import few_each, fit_and_calibrate
from gallery.training.cleaning import without_conflicts
from gallery.training.encode import EncodedPeople
from gallery.training.train import Recipe, halves
from gallery.types import Encodings, Int64

Progress = Callable[[int, int], None]


def fitted_marks(
    head: Head, train: EncodedPeople, seed: int, progress: Progress = lambda _done, _all: None
) -> GroupingMarks:
    """On those of the train people whom the shipped head was not fitted on."""
    people, _ = without_conflicts(train)
    held_out = people.of(halves(people, seed)[1])
    return fit_grouping(head, held_out.probes, held_out.people, seed, progress)


def measure_grouping(
    judge: Scorer,
    test: EncodedPeople,
    others: EncodedPeople | None,
    *,
    marks: GroupingMarks | None,
    precision: float,
    beside: bool,
    seed: int,
    progress: Progress = lambda _done, _all: None,
) -> list[dict[str, Any]]:
    """A row for each method and each set of faces: alone, and with one face each of the others.

    Two names of one picture (see conflicts) are left as the folder has them.
    """
    rows: list[dict[str, Any]] = []
    for on, encodings, people in _sets(test, others, seed):
        labels = group_labels(judge, encodings, marks, precision)
        rows.append(
            {
                "on": on,
                "faces": len(people),
                "people": len(np.unique(people)),
                "method": "gallery dedupe",
                "setting": f"precision {precision}",
                "figures": as_json(figures_of(labels, people)),
                "intervals": intervals_of(labels, people, seed),
            }
        )
        for peer in peers(encodings, people, progress) if beside else ():
            rows.append(
                {
                    "on": on,
                    "faces": len(people),
                    "people": len(np.unique(people)),
                    "method": peer.name,
                    "setting": peer.setting,
                    "figures": as_json(peer.figures),
                    "best_bcubed_f": round(peer.best_b_f, 5),
                }
            )
    return rows


def group_labels(
    judge: Scorer, encodings: Encodings, marks: GroupingMarks | None, precision: float
) -> Int64:
    """One label a face, int64 (n,)."""
    labels = np.arange(len(encodings), dtype=np.int64)
    found = same_person_groups(encodings, judge, precision=precision, marks=marks)
    for group in found.groups:
        labels[list(group.rows)] = group.rows[0]
    return labels


def swapped(
    database: Database,
    test: EncodedPeople,
    train: EncodedPeople,
    *,
    precision: float,
    beside: bool,
    seed: int,
    progress: Progress = lambda _done, _all: None,
) -> list[dict[str, Any]]:
    """Head and operating point made of the test people, measured on the train people."""
    learned_from, _ = without_conflicts(test)
    trained = fit_and_calibrate(learned_from, Recipe(seed=seed), ("swapped", ""), progress)
    held_out = trained.held_out
    marks = fit_grouping(trained.head, held_out.probes, held_out.people, seed, progress)
    return measure_grouping(
        Scorer(trained.head, database),
        train,
        test,
        marks=marks,
        precision=precision,
        beside=beside,
        seed=seed,
        progress=progress,
    )


def _sets(
    test: EncodedPeople, others: EncodedPeople | None, seed: int
) -> list[tuple[str, Encodings, Int64]]:
    sets = [("alone", test.probes, test.people)]
    if others is not None:
        rows = few_each(others.people, 1, np.random.default_rng(seed))
        sets.append(
            (
                f"with {len(rows):,} distractors",
                Encodings.joined([test.probes, others.probes.take(rows)]),
                np.concatenate([test.people, others.people[rows] + int(test.people.max()) + 1]),
            )
        )
    return sets
