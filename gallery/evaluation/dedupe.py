"""Evaluate grouping on labelled people: with distractors, other methods, and parts swapped."""

from __future__ import annotations

from typing import Any

import numpy as np

from gallery.dedupe.clustering.cluster import same_person_clusters
from gallery.dedupe.clustering.operating_point import ClusteringCalibration
from gallery.evaluation.clustering_baselines import peers
from gallery.evaluation.clustering_metrics import as_json, figures_of, fit_grouping, intervals_of
from gallery.matching.head import Head
from gallery.matching.scorer import Scorer
from gallery.progress import Progress, no_progress
from gallery.store.database import Database
from gallery.training.calibrate import fit_and_calibrate
from gallery.training.choose_recipe import choose_recipe
from gallery.training.cleaning import without_duplicates
from gallery.training.encode import EncodedPeople
from gallery.training.random_galleries import sample_per_person
from gallery.training.train import halves
from gallery.types import Encodings, Int64


def fitted_calibration(
    head: Head, train: EncodedPeople, seed: int, progress: Progress = no_progress
) -> ClusteringCalibration:
    """Fit on the half of the train people that the shipped head was not fitted on."""
    people, _ = without_duplicates(train)
    held_out = people.for_people(halves(people, seed)[1])
    return fit_grouping(head, held_out.probes, held_out.people, seed, progress)


def measure_grouping(
    scorer: Scorer,
    test: EncodedPeople,
    others: EncodedPeople | None,
    *,
    calibration: ClusteringCalibration | None,
    precision: float,
    with_peers: bool,
    seed: int,
    progress: Progress = no_progress,
) -> list[dict[str, Any]]:
    """A row for each method and each set of faces: alone, and with one face of each of the others.

    Duplicates are not left out, because a real folder has them too.
    """
    rows: list[dict[str, Any]] = []
    for name, encodings, people in _face_sets(test, others, seed):
        labels = group_labels(scorer, encodings, calibration, precision)
        rows.append(
            {
                "on": name,
                "faces": len(people),
                "people": len(np.unique(people)),
                "method": "gallery dedupe",
                "setting": f"precision {precision}",
                "figures": as_json(figures_of(labels, people)),
                "intervals": intervals_of(labels, people, seed),
            }
        )
        for peer in peers(encodings, people, progress) if with_peers else ():
            rows.append(
                {
                    "on": name,
                    "faces": len(people),
                    "people": len(np.unique(people)),
                    "method": peer.name,
                    "setting": peer.setting,
                    "figures": as_json(peer.figures),
                    "best_bcubed_f": round(peer.best_bcubed_f, 5),
                }
            )
    return rows


def group_labels(
    scorer: Scorer,
    encodings: Encodings,
    calibration: ClusteringCalibration | None,
    precision: float,
) -> Int64:
    """The group label of each face, int64 (n,)."""
    labels = np.arange(len(encodings), dtype=np.int64)
    grouping = same_person_clusters(encodings, scorer, precision=precision, calibration=calibration)
    for group in grouping.clusters:
        labels[list(group.rows)] = group.rows[0]
    return labels


def swapped(
    database: Database,
    test: EncodedPeople,
    train: EncodedPeople,
    *,
    precision: float,
    with_peers: bool,
    seed: int,
    progress: Progress = no_progress,
) -> list[dict[str, Any]]:
    """Fit a head and an operating point on the test people; measure them on the train people."""
    people, _ = without_duplicates(test)
    trained = fit_and_calibrate(
        people, choose_recipe(people, seed).recipe, ("swapped", ""), progress
    )
    held_out = trained.held_out
    calibration = fit_grouping(trained.head, held_out.probes, held_out.people, seed, progress)
    return measure_grouping(
        Scorer(trained.head, database),
        train,
        test,
        calibration=calibration,
        precision=precision,
        with_peers=with_peers,
        seed=seed,
        progress=progress,
    )


def _face_sets(
    test: EncodedPeople, others: EncodedPeople | None, seed: int
) -> list[tuple[str, Encodings, Int64]]:
    sets = [("alone", test.probes, test.people)]
    if others is not None:
        rows = sample_per_person(others.people, 1, np.random.default_rng(seed))
        sets.append(
            (
                f"with {len(rows):,} distractors",
                Encodings.joined([test.probes, others.probes.take(rows)]),
                np.concatenate([test.people, others.people[rows] + int(test.people.max()) + 1]),
            )
        )
    return sets
