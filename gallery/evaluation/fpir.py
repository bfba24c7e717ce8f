"""The promised FPIR, measured in random galleries of people that nothing was trained on.

Also DIR; the DIR of a cosine threshold set with hindsight to the same FPIR; and both rates of a
fixed Euclidean distance of 0.6.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from gallery.evaluation.baselines import Cosine, Euclidean
from gallery.evaluation.groups import Groups, group_rows, sentences
from gallery.matching.gallery_margins import gallery_impostors, gallery_margins
from gallery.matching.head import Head
from gallery.matching.operating_point import OperatingPoint, operating_point
from gallery.progress import Progress, no_progress
from gallery.training.encode import EncodedPeople
from gallery.training.identification import TopCandidates, top_candidates
from gallery.training.random_galleries import draw_gallery
from gallery.training.statistics import interval
from gallery.types import Bool, Float64

SIZES = (10, 100, 1_000, 2_000)
RATES = (0.1, 0.01, 0.001)
FIXED_DISTANCE = 0.6
_PROBES_EACH = 5
_BINS = 10


@dataclass(frozen=True)
class _Draw:
    """One gallery: each decider's likeliest candidates, and the operating point at each rate."""

    head: TopCandidates
    cosine: TopCandidates
    euclidean: TopCandidates
    points: dict[float, OperatingPoint]


def measure_promise(
    head: Head,
    people: EncodedPeople,
    *,
    seed: int,
    photos: int = 1,
    sizes: tuple[int, ...] = SIZES,
    groups: Groups | None = None,
    rate: float = 0.01,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Measure FPIR and DIR in random galleries of these people, with up to five probes per person.

    photos : enrolled per person, at most.
    sizes : of the galleries; sizes that leave no strangers are skipped.
    groups : also measure each of these groups of people alone, in the same galleries of everyone.
    rate : the promised FPIR at which the groups are measured.
    """
    count = len(np.unique(people.people))
    sizes = tuple(size for size in sizes if size < count) or (max(1, count // 2),)
    rng = np.random.default_rng(seed)
    rows, decisions = [], []
    by_group: list[dict[str, Any]] = []
    for done, size in enumerate(sizes):
        progress(done, len(sizes))
        draws = [
            _draw(head, people, size, photos, {*RATES, rate}, rng) for _ in range(_draws(size))
        ]
        if groups is not None:
            queries = [(d.head, d.head.scores > d.points[rate].bias) for d in draws]
            by_group += group_rows(groups.of(people), queries, size, rate, seed)
        rows += [_row(draws, size, rate, seed) for rate in RATES]
        decisions += [
            (draw.head, draw.points[RATES[0]].probabilities(draw.head.scores.astype(np.float32)))
            for draw in draws
        ]
    progress(len(sizes), len(sizes))
    report = {
        "people": count,
        "photos_enrolled": photos,
        "galleries": rows,
        "calibration": calibration_error(decisions),
        "seed": seed,
    }
    if groups is None:
        return report
    return report | {
        "groups": {
            "file": groups.file.name,
            "promised": rate,
            "rows": by_group,
            "sentences": sentences(by_group),
        }
    }


def _draws(size: int) -> int:
    """The number of random galleries of this size; more for small ones."""
    return int(np.clip(2_000 // size, 3, 40))


def _draw(
    head: Head,
    people: EncodedPeople,
    size: int,
    photos: int,
    rates: Collection[float],
    rng: np.random.Generator,
) -> _Draw:
    drawn = draw_gallery(people, size, rng, photos=photos, probes_each=_PROBES_EACH)
    templates, probes = drawn.templates, people.probes.take(drawn.probes)
    cosine, euclidean = (
        top_candidates(decider.cross(probes, templates.encodings).astype(np.float64), people, drawn)
        for decider in (Cosine(), Euclidean())
    )
    impostors = gallery_impostors(head, templates.identity_ids, templates.encodings)
    margins = gallery_margins(head, probes, templates, impostors)
    ours = top_candidates(margins.astype(np.float64), people, drawn)
    calibration = head.metadata.calibration
    points = {
        rate: operating_point(calibration, size, fpir=rate, impostors=impostors) for rate in rates
    }
    return _Draw(ours, cosine, euclidean, points)


def _row(draws: list[_Draw], size: int, rate: float, seed: int) -> dict[str, Any]:
    accepted = [draw.head.scores > draw.points[rate].bias for draw in draws]
    identified = [a & d.head.right for a, d in zip(accepted, draws, strict=True)]
    fpir = _share(draws, accepted, known=False)
    least = _cosine_at(draws, min(fpir, 0.999))
    hindsight = [d.cosine.right & (d.cosine.scores > least) for d in draws]
    fixed = [draw.euclidean.scores > -FIXED_DISTANCE for draw in draws]
    return {
        "gallery": size,
        "galleries": len(draws),
        "promised": rate,
        "strangers_named": fpir,
        "strangers_named_interval": _interval(draws, accepted, seed, known=False),
        "strangers": sum(int((~d.head.known).sum()) for d in draws),
        "known_found": _share(draws, identified, known=True),
        "known_found_interval": _interval(draws, identified, seed, known=True),
        "cosine_with_hindsight_found": _share(draws, hindsight, known=True),
        "expected_found": float(np.mean([d.points[rate].expected_found(1) for d in draws])),
        "distance_0.6_strangers_named": _share(draws, fixed, known=False),
        "distance_0.6_known_found": _share(
            draws, [f & d.euclidean.right for f, d in zip(fixed, draws, strict=True)], known=True
        ),
    }


def _cosine_at(draws: list[_Draw], rate: float) -> float:
    """The cosine that this share of strangers exceeds, over all galleries."""
    falling = -np.sort(-np.concatenate([d.cosine.scores[~d.cosine.known] for d in draws]))
    return float(falling[int(rate * len(falling))])


def _share(draws: list[_Draw], hits: list[Bool], *, known: bool) -> float:
    """The share of hits among the queries of known people, or of strangers."""
    hit = np.concatenate([h[d.head.known == known] for h, d in zip(hits, draws, strict=True)])
    return int(hit.sum()) / max(1, len(hit))


def _interval(draws: list[_Draw], hits: list[Bool], seed: int, *, known: bool) -> list[float]:
    """The interval of that share over people; one in several galleries counts as one person."""
    masks = [draw.head.known == known for draw in draws]
    people = np.concatenate([d.head.people[m] for d, m in zip(draws, masks, strict=True)])
    hit = np.concatenate([h[m] for h, m in zip(hits, masks, strict=True)])
    return list(interval(people, hit, seed=seed)) if len(hit) else [0.0, 1.0]


def calibration_error(decisions: list[tuple[TopCandidates, Float64]]) -> dict[str, Any]:
    """The expected calibration error of the likeliest candidates' probabilities.

    All galleries have the same weight, and within each, strangers and known people. Ten bins of
    equal weight.
    """
    probabilities = np.concatenate([p for _, p in decisions])
    right = np.concatenate([a.right & a.known for a, _ in decisions])
    weights = np.concatenate([_even(a) for a, _ in decisions])
    order = np.argsort(probabilities, kind="stable")
    quantiles = np.cumsum(weights[order]) / weights.sum()
    bins = np.minimum((quantiles * _BINS).astype(np.int64), _BINS - 1)
    predicted, observed, bin_weights = (
        np.bincount(bins, values[order], _BINS)
        for values in (probabilities * weights, right * weights, weights)
    )
    return {
        "decisions": len(probabilities),
        "expected_calibration_error": float(np.abs(predicted - observed).sum() / weights.sum()),
        "brier": float(((probabilities - right) ** 2 * weights).sum() / weights.sum()),
        "bins": [
            {"said": float(p / w), "were": float(o / w)}
            for p, o, w in zip(predicted, observed, bin_weights, strict=True)
            if w > 0
        ],
    }


def _even(candidates: TopCandidates) -> Float64:
    """Weights that give strangers and known people the same total."""
    counts = np.array([(~candidates.known).sum(), candidates.known.sum()])
    weights: Float64 = (1.0 / np.maximum(1, counts))[candidates.known.astype(np.int64)]
    return weights
