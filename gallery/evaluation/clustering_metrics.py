"""How good grouping is: pairwise and BCubed figures, and the operating point's measurement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from sklearn.linear_model import LogisticRegression

from gallery.dedupe.clustering.linkage import SIZE_BONUS, merges
from gallery.dedupe.clustering.operating_point import DEFAULT_PRECISION, GroupingMarks
from gallery.matching.head import Head
from gallery.matching.operating_point import operating_point
from gallery.matching.scorer import own_adjustment
from gallery.training.calibrate import few_each
from gallery.types import Encodings, Float64, Int64

_WANTED = (0.9, 0.95, 0.98, 0.99, 0.995, 0.998)
_RATES = np.geomspace(0.9, 1e-4, 37)
_SIZES = ((50, 60), (150, 30), (500, 12), (1_500, 4), (3_000, 2))
_MOST_PHOTOS = 30
_NEAR_SHARE = 0.2
_BOOTSTRAPS = 200
_LEAST_GROUPS = 10


@dataclass(frozen=True)
class Figures:
    """Of one partition against the truth; shares.

    precision, recall, f : over pairs of faces.  b_* : BCubed, over faces (Bagga and Baldwin 1998;
    Amigo et al. 2009).
    """

    precision: float
    recall: float
    f: float
    b_precision: float
    b_recall: float
    b_f: float
    groups: int


def figures_of(found: Int64, people: Int64, weights: Float64 | None = None) -> Figures:
    """found, people : labels, int64 (n,).  weights : of each person by label, for intervals."""
    found, people = (np.unique(labels, return_inverse=True)[1] for labels in (found, people))
    table = coo_array((np.ones(len(found)), (found, people))).tocsr().tocoo()
    both, row, column = table.data, table.coords[0], table.coords[1]
    of_person = np.ones(int(people.max()) + 1) if weights is None else weights
    sizes, numbers = np.bincount(found), np.bincount(people)
    # A pair of two people counts as half of each; so every pair is some person's.
    right = (of_person[column] * both * (both - 1)).sum() / 2
    made = (of_person[column] * both * (sizes[row] - 1)).sum() / 2
    wanted = (of_person * numbers * (numbers - 1)).sum() / 2
    precision, recall = right / made if made else 1.0, right / wanted if wanted else 1.0
    faces = (of_person * numbers).sum()
    b_precision = (of_person[column] * both**2 / sizes[row]).sum() / faces
    b_recall = (of_person[column] * both**2 / numbers[column]).sum() / faces
    return Figures(
        float(precision),
        float(recall),
        _harmonic(precision, recall),
        float(b_precision),
        float(b_recall),
        _harmonic(b_precision, b_recall),
        int((sizes > 1).sum()),
    )


def intervals_of(found: Int64, people: Int64, seed: int) -> dict[str, list[float]]:
    """95 % intervals of the figures, by a bootstrap over people."""
    rng = np.random.default_rng(seed)
    count = len(np.unique(people))
    drawn = []
    for _ in range(_BOOTSTRAPS):
        weights = np.bincount(rng.integers(0, count, count), minlength=count)
        drawn.append(figures_of(found, people, weights.astype(np.float64)))
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
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> GroupingMarks:
    """Measure which rate of the operating point keeps which precision of merged pairs.

    On random folders of 50 to 3,000 faces of people whom the head was not fitted on, at most thirty
    photos each so that no one with hundreds vouches for the rest. As often of people as they come
    as with half of the faces of people who have one photo: those make no right pair, and many
    chances for a wrong one. (Came to be after figures with distractors had been looked at: without
    it 98.2 % of pairs were right among LFW's test people and 2,873 others, at a promised 99 %.)
    """
    rng = np.random.default_rng(seed)
    margins = _all_margins(head, encodings)
    kept: list[tuple[float, ...]] = []
    over: list[float] = []
    pure: list[bool] = []
    sizes = [(size, draws) for size, draws in _SIZES if size <= len(people)]
    whole, done = 2 * sum(draws for _, draws in sizes), 0
    for size, draws in sizes:
        right, wrong = np.zeros(len(_RATES)), np.zeros(len(_RATES))
        folders: list[tuple[_Made, Float64]] = []
        for draw in range(2 * draws):
            rows = _folder(people, size, rng, singles=draw % 2 == 1)
            made = _Made.of(margins[np.ix_(rows, rows)], people[rows])
            biases = _biases(head, encodings.take(rows), made)
            at = np.searchsorted(-made.lowest, -biases, side="left")
            right += made.right[at]
            wrong += made.wrong[at]
            folders.append((made, biases))
            done += 1
            progress(done, whole)
        kept.append(_keeping(right / np.maximum(right + wrong, 1e-12)))
        usual = int(np.flatnonzero(kept[-1][_WANTED.index(DEFAULT_PRECISION)] == _RATES)[0])
        for made, biases in folders:  # how sure a group is, at the point where it is made
            some = made.groups_at(float(biases[usual]))
            over += some[0]
            pure += some[1]
    fitted = LogisticRegression(C=10.0).fit(np.array(over)[:, None], np.array(pure))
    sureness = float(fitted.intercept_[0]), max(float(fitted.coef_[0, 0]), 1e-3)
    # A smaller folder says less, and its few wrong pairs weigh more: rates may only rise with size.
    rates = np.maximum.accumulate(np.array(kept), axis=0)
    found = tuple(tuple(float(r) for r in row) for row in rates)
    return GroupingMarks(_WANTED, tuple(size for size, _ in sizes), found, sureness)


def _keeping(precision: Float64) -> tuple[float, ...]:
    """Of each wanted precision the loosest rate that keeps it, as do all that are stricter."""
    lost = [np.flatnonzero(precision < wanted) for wanted in _WANTED]
    places = [min(len(_RATES) - 1, int(k[-1]) + 1 if len(k) else 0) for k in lost]
    return tuple(float(_RATES[place]) for place in places)


def _all_margins(head: Head, encodings: Encodings) -> Float64:
    """Of every pair, float64 (n, n): the head's of the more alike fifth, a line's of the others."""
    cosines = encodings.vectors @ encodings.vectors.T
    first, second = np.triu_indices(len(encodings), k=1)
    flat = cosines[first, second]
    near = flat >= np.quantile(flat[:: max(1, len(flat) // 100_000)], 1.0 - _NEAR_SHARE)
    sides = head.sides(encodings)
    margins = np.empty(len(flat))
    margins[near] = head.margins(sides[first[near]], sides[second[near]])
    slope, offset = np.polyfit(flat[near].astype(np.float64), margins[near], 1)
    margins[~near] = offset + slope * flat[~near]
    found = np.zeros(cosines.shape)
    found[first, second] = found[second, first] = margins
    return found


@dataclass(frozen=True)
class _Made:
    """One folder's merges, the best first.

    lowest : the lowest score so far, float64 (m,), falling.  right, wrong : pairs merged before
    each of them, (m + 1,).
    """

    margins: Float64
    people: Int64
    steps: list[tuple[int, int]]
    lowest: Float64
    right: Float64
    wrong: Float64

    @classmethod
    def of(cls, margins: Float64, people: Int64) -> _Made:
        names, places = np.unique(people, return_inverse=True)
        table = np.zeros((len(people), len(names)))
        table[np.arange(len(people)), places] = 1
        steps, scores, right, wrong = [], [], [0.0], [0.0]
        for merge in merges(margins):
            a, b = table[merge.kept], table[merge.gone]
            good = float(a @ b)
            right.append(right[-1] + good)
            wrong.append(wrong[-1] + float(a.sum() * b.sum()) - good)
            table[merge.kept] += b
            steps.append((merge.kept, merge.gone))
            scores.append(merge.score)
        lowest = np.minimum.accumulate(np.array(scores))
        return cls(margins, people, steps, lowest, np.array(right), np.array(wrong))

    def labels_at(self, bias: float) -> Int64:
        labels = np.arange(len(self.people))
        for kept, gone in self.steps[: int(np.searchsorted(-self.lowest, -bias, side="left"))]:
            labels[labels == gone] = kept
        return labels

    def groups_at(self, bias: float) -> tuple[list[float], list[bool]]:
        """Of each group how far its loosest member is over the bias, and whether it is pure."""
        over, pure = [], []
        labels = self.labels_at(bias)
        for label in np.unique(labels):
            rows = np.flatnonzero(labels == label)
            if len(rows) > 1:
                inside = self.margins[np.ix_(rows, rows)]
                means = (inside.sum(axis=1) - np.diag(inside)) / (len(rows) - 1)
                over.append(float(means.min() + SIZE_BONUS * np.log(len(rows) - 1) - bias))
                pure.append(len(np.unique(self.people[rows])) == 1)
        return over, pure


def _biases(head: Head, encodings: Encodings, made: _Made) -> Float64:
    """At each of the rates, once this folder has said how alike its people are."""
    calibration, count = head.marks.calibration, len(made.people)
    first = operating_point(calibration, count, rate=0.3).bias
    labels = made.labels_at(first)
    adjustment = None
    if len(np.unique(labels)) >= _LEAST_GROUPS:
        adjustment = own_adjustment(head, labels, encodings)
    return np.array(
        [operating_point(calibration, count, rate=r, adjustment=adjustment).bias for r in _RATES]
    )


def _folder(people: Int64, size: int, rng: np.random.Generator, *, singles: bool) -> Int64:
    """Rows of random people, at most thirty each, about so many.

    singles : whether half of them are of one photo of somebody else each, as far as there are so
        many people.
    """
    kept = few_each(people, _MOST_PHOTOS, rng)
    order = rng.permutation(np.unique(people))
    counts = np.bincount(people[kept], minlength=int(people.max()) + 1)[order]
    wanted = size // 2 if singles else size
    last = max(2, int(np.searchsorted(np.cumsum(counts), wanted)) + 1)
    rows = kept[np.isin(people[kept], order[:last])]
    if not singles:
        return rows
    others = kept[np.isin(people[kept], order[last:][: size - len(rows)])]
    return np.sort(np.concatenate([rows, others[few_each(people[others], 1, rng)]]))


def as_json(figures: Figures) -> dict[str, Any]:
    """Rounded."""
    return {
        "precision": round(figures.precision, 5),
        "recall": round(figures.recall, 5),
        "f": round(figures.f, 5),
        "bcubed_precision": round(figures.b_precision, 5),
        "bcubed_recall": round(figures.b_recall, 5),
        "bcubed_f": round(figures.b_f, 5),
        "groups": figures.groups,
    }
