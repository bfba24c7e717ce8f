"""What is known of a head's margins, measured on people it was not trained on.

The people are halved: the head is fitted on one half and measured on the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from sklearn.linear_model import LogisticRegression

from gallery.matching.head import Head, HeadMarks
from gallery.matching.operating_point import (
    CROWD,
    Adjustment,
    Calibration,
    OperatingCurve,
    operating_point,
)
from gallery.matching.scorer import cross_margins, near_margins, own_adjustment
from gallery.matching.templates import Templates, fused
from gallery.training.encode import EncodedPeople
from gallery.training.train import Epoch, Recipe, halves, train
from gallery.types import Bool, Float32, Float64, Int64

_HIGHEST_RATE, _POINTS_A_DECADE = 0.5, 6
_LEAST_PAIRS_BEHIND_A_POINT = 20
_MOST_FACES = 2_500
_KNOWN_PHOTOS = (1, 2, 3)
_GALLERIES = (10, 30, 100, 300, 700)
_DRAWS = 3
_GALLERY_DRAWS = 6
_CROWDING_RATES = (0.1, 0.03, 0.01)
_CROWDING_LIMITS = 0.8, 1.0
_LEAST_LET_IN = 10
NO_CALIBRATION = Calibration(
    OperatingCurve(np.array([0.0, -1.0]), np.array([0.0, 1.0]), 2),
    OperatingCurve(np.array([0.0, -1.0]), np.array([0.0, 1.0]), 2),
    1.0,
    np.zeros((3, 101)),
    np.array([0.0, 1.0, 0.0, 0.0]),
)
"""Of a head that is not calibrated yet."""


@dataclass(frozen=True)
class Trained:
    """A head, who it was fitted on and who it was calibrated on; no one is in both.

    history : of its first network, watched on the people it is calibrated on.
    """

    head: Head
    fitted: EncodedPeople
    held_out: EncodedPeople
    history: tuple[Epoch, ...]


def fit_and_calibrate(
    people: EncodedPeople,
    recipe: Recipe,
    encoder: tuple[str, str],
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Trained:
    """Fit on half of the people, calibrate on the other half.

    encoder : its name and its weights' SHA-256.  Raises TrainingDataTooSmall.
    """
    first, second = (people.of(numbers) for numbers in halves(people, recipe.seed))
    fitted = train(first, recipe, second, progress)
    marks = HeadMarks(*encoder, recipe.features, recipe.hidden, NO_CALIBRATION)
    head = Head(fitted.cohort, fitted.networks, marks)
    calibration = calibrate_head(head, second, recipe.seed)
    return Trained(head.recalibrated(calibration), first, second, fitted.history)


def calibrate_head(head: Head, people: EncodedPeople, seed: int) -> Calibration:
    """Measured on people whom the head has not seen."""
    rng = np.random.default_rng(seed)
    strangers, enrolled = map(operating_curve, impostor_margins(head, people, rng))
    known = known_margins(head, people, rng)
    rough = replace(NO_CALIBRATION, strangers=strangers, enrolled=enrolled, known=known)
    asked = list(_asked(head.recalibrated(rough), people, rng))
    calibration = replace(rough, crowding=_crowding(asked, rough))
    return replace(calibration, sureness=_sureness(asked, calibration))


def operating_curve(margins: Float32) -> OperatingCurve:
    """Of margins of two people, down to the rate that twenty pairs stand behind."""
    falling = -np.sort(-margins.astype(np.float64))
    lowest = min(_LEAST_PAIRS_BEHIND_A_POINT / len(falling), _HIGHEST_RATE / 10)
    decades = np.log10(_HIGHEST_RATE / lowest)
    log10_rates = np.linspace(
        np.log10(_HIGHEST_RATE), np.log10(lowest), max(2, round(decades * _POINTS_A_DECADE))
    )
    return OperatingCurve(log10_rates, falling[(10.0**log10_rates * len(falling)).astype(np.int64)])


def impostor_margins(
    head: Head, people: EncodedPeople, rng: np.random.Generator
) -> tuple[Float32, Float32]:
    """Margins of probes, and of enrolled faces, against enrolled faces of other people, (p,) each.

    One face a person, as in a gallery of one photo each; drawn several times.
    """
    of_probes: list[Float32] = []
    of_enrolled: list[Float32] = []
    for _ in range(_DRAWS):
        rows = few_each(people.people, 1, rng)
        rows = np.sort(rng.permutation(rows)[:_MOST_FACES])
        enrolled = people.enrolled.take(rows)
        margins = cross_margins(head, people.probes.take(rows), enrolled)
        of_probes.append(margins[~np.eye(len(rows), dtype=np.bool_)])
        margins = cross_margins(head, enrolled, enrolled)
        of_enrolled.append(margins[np.triu_indices(len(rows), k=1)])
    return np.concatenate(of_probes), np.concatenate(of_enrolled)


def few_each(people: Int64, most: int, rng: np.random.Generator) -> Int64:
    """At most so many random rows of each person, ascending."""
    order = rng.permutation(len(people))
    ranked = order[np.argsort(people[order], kind="stable")]
    owners = people[ranked]
    starts = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]])
    rank = np.arange(len(owners)) - np.repeat(starts, np.diff(np.r_[starts, len(owners)]))
    return np.sort(ranked[rank < most])


def known_margins(head: Head, people: EncodedPeople, rng: np.random.Generator) -> Float64:
    """Quantiles of a known person's margin by photos enrolled; see Calibration.known."""
    found: list[Float64] = []
    for photos in _KNOWN_PHOTOS:
        rows = few_each(people.people, photos + 1, rng)
        numbers, counts = np.unique(people.people[rows], return_counts=True)
        rows = rows[np.isin(people.people[rows], numbers[counts == photos + 1])]
        rows = rows[np.argsort(people.people[rows], kind="stable")]
        if not len(rows):  # nobody has so many: what fewer photos gave is the best guess
            found.append(found[-1])
            continue
        probes, enrolled = rows[:: photos + 1], np.delete(rows, np.s_[:: photos + 1])
        templates = fused(people.people[enrolled], people.enrolled.take(enrolled))
        a, b = head.sides(people.probes.take(probes)), head.sides(templates.encodings)
        found.append(np.quantile(head.margins(a, b), np.linspace(0, 1, 101)))
    return np.stack(found).astype(np.float64)


@dataclass(frozen=True)
class Drawn:
    """A random gallery out of people, and the photos left to ask it about.

    probes : int64 (q,) rows of the people.  known : bool (q,), whose identity is in the gallery.
    """

    templates: Templates
    probes: Int64
    known: Bool


def draw_gallery(
    people: EncodedPeople,
    size: int,
    rng: np.random.Generator,
    *,
    photos: int = 1,
    probes_each: int = 5,
) -> Drawn:
    """Enrol `size` random people, up to `photos` of each but never their last one to ask about."""
    numbers = np.unique(people.people)
    members = rng.permutation(numbers)[:size]
    of_members = np.flatnonzero(np.isin(people.people, members))
    order = rng.permutation(of_members)
    order = order[np.argsort(people.people[order], kind="stable")]
    owners = people.people[order]
    starts = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]])
    counts = np.diff(np.r_[starts, len(owners)])
    rank = np.arange(len(owners)) - np.repeat(starts, counts)
    allowed = np.minimum(photos, np.maximum(1, np.repeat(counts, counts) - 1))
    enrolled = np.sort(order[rank < allowed])
    rest = np.setdiff1d(np.arange(len(people)), enrolled)
    probes = rest[few_each(people.people[rest], probes_each, rng)]
    templates = fused(people.people[enrolled], people.enrolled.take(enrolled))
    return Drawn(templates, probes, np.isin(people.people[probes], members))


@dataclass(frozen=True)
class _Asked:
    """The likeliest candidates of one gallery's queries.

    margins : float32 (q,).  right, known : bool (q,).
    """

    size: int
    adjustment: Adjustment
    margins: Float32
    right: Bool
    known: Bool


def _asked(head: Head, people: EncodedPeople, rng: np.random.Generator) -> Iterator[_Asked]:
    """Random galleries of several sizes, with one, two and three photos a person."""
    everyone = len(np.unique(people.people))
    for size in _GALLERIES:
        for draw in range(_GALLERY_DRAWS if size <= everyone // 2 else 0):
            drawn = draw_gallery(people, size, rng, photos=1 + draw % 3)
            templates = drawn.templates
            margins = near_margins(head, people.probes.take(drawn.probes), templates.encodings)
            best = margins.argmax(axis=1)
            yield _Asked(
                size,
                own_adjustment(head, templates.identity_ids, templates.encodings),
                margins[np.arange(len(margins)), best],
                templates.identity_ids[best] == people.people[drawn.probes],
                drawn.known,
            )


def _crowding(asked: list[_Asked], rough: Calibration) -> float:
    """See Calibration.crowding: how the strangers let in fall behind independent comparisons."""
    sizes, gaps = [], []
    for size in sorted({one.size for one in asked if one.size >= CROWD}):
        those = [one for one in asked if one.size == size]
        for rate in _CROWDING_RATES:
            let_in = strangers = 0
            aimed = 0.0
            for one in those:
                point = operating_point(rough, size, rate=rate, adjustment=one.adjustment)
                let_in += int(point.same(one.margins[~one.known]).sum())
                strangers += int((~one.known).sum())
                aimed += point.aimed * int((~one.known).sum())
            if let_in >= _LEAST_LET_IN:
                sizes.append(np.log(size / CROWD))
                gaps.append(np.log(let_in / aimed))
    if len(set(sizes)) < 2:
        return 1.0
    return float(np.clip(1.0 + np.polyfit(sizes, gaps, 1)[0], *_CROWDING_LIMITS))


def _sureness(asked: list[_Asked], calibration: Calibration) -> Float64:
    """See Calibration.sureness: logistic regression on the likeliest candidates of many queries."""
    evidence, weights = [], []
    for one in asked:
        point = operating_point(calibration, one.size, adjustment=one.adjustment)
        evidence.append(point.evidence(one.margins))
        counts = np.array([(~one.known).sum(), one.known.sum()])
        weights.append((1_000 / np.maximum(1, counts))[one.known.astype(int)])
    right = np.concatenate([np.empty(0, np.bool_), *(one.right for one in asked)])
    if len(np.unique(right)) < 2:
        return NO_CALIBRATION.sureness
    fitted = LogisticRegression(C=1e3, max_iter=5_000, fit_intercept=False).fit(
        np.concatenate(evidence), right, np.concatenate(weights)
    )
    return np.array(fitted.coef_[0], dtype=np.float64)
