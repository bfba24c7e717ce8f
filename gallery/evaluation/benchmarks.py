"""The LFW benchmarks: BLUFR (open-set identification and verification) and View 2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from gallery.dedupe.clustering.merge import rows_by_label
from gallery.evaluation.baselines import Cosine, Decider, Euclidean, our_head, random_pairs
from gallery.evaluation.protocols import Blufr, BlufrTrial, View2Pairs
from gallery.progress import Progress, no_progress
from gallery.training.choose_recipe import choose_recipe
from gallery.training.encode import EncodedPeople
from gallery.training.projection import principal_components, projected
from gallery.training.statistics import most_accurate_threshold
from gallery.types import DIMENSION, Bool, Float64, Int64

FPIRS = (0.1, 0.01, 0.001)
FARS = (0.01, 0.001, 0.0001)
_NEAR_SHARE = 0.03
_FAR_SAMPLE = 200_000
_BLOCK = 1_000


def run_blufr(
    people: EncodedPeople,
    rows: Int64,
    protocol: Blufr,
    trials: int,
    seed: int,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Run BLUFR; everything is learned anew from each trial's own training people.

    people : as the network encodes them, (n, d).
    rows : int64, the row in `people` of each of the protocol's photos; -1 if it has no face.
    """
    trial_figures: dict[str, list[dict[str, Any]]] = {}
    for number, trial in enumerate(protocol.trials[:trials]):
        progress(number, trials)
        training = rows[trial.training]
        training = training[training >= 0]
        for name, decider, encoded in _deciders(people, training, seed):
            trial_figures.setdefault(name, []).append(
                open_set(decider, encoded, rows, protocol, trial)
                | _verification(decider, encoded, rows, protocol, trial)
            )
    progress(trials, trials)
    return {
        "deciders": {name: _summary(figures) for name, figures in trial_figures.items()},
        "trials": min(trials, len(protocol.trials)),
        "seed": seed,
    }


def _deciders(
    people: EncodedPeople, training: Int64, seed: int
) -> list[tuple[str, Decider, EncodedPeople]]:
    """The deciders, each with its name and the people as it sees them.

    people : as the network encodes them, (n, d).
    training : the rows that the projection, the recipe and the head are learned from.
    """
    deciders: list[tuple[str, Decider, EncodedPeople]] = []
    if people.probes.vectors.shape[1] > DIMENSION:
        deciders = [("cosine-native", Cosine(), people)]
        people = projected(people, principal_components(people.take(training), ""))
    learned = people.take(training)
    ours = our_head(learned, choose_recipe(learned, seed).recipe)
    deciders += [(d.name, d, people) for d in (Euclidean(), Cosine(), ours)]
    return deciders


def open_set(
    decider: Decider, people: EncodedPeople, rows: Int64, protocol: Blufr, trial: BlufrTrial
) -> dict[str, Any]:
    """DIR at FPIR, and rank-1; a photo in which no face was detected counts as not found."""
    gallery, probes = (part[rows[part] >= 0] for part in (trial.gallery, trial.probes))
    scores = decider.cross(people.probes.take(rows[probes]), people.enrolled.take(rows[gallery]))
    best = scores.argmax(axis=1)
    members = protocol.people[trial.gallery]
    known = np.isin(protocol.people[probes], members)
    right = protocol.people[gallery][best] == protocol.people[probes]
    top = scores[np.arange(len(scores)), best].astype(np.float64)
    all_known = int(np.isin(protocol.people[trial.probes], members).sum())
    strangers = np.full(len(trial.probes) - all_known, -np.inf)
    strangers[: int((~known).sum())] = top[~known]
    strangers = -np.sort(-strangers)
    return {
        "dir_at_fpir": {
            f"{rate:g}": float(
                (right & known & (top > strangers[int(rate * len(strangers))])).sum() / all_known
            )
            for rate in FPIRS
        },
        "rank1": float((right & known).sum() / all_known),
    }


def _verification(
    decider: Decider, people: EncodedPeople, rows: Int64, protocol: Blufr, trial: BlufrTrial
) -> dict[str, Any]:
    """VR at FAR over all pairs of test photos, both encoded as probes.

    Of the pairs of two people, the most similar by cosine are all scored; of the others a sample
    is, weighted by how many pairs it represents.
    """
    tested = trial.testing[rows[trial.testing] >= 0]
    faces, owners = people.probes.take(rows[tested]), protocol.people[tested]
    first, second = _same_pairs(owners)
    genuine = decider.scores(faces.take(first), faces.take(second))
    photos = np.unique(protocol.people[trial.testing], return_counts=True)[1]
    all_genuine = int((photos * (photos - 1) // 2).sum())
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, len(tested), (2, _FAR_SAMPLE))
    a, b = a[owners[a] != owners[b]], b[owners[a] != owners[b]]
    cosines = np.einsum("ij,ij->i", faces.vectors[a], faces.vectors[b])
    least = float(np.quantile(cosines, 1 - _NEAR_SHARE))
    blocks = []
    for start in range(0, len(tested), _BLOCK):
        block = faces.vectors[start : start + _BLOCK] @ faces.vectors.T
        i, j = np.nonzero(block > least)
        impostor = (j > i + start) & (owners[i + start] != owners[j])
        blocks.append(np.stack([i[impostor] + start, j[impostor]], axis=1))
    near_pairs = np.concatenate(blocks)
    far = cosines <= least
    total = len(tested) * (len(tested) - 1) // 2 - len(first)
    impostors = np.concatenate(
        [
            decider.scores(faces.take(near_pairs[:, 0]), faces.take(near_pairs[:, 1])),
            decider.scores(faces.take(a[far]), faces.take(b[far])),
        ]
    )
    weights = np.ones(len(impostors))
    weights[len(near_pairs) :] = (total - len(near_pairs)) / max(1, int(far.sum()))
    order = np.argsort(-impostors)
    above = np.cumsum(weights[order]) / total
    thresholds = [impostors[order[np.searchsorted(above, rate)]] for rate in FARS]
    return {
        "vr_at_far": {
            f"{rate:g}": float((genuine > threshold).sum() / all_genuine)
            for rate, threshold in zip(FARS, thresholds, strict=True)
        }
    }


def _same_pairs(owners: Int64) -> tuple[Int64, Int64]:
    groups = rows_by_label(owners)
    pairs = [rows[np.stack(np.triu_indices(len(rows), k=1), axis=1)] for rows in groups]
    joined = np.concatenate([np.empty((0, 2), dtype=np.int64), *pairs])
    return joined[:, 0], joined[:, 1]


def _summary(trials: Sequence[Any]) -> dict[str, Any]:
    """The mean and standard deviation of each figure over the trials."""
    if isinstance(trials[0], dict):
        return {key: _summary([trial[key] for trial in trials]) for key in trials[0]}
    return {"mean": float(np.mean(trials)), "std": float(np.std(trials))}


def run_pairs(
    people: EncodedPeople,
    first: Int64,
    second: Int64,
    protocol: View2Pairs,
    seed: int,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Run View 2: per fold, everything is learned from the people who are not in the fold, and each
    decider's threshold is the most accurate one on the other folds.

    The margins of the folds' heads become comparable by logistic regression on random pairs of
    the people each head was trained on.

    people : as the network encodes them, (n, d).
    first, second : rows in `people` of the pairs' photos; -1 if no face was detected, and the pair
        is decided as "different".
    """
    folds = np.unique(protocol.folds)
    usable = (first >= 0) & (second >= 0)
    scores: dict[str, Float64] = {}
    for fold in folds:
        progress(int(fold), len(folds))
        pairs = np.flatnonzero((protocol.folds == fold) & usable)
        in_fold = np.unique(people.people[np.concatenate([first[pairs], second[pairs]])])
        training = np.flatnonzero(~np.isin(people.people, in_fold))
        for name, decider, encoded in _deciders(people, training, seed):
            rest = encoded.take(training)
            left, right, same = random_pairs(rest, seed)
            decider.calibrate(decider.scores(rest.probes.take(left), rest.probes.take(right)), same)
            a, b = encoded.probes.take(first[pairs]), encoded.probes.take(second[pairs])
            of_name = scores.setdefault(name, np.full(len(first), -np.inf))
            of_name[pairs] = decider.log_odds(decider.scores(a, b))
    progress(len(folds), len(folds))
    return {
        "deciders": {name: _view2(values, protocol) for name, values in scores.items()},
        "pairs": len(first),
        "pairs_without_a_face": int((~usable).sum()),
        "seed": seed,
    }


def _view2(scores: Float64, protocol: View2Pairs) -> dict[str, Any]:
    accuracies = []
    for fold in np.unique(protocol.folds):
        in_fold: Bool = protocol.folds == fold
        threshold = most_accurate_threshold(scores[~in_fold], protocol.same[~in_fold]).value
        says_same = scores[in_fold] >= threshold
        accuracies.append(float((says_same == (protocol.same[in_fold] == 1)).mean()))
    impostors = -np.sort(-scores[protocol.same == 0])
    at_far = impostors[int(0.001 * len(impostors))]
    finite = np.where(np.isfinite(scores), scores, scores[np.isfinite(scores)].min() - 1)
    return {
        "accuracy": {"mean": float(np.mean(accuracies)), "std": float(np.std(accuracies))},
        "auc": float(roc_auc_score(protocol.same, finite)),
        "tar_at_far": {"0.001": float((scores[protocol.same == 1] > at_far).mean())},
    }
