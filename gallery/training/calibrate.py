"""Fit a head on half of the people, and calibrate its margins on the other half."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from sklearn.linear_model import LogisticRegression

from gallery.matching.calibration import (
    CROWDING_START,
    Calibration,
    Caution,
    ImpostorPrior,
)
from gallery.matching.gallery_margins import cross_margins, gallery_impostors, gallery_margins
from gallery.matching.head import Head, HeadMetadata
from gallery.matching.operating_curve import OperatingCurve
from gallery.matching.operating_point import DEFAULT_FPIR, probability_features
from gallery.matching.templates import fuse_templates
from gallery.progress import Progress, no_progress
from gallery.training.encode import EncodedPeople
from gallery.training.identification import found_share
from gallery.training.random_galleries import Queries, random_queries, sample_per_person
from gallery.training.told_apart import preference_slope
from gallery.training.train import Epoch, FittedNetworks, Recipe, halves, train
from gallery.types import Float32, Float64

_HIGHEST_RATE, _POINTS_A_DECADE = 0.5, 6
_MIN_PAIRS_PER_POINT = 120
"""The same few pairs are the highest in every draw, and may be relatives or wrong labels."""
_MAX_FACES = 2_500
_KNOWN_PHOTOS = (1, 2, 3)
_MOST_CAUTIOUS_SIZE = 100
"""A larger gallery has shown what there is to know of its strangers."""
_CAUTION_RATES = (0.1, 0.03, 0.01, 0.003, 0.001)
_DRAWS = 3
_PRIOR_SIZE = 400
_PER_FACE_LOSS = 0.005
"""Subtracting faces' mean margins may cost this share of the known people among mixed people."""
_CROWDING_RATES = (0.1, 0.03, 0.01)
_CROWDING_LIMITS = 0.8, 1.0
_MIN_MATCHED = 10
_NO_CURVE = OperatingCurve(np.array([0.0, -1.0]), np.array([0.0, 1.0]), 2)
NO_CALIBRATION = Calibration(
    _NO_CURVE,
    ImpostorPrior(0.0, 1.0, 1.0, 0.0, 0.0, per_face=False),
    Caution((1,), (0.01,), ((1.0,),)),
    1.0,
    np.zeros((3, 101)),
    np.array([0.0, 1.0, 0.0, 0.0]),
    0.0,
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
    prior = impostor_prior(head, people, rng)
    rough = replace(NO_CALIBRATION, prior=prior)
    strangers = operating_curve(stranger_margins(head.recalibrated(rough), people, rng))
    known = known_margins(head, people, rng)
    rough = replace(rough, strangers=strangers, known=known)
    queries = list(random_queries(head.recalibrated(rough), people, rng))
    calibration = replace(rough, crowding=_crowding(queries, rough))
    calibration = replace(calibration, caution=_caution(queries, calibration))
    return replace(
        calibration,
        probability_weights=_sureness(queries, calibration),
        preference=preference_slope(head.recalibrated(rough), people, rng),
    )


def impostor_prior(head: Head, people: EncodedPeople, rng: np.random.Generator) -> ImpostorPrior:
    """Measure the margins between these people, and whether faces' mean margins are subtracted."""
    moments = []
    for _ in range(_DRAWS):
        rows = rng.permutation(sample_per_person(people.people, 1, rng))[:_PRIOR_SIZE]
        enrolled = people.enrolled.take(rows)
        count, others = len(rows), ~np.eye(len(rows), dtype=np.bool_)
        margins = np.where(others, cross_margins(head, enrolled, enrolled), 0.0).astype(np.float64)
        probes = np.where(others, cross_margins(head, people.probes.take(rows), enrolled), 0.0)
        mean = margins[others].mean()
        by_face, by_template, by_probe = (
            m.sum(axis=axis, dtype=np.float64) / (count - 1)
            for m, axis in ((margins, 1), (margins, 0), (probes, 1))
        )
        residuals = (margins - by_face[:, None] - by_template + mean)[others]
        residual = residuals.var()
        chance = residual / (count - 1)
        moments.append(
            (
                mean,
                margins[others].std(),
                residual**0.5,
                max(0.0, by_template.var(ddof=1) - chance),
                max(0.0, by_probe.var(ddof=1) - chance),
            )
        )
    mean, deviation, residual, *variances = np.mean(moments, axis=0).tolist()
    prior = ImpostorPrior(mean, deviation, residual, variances[0], variances[1], per_face=False)
    found = {}
    for per_face in (False, True):
        candidate = replace(prior, per_face=per_face)
        tried = head.recalibrated(replace(NO_CALIBRATION, prior=candidate))
        found[per_face] = found_share(tried, people, rate=DEFAULT_FPIR, seed=0)
    return replace(prior, per_face=found[True] >= found[False] - _PER_FACE_LOSS)


def operating_curve(margins: Float32) -> OperatingCurve:
    """The operating curve of impostor margins, down to the rate that 120 pairs support."""
    falling = -np.sort(-margins.astype(np.float64))
    lowest = min(_MIN_PAIRS_PER_POINT / len(falling), _HIGHEST_RATE / 10)
    decades = np.log10(_HIGHEST_RATE / lowest)
    log10_rates = np.linspace(
        np.log10(_HIGHEST_RATE), np.log10(lowest), max(2, round(decades * _POINTS_A_DECADE))
    )
    return OperatingCurve(log10_rates, falling[(10.0**log10_rates * len(falling)).astype(np.int64)])


def stranger_margins(head: Head, people: EncodedPeople, rng: np.random.Generator) -> Float32:
    """Margins of probes to templates of other people, on the scale of the prior, (p,).

    One random face per person, as in a gallery of one photo each; drawn several times.
    """
    drawn: list[Float32] = []
    for _ in range(_DRAWS):
        rows = sample_per_person(people.people, 1, rng)
        rows = np.sort(rng.permutation(rows)[:_MAX_FACES])
        templates = fuse_templates(people.people[rows], people.enrolled.take(rows))
        rows = rows[np.argsort(people.people[rows])]
        impostors = gallery_impostors(head, templates.identity_ids, templates.encodings)
        margins = gallery_margins(head, people.probes.take(rows), templates, impostors)
        others = margins[~np.eye(len(rows), dtype=np.bool_)].astype(np.float64)
        drawn.append(impostors.adjustment().from_gallery(others).astype(np.float32))
    return np.concatenate(drawn)


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


def _crowding(queries: list[Queries], rough: Calibration) -> float:
    """Calibration.crowding: how much slower FPIR grows with the gallery than it would if the
    comparisons were independent.
    """
    sizes, gaps = [], []
    for size in sorted({q.size for q in queries if q.size >= CROWDING_START}):
        strangers, weights = _strangers(queries, size)
        for rate in _CROWDING_RATES:
            is_matched = strangers > rough.margin_at(rate, size)
            if is_matched.sum() >= _MIN_MATCHED:
                sizes.append(np.log(size / CROWDING_START))
                gaps.append(np.log(np.average(is_matched, weights=weights) / rate))
    if len(set(sizes)) < 2:
        return 1.0
    # Halfway to independent comparisons, since the slope differs by 0.1 between halves of people.
    return float(np.clip(1.0 + np.polyfit(sizes, gaps, 1)[0] / 2, *_CROWDING_LIMITS))


def _caution(queries: list[Queries], calibration: Calibration) -> Caution:
    """Calibration.caution: the rate stated over the rate that the curve has at the margin which
    this share of strangers exceeds.
    """
    sizes = sorted({q.size for q in queries if q.size <= _MOST_CAUTIOUS_SIZE})
    factors = []
    for size in sizes:
        strangers, weights = _strangers(queries, size)
        order = np.argsort(-strangers)
        above = np.cumsum(weights[order]) / weights.sum()
        row = []
        for rate in _CAUTION_RATES:
            margin = strangers[order[min(int(np.searchsorted(above, rate)), len(order) - 1)]]
            matches = calibration.false_matches(np.array([margin]), size)[0]
            row.append(max(1.0, rate / max(float(-np.expm1(-matches)), 1e-12)))
        factors.append(tuple(row))
    if not sizes:
        return NO_CALIBRATION.caution
    return Caution(tuple(sizes), _CAUTION_RATES, tuple(factors))


def _strangers(queries: list[Queries], size: int) -> tuple[Float64, Float64]:
    """The margins of strangers in galleries of this size, and their weights, (m,) each."""
    parts = [(q.margins[~q.known], q.weight) for q in queries if q.size == size]
    margins = np.concatenate([margins for margins, _ in parts])
    weights = np.concatenate([np.full(len(m), w / max(1, len(m))) for m, w in parts])
    return margins, weights


def _sureness(queries: list[Queries], calibration: Calibration) -> Float64:
    """Calibration.probability_weights: logistic regression on the likeliest candidates."""
    evidence, weights = [], []
    for q in queries:
        evidence.append(probability_features(calibration, q.margins, q.size))
        counts = np.array([(~q.known).sum(), q.known.sum()])
        weights.append((q.weight / np.maximum(1, counts))[q.known.astype(int)])
    right = np.concatenate([np.empty(0, np.bool_), *(q.right for q in queries)])
    if len(np.unique(right)) < 2:
        return NO_CALIBRATION.probability_weights
    scale = len(right) / np.concatenate(weights).sum()
    fitted = LogisticRegression(C=1e3, max_iter=5_000, fit_intercept=False).fit(
        np.concatenate(evidence), right, np.concatenate(weights) * scale
    )
    return np.array(fitted.coef_[0], dtype=np.float64)
