"""Clustering metrics, pairwise and BCubed, and the operating point of `dedupe` fitted by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from sklearn.linear_model import LogisticRegression

from gallery.dedupe.clustering.linkage import SIZE_BONUS, merges
from gallery.dedupe.clustering.operating_point import DEFAULT_PRECISION, ClusteringCalibration
from gallery.errors import TrainingDataTooSmall
from gallery.matching.gallery_margins import gallery_impostors
from gallery.matching.head import Head
from gallery.matching.operating_point import operating_point
from gallery.progress import Progress, no_progress
from gallery.training.random_galleries import sample_per_person
from gallery.types import Encodings, Float64, Int64

_PRECISIONS = (0.9, 0.95, 0.98, 0.99, 0.995, 0.998)
_RATES = np.geomspace(0.9, 1e-4, 37)
_SIZES = ((50, 60), (150, 30), (500, 12), (1_500, 4), (3_000, 2))
_MAX_PHOTOS = 30
_NEAR_SHARE = 0.2
_BOOTSTRAPS = 200
_MIN_GROUPS = 10


@dataclass(frozen=True)
class Figures:
    """Metrics of a clustering against the true labels, from 0 to 1.

    precision, recall, f : over pairs of faces.
    b_* : over faces (Bagga and Baldwin 1998; Amigo et al. 2009).
    groups : clusters of two or more faces.
    """

    precision: float
    recall: float
    f: float
    b_precision: float
    b_recall: float
    b_f: float
    groups: int


def figures_of(labels: Int64, people: Int64, weights: Float64 | None = None) -> Figures:
    """Compute the metrics.

    labels, people : of each face its cluster and its person, int64 (n,).
    weights : of each person, for bootstraps.
    """
    labels, people = (np.unique(numbers, return_inverse=True)[1] for numbers in (labels, people))
    table = coo_array((np.ones(len(labels)), (labels, people))).tocsr().tocoo()
    both, row, column = table.data, table.coords[0], table.coords[1]
    person_weights = np.ones(int(people.max()) + 1) if weights is None else weights
    sizes, photos = np.bincount(labels), np.bincount(people)
    # A pair of two people counts as half of each, so every pair has a person's weight.
    correct = (person_weights[column] * both * (both - 1)).sum() / 2
    clustered = (person_weights[column] * both * (sizes[row] - 1)).sum() / 2
    same_person = (person_weights * photos * (photos - 1)).sum() / 2
    precision = correct / clustered if clustered else 1.0
    recall = correct / same_person if same_person else 1.0
    faces = (person_weights * photos).sum()
    b_precision = (person_weights[column] * both**2 / sizes[row]).sum() / faces
    b_recall = (person_weights[column] * both**2 / photos[column]).sum() / faces
    return Figures(
        float(precision),
        float(recall),
        _harmonic(precision, recall),
        float(b_precision),
        float(b_recall),
        _harmonic(b_precision, b_recall),
        int((sizes > 1).sum()),
    )


def intervals_of(labels: Int64, people: Int64, seed: int) -> dict[str, list[float]]:
    """95 % intervals of the metrics, by a bootstrap over people."""
    rng = np.random.default_rng(seed)
    count = len(np.unique(people))
    drawn = []
    for _ in range(_BOOTSTRAPS):
        weights = np.bincount(rng.integers(0, count, count), minlength=count)
        drawn.append(figures_of(labels, people, weights.astype(np.float64)))
    names = ("precision", "recall", "f", "b_precision", "b_recall", "b_f")
    return {
        name: np.quantile([getattr(d, name) for d in drawn], [0.025, 0.975]).round(5).tolist()
        for name in names
    }


def _harmonic(a: float, b: float) -> float:
    return float(2 * a * b / (a + b)) if a + b else 0.0


def fit_grouping(
    head: Head,
    encodings: Encodings,
    people: Int64,
    seed: int,
    progress: Progress = no_progress,
) -> ClusteringCalibration:
    """Measure which false-match rate of the operating point gives which precision of merged pairs.

    On random folders of 50 to 3,000 faces of people the head was not fitted on, with at most thirty
    photos each, so that nobody with hundreds dominates. In every second folder, half of the faces
    are of people with one photo: those make no right pairs and many chances for wrong ones. (Added
    after seeing results with distractors: without it, 98.2 % of pairs were right among LFW's test
    people and 2,873 others, at a promised 99 %.)
    """
    rng = np.random.default_rng(seed)
    margins = _all_margins(head, encodings)
    rates_by_size: list[tuple[float, ...]] = []
    excesses: list[float] = []
    pure: list[bool] = []
    sizes = [(size, draws) for size, draws in _SIZES if size <= len(people)]
    total, done = 2 * sum(draws for _, draws in sizes), 0
    for size, draws in sizes:
        right, wrong = np.zeros(len(_RATES)), np.zeros(len(_RATES))
        folders: list[tuple[_FolderMerges, Float64]] = []
        for draw in range(2 * draws):
            rows = _folder(people, size, rng, singles=draw % 2 == 1)
            merged = _FolderMerges.of(margins[np.ix_(rows, rows)], people[rows])
            biases = _biases(head, encodings.take(rows), merged)
            at = np.searchsorted(-merged.lowest, -biases, side="left")
            right += merged.right[at]
            wrong += merged.wrong[at]
            folders.append((merged, biases))
            done += 1
            progress(done, total)
        rates_by_size.append(_loosest_rates(right / np.maximum(right + wrong, 1e-12)))
        default = rates_by_size[-1][_PRECISIONS.index(DEFAULT_PRECISION)]
        column = int(np.flatnonzero(default == _RATES)[0])
        for merged, biases in folders:  # the certainty of groups at the default precision
            folder_excesses, folder_pure = merged.groups_at(float(biases[column]))
            excesses += folder_excesses
            pure += folder_pure
    if len(set(pure)) < 2:
        raise TrainingDataTooSmall(
            f"{len(people)} photos of {len(np.unique(people))} people made no group of two people"
            " to fit the certainty of groups to; add photos of more people"
        )
    fitted = LogisticRegression(C=10.0).fit(np.array(excesses)[:, None], np.array(pure))
    sureness = float(fitted.intercept_[0]), max(float(fitted.coef_[0, 0]), 1e-3)
    # Smaller folders give noisier rates, so a rate may only rise with the size.
    accumulated = np.maximum.accumulate(np.array(rates_by_size), axis=0)
    rates = tuple(tuple(float(rate) for rate in row) for row in accumulated)
    return ClusteringCalibration(_PRECISIONS, tuple(size for size, _ in sizes), rates, sureness)


def _loosest_rates(precision: Float64) -> tuple[float, ...]:
    """For each wanted precision, the loosest rate that reaches it along with all stricter rates,
    less one step: at the loosest, other people reach it only half of the time.
    """
    too_low = [np.flatnonzero(precision < target) for target in _PRECISIONS]
    first = [min(len(_RATES) - 1, int(rows[-1]) + 2 if len(rows) else 1) for rows in too_low]
    return tuple(float(_RATES[row]) for row in first)


def _all_margins(head: Head, encodings: Encodings) -> Float64:
    """The margin of every pair, float64 (n, n).

    The head's for the fifth with the highest cosines; a line fitted to those for the others.
    """
    cosines = encodings.vectors @ encodings.vectors.T
    first, second = np.triu_indices(len(encodings), k=1)
    flat = cosines[first, second]
    is_near = flat >= np.quantile(flat[:: max(1, len(flat) // 100_000)], 1.0 - _NEAR_SHARE)
    sides = head.sides(encodings)
    margins = np.empty(len(flat))
    margins[is_near] = head.margins(sides[first[is_near]], sides[second[is_near]])
    slope, offset = np.polyfit(flat[is_near].astype(np.float64), margins[is_near], 1)
    margins[~is_near] = offset + slope * flat[~is_near]
    matrix = np.zeros(cosines.shape)
    matrix[first, second] = matrix[second, first] = margins
    return matrix


@dataclass(frozen=True)
class _FolderMerges:
    """The merges of one folder, the best first.

    steps : the surviving and the absorbed row of each merge.
    lowest : the lowest score so far, float64 (m,), falling.
    right, wrong : pairs merged before each merge, (m + 1,).
    """

    margins: Float64
    people: Int64
    steps: list[tuple[int, int]]
    lowest: Float64
    right: Float64
    wrong: Float64

    @classmethod
    def of(cls, margins: Float64, people: Int64) -> _FolderMerges:
        names, columns = np.unique(people, return_inverse=True)
        table = np.zeros((len(people), len(names)))  # faces of each person in each cluster
        table[np.arange(len(people)), columns] = 1
        steps, scores, right, wrong = [], [], [0.0], [0.0]
        for merge in merges(margins):
            a, b = table[merge.survivor], table[merge.absorbed]
            right_pairs = float(a @ b)
            right.append(right[-1] + right_pairs)
            wrong.append(wrong[-1] + float(a.sum() * b.sum()) - right_pairs)
            table[merge.survivor] += b
            steps.append((merge.survivor, merge.absorbed))
            scores.append(merge.score)
        lowest = np.minimum.accumulate(np.array(scores))
        return cls(margins, people, steps, lowest, np.array(right), np.array(wrong))

    def labels_at(self, bias: float) -> Int64:
        labels = np.arange(len(self.people))
        for survivor, absorbed in self.steps[
            : int(np.searchsorted(-self.lowest, -bias, side="left"))
        ]:
            labels[labels == absorbed] = survivor
        return labels

    def groups_at(self, bias: float) -> tuple[list[float], list[bool]]:
        """How far each group's loosest member exceeds the bias, and whether it is one person."""
        excesses, pure = [], []
        labels = self.labels_at(bias)
        for label in np.unique(labels):
            rows = np.flatnonzero(labels == label)
            if len(rows) > 1:
                inside = self.margins[np.ix_(rows, rows)]
                means = (inside.sum(axis=1) - np.diag(inside)) / (len(rows) - 1)
                excesses.append(float(means.min() + SIZE_BONUS * np.log(len(rows) - 1) - bias))
                pure.append(len(np.unique(self.people[rows])) == 1)
        return excesses, pure


def _biases(head: Head, encodings: Encodings, merged: _FolderMerges) -> Float64:
    """The bias at each rate, adjusted to how similar the people of this folder are."""
    calibration, count = head.metadata.calibration, len(merged.people)
    first = operating_point(calibration, count, fpir=0.3).bias
    labels = merged.labels_at(first)
    impostors = None
    if len(np.unique(labels)) >= _MIN_GROUPS:
        impostors = gallery_impostors(head, labels, encodings).for_pairs()
    return np.array(
        [operating_point(calibration, count, fpir=r, impostors=impostors).bias for r in _RATES]
    )


def _folder(people: Int64, size: int, rng: np.random.Generator, *, singles: bool) -> Int64:
    """Draw about `size` rows of random people, at most thirty each.

    singles : make half of them single photos of other people, as far as there are enough people.
    """
    pool = sample_per_person(people, _MAX_PHOTOS, rng)
    order = rng.permutation(np.unique(people))
    counts = np.bincount(people[pool], minlength=int(people.max()) + 1)[order]
    target = size // 2 if singles else size
    last = max(2, int(np.searchsorted(np.cumsum(counts), target)) + 1)
    rows = pool[np.isin(people[pool], order[:last])]
    if not singles:
        return rows
    others = pool[np.isin(people[pool], order[last:][: size - len(rows)])]
    return np.sort(np.concatenate([rows, others[sample_per_person(people[others], 1, rng)]]))


def as_json(figures: Figures) -> dict[str, Any]:
    """The metrics, rounded, under their JSON keys."""
    return {
        "precision": round(figures.precision, 5),
        "recall": round(figures.recall, 5),
        "f": round(figures.f, 5),
        "bcubed_precision": round(figures.b_precision, 5),
        "bcubed_recall": round(figures.b_recall, 5),
        "bcubed_f": round(figures.b_f, 5),
        "groups": figures.groups,
    }
