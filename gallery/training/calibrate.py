"""Fit a head on half of the people, and calibrate its margins on the other half."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from sklearn.linear_model import LogisticRegression

from gallery.matching.head import Head, HeadMetadata
from gallery.matching.operating_point import (
    CROWDING_START,
    Adjustment,
    Calibration,
    OperatingCurve,
    operating_point,
)
from gallery.matching.scorer import cross_margins, gallery_adjustment, shortlist_margins
from gallery.matching.templates import Templates, fuse_templates
from gallery.progress import Progress, no_progress
from gallery.training.encode import EncodedPeople
from gallery.training.train import Epoch, FittedNetworks, Recipe, halves, train
from gallery.types import Bool, Float32, Float64, Int64

_HIGHEST_RATE, _POINTS_A_DECADE = 0.5, 6
_MIN_PAIRS_PER_POINT = 20
_MAX_FACES = 2_500
_KNOWN_PHOTOS = (1, 2, 3)
_GALLERIES = {10: 60, 30: 60, 100: 30, 300: 12, 700: 6}
"""How many random galleries of each size. In a few small ones, chance outweighs the size."""
_DRAWS = 3
_CROWDING_RATES = (0.1, 0.03, 0.01)
_CROWDING_LIMITS = 0.8, 1.0
_MIN_MATCHED = 10
NO_CALIBRATION = Calibration(
    OperatingCurve(np.array([0.0, -1.0]), np.array([0.0, 1.0]), 2),
    OperatingCurve(np.array([0.0, -1.0]), np.array([0.0, 1.0]), 2),
    1.0,
    np.zeros((3, 101)),
    np.array([0.0, 1.0, 0.0, 0.0]),
)
"""Placeholder of a head that is not calibrated yet."""


@dataclass(frozen=True)
class TrainedHead:
    """A calibrated head.

    fitted, held_out : the people it was fitted on and calibrated on; nobody is in both.
    history : of its first network, validated on the held-out people.
    """

    head: Head
    fitted: EncodedPeople
    held_out: EncodedPeople
    history: tuple[Epoch, ...]


def fit_and_calibrate(
    people: EncodedPeople,
    recipe: Recipe,
    encoder: tuple[str, str],
    progress: Progress = no_progress,
) -> TrainedHead:
    """Fit a head on half of the people, and calibrate it on the other half.

    encoder : its name and the SHA-256 of its weights.  Raises TrainingDataTooSmall.
    """
    first, second = (people.for_people(numbers) for numbers in halves(people, recipe.seed))
    fitted = train(first, recipe, second, progress)
    head = uncalibrated_head(fitted, recipe, encoder)
    calibration = calibrate_head(head, second, recipe.seed)
    return TrainedHead(head.recalibrated(calibration), first, second, fitted.history)


def uncalibrated_head(fitted: FittedNetworks, recipe: Recipe, encoder: tuple[str, str]) -> Head:
    """Return the head of fitted networks, whose margins no operating point fits yet.

    encoder : its name and the SHA-256 of its weights.
    """
    metadata = HeadMetadata(*encoder, recipe.features, recipe.hidden, NO_CALIBRATION)
    return Head(fitted.cohort, fitted.networks, metadata)


def calibrate_head(head: Head, people: EncodedPeople, seed: int) -> Calibration:
    """Measure the calibration coefficients on people the head was not fitted on."""
    rng = np.random.default_rng(seed)
    strangers, enrolled = map(operating_curve, impostor_margins(head, people, rng))
    known = known_margins(head, people, rng)
    rough = replace(NO_CALIBRATION, strangers=strangers, enrolled=enrolled, known=known)
    queries = list(_random_queries(head.recalibrated(rough), people, rng))
    calibration = replace(rough, crowding=_crowding(queries, rough))
    return replace(calibration, probability_weights=_sureness(queries, calibration))


def operating_curve(margins: Float32) -> OperatingCurve:
    """The operating curve of impostor margins, down to the rate that twenty pairs support."""
    falling = -np.sort(-margins.astype(np.float64))
    lowest = min(_MIN_PAIRS_PER_POINT / len(falling), _HIGHEST_RATE / 10)
    decades = np.log10(_HIGHEST_RATE / lowest)
    log10_rates = np.linspace(
        np.log10(_HIGHEST_RATE), np.log10(lowest), max(2, round(decades * _POINTS_A_DECADE))
    )
    return OperatingCurve(log10_rates, falling[(10.0**log10_rates * len(falling)).astype(np.int64)])


def impostor_margins(
    head: Head, people: EncodedPeople, rng: np.random.Generator
) -> tuple[Float32, Float32]:
    """Margins of probes, and of enrolled faces, to enrolled faces of other people, (p,) each.

    One random face per person, as in a gallery of one photo each; drawn several times.
    """
    probe_margins: list[Float32] = []
    enrolled_margins: list[Float32] = []
    for _ in range(_DRAWS):
        rows = sample_per_person(people.people, 1, rng)
        rows = np.sort(rng.permutation(rows)[:_MAX_FACES])
        enrolled = people.enrolled.take(rows)
        margins = cross_margins(head, people.probes.take(rows), enrolled)
        probe_margins.append(margins[~np.eye(len(rows), dtype=np.bool_)])
        margins = cross_margins(head, enrolled, enrolled)
        enrolled_margins.append(margins[np.triu_indices(len(rows), k=1)])
    return np.concatenate(probe_margins), np.concatenate(enrolled_margins)


def sample_per_person(people: Int64, limit: int, rng: np.random.Generator) -> Int64:
    """At most `limit` random rows of each person, ascending."""
    order = rng.permutation(len(people))
    ranked = order[np.argsort(people[order], kind="stable")]
    owners = people[ranked]
    starts = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]])
    rank = np.arange(len(owners)) - np.repeat(starts, np.diff(np.r_[starts, len(owners)]))
    return np.sort(ranked[rank < limit])


def known_margins(head: Head, people: EncodedPeople, rng: np.random.Generator) -> Float64:
    """Quantiles of a known person's margin by photos enrolled; see Calibration.known."""
    quantiles: list[Float64] = []
    for photos in _KNOWN_PHOTOS:
        rows = sample_per_person(people.people, photos + 1, rng)
        numbers, counts = np.unique(people.people[rows], return_counts=True)
        rows = rows[np.isin(people.people[rows], numbers[counts == photos + 1])]
        rows = rows[np.argsort(people.people[rows], kind="stable")]
        if not len(rows):  # nobody has that many photos: reuse the quantiles of fewer
            quantiles.append(quantiles[-1])
            continue
        probes, enrolled = rows[:: photos + 1], np.delete(rows, np.s_[:: photos + 1])
        templates = fuse_templates(people.people[enrolled], people.enrolled.take(enrolled))
        a, b = head.sides(people.probes.take(probes)), head.sides(templates.encodings)
        quantiles.append(np.quantile(head.margins(a, b), np.linspace(0, 1, 101)))
    return np.stack(quantiles).astype(np.float64)


@dataclass(frozen=True)
class RandomGallery:
    """A random gallery of some people, and probes of all of them.

    probes : int64 (q,), rows of the people that are not enrolled.
    known : bool (q,), whether the probe's person is enrolled.
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
) -> RandomGallery:
    """Enrol `size` random people with up to `photos` each, and keep at least one other to query."""
    numbers = np.unique(people.people)
    members = rng.permutation(numbers)[:size]
    order = rng.permutation(np.flatnonzero(np.isin(people.people, members)))
    order = order[np.argsort(people.people[order], kind="stable")]
    owners = people.people[order]
    starts = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]])
    counts = np.diff(np.r_[starts, len(owners)])
    rank = np.arange(len(owners)) - np.repeat(starts, counts)
    allowed = np.minimum(photos, np.maximum(1, np.repeat(counts, counts) - 1))
    enrolled = np.sort(order[rank < allowed])
    rest = np.setdiff1d(np.arange(len(people)), enrolled)
    probes = rest[sample_per_person(people.people[rest], probes_each, rng)]
    templates = fuse_templates(people.people[enrolled], people.enrolled.take(enrolled))
    return RandomGallery(templates, probes, np.isin(people.people[probes], members))


@dataclass(frozen=True)
class _Queries:
    """The likeliest candidate of each query of one random gallery.

    size : identities in the gallery.
    margins : float32 (q,).
    right, known : bool (q,), whether the candidate, or anyone enrolled, is the probe's person.
    """

    size: int
    adjustment: Adjustment
    margins: Float32
    right: Bool
    known: Bool


def _random_queries(
    head: Head, people: EncodedPeople, rng: np.random.Generator
) -> Iterator[_Queries]:
    """Query random galleries of several sizes, with one, two and three photos per person."""
    count = len(np.unique(people.people))
    for size, draws in _GALLERIES.items():
        for draw in range(draws if size <= count // 2 else 0):
            drawn = draw_gallery(people, size, rng, photos=1 + draw % 3)
            templates = drawn.templates
            margins = shortlist_margins(head, people.probes.take(drawn.probes), templates.encodings)
            best = margins.argmax(axis=1)
            yield _Queries(
                size,
                gallery_adjustment(head, templates.identity_ids, templates.encodings),
                margins[np.arange(len(margins)), best],
                templates.identity_ids[best] == people.people[drawn.probes],
                drawn.known,
            )


def _crowding(queries: list[_Queries], rough: Calibration) -> float:
    """Calibration.crowding: how much slower FPIR grows with the gallery than it would if the
    comparisons were independent.
    """
    sizes, gaps = [], []
    for size in sorted({q.size for q in queries if q.size >= CROWDING_START}):
        for rate in _CROWDING_RATES:
            matched, expected = 0, 0.0  # strangers
            for q in queries:
                if q.size == size:
                    point = operating_point(rough, size, fpir=rate, adjustment=q.adjustment)
                    matched += int(point.is_same(q.margins[~q.known]).sum())
                    expected += point.target_fpir * int((~q.known).sum())
            if matched >= _MIN_MATCHED:
                sizes.append(np.log(size / CROWDING_START))
                gaps.append(np.log(matched / expected))
    if len(set(sizes)) < 2:
        return 1.0
    # Halfway to independent comparisons, since the slope differs by 0.1 between halves of people.
    return float(np.clip(1.0 + np.polyfit(sizes, gaps, 1)[0] / 2, *_CROWDING_LIMITS))


def _sureness(queries: list[_Queries], calibration: Calibration) -> Float64:
    """Calibration.sureness: logistic regression on the likeliest candidates."""
    evidence, weights = [], []
    for q in queries:
        point = operating_point(calibration, q.size, adjustment=q.adjustment)
        evidence.append(point.probability_features(q.margins))
        counts = np.array([(~q.known).sum(), q.known.sum()])
        weights.append((1_000 / np.maximum(1, counts))[q.known.astype(int)])
    right = np.concatenate([np.empty(0, np.bool_), *(q.right for q in queries)])
    if len(np.unique(right)) < 2:
        return NO_CALIBRATION.probability_weights
    fitted = LogisticRegression(C=1e3, max_iter=5_000, fit_intercept=False).fit(
        np.concatenate(evidence), right, np.concatenate(weights)
    )
    return np.array(fitted.coef_[0], dtype=np.float64)
