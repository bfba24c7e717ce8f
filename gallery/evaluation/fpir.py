"""The promise, measured: how many strangers get a name in galleries of people no one learned from.

Beside it the known who are found, what a cosine threshold set with hindsight to the same measured
rate would find, and what a fixed Euclidean distance of 0.6 does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gallery.evaluation.baselines import Cosine, Euclidean, Headed
from gallery.matching.head import Head
from gallery.matching.operating_point import OperatingPoint, operating_point
from gallery.matching.scorer import own_adjustment
from gallery.training.calibrate import draw_gallery
from gallery.training.encode import EncodedPeople
from gallery.training.identification import Answers, answers_of
from gallery.training.statistics import interval
from gallery.types import Bool, Float64

SIZES = (10, 100, 1_000, 2_000)
RATES = (0.1, 0.01, 0.001)
FIXED_DISTANCE = 0.6
_PROBES_EACH = 5
_BINS = 10


@dataclass(frozen=True)
class _Draw:
    """One gallery's answers by each decider, and its operating point at each rate."""

    head: Answers
    cosine: Answers
    euclidean: Answers
    points: dict[float, OperatingPoint]


def measure_promise(
    head: Head,
    people: EncodedPeople,
    *,
    seed: int,
    photos: int = 1,
    sizes: tuple[int, ...] = SIZES,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> dict[str, Any]:
    """Random galleries of these people; the others, and at most five photos each, are asked about.

    photos : enrolled of each, at most.  Sizes that leave no strangers are left out.
    """
    everyone = len(np.unique(people.people))
    sizes = tuple(size for size in sizes if size < everyone) or (max(1, everyone // 2),)
    rng = np.random.default_rng(seed)
    rows, decisions = [], []
    for done, size in enumerate(sizes):
        progress(done, len(sizes))
        draws = [_draw(head, people, size, photos, rng) for _ in range(_draws(size))]
        rows += [_row(draws, size, rate, seed) for rate in RATES]
        decisions += [
            (draw.head, draw.points[RATES[0]].probabilities(draw.head.scores.astype(np.float32)))
            for draw in draws
        ]
    progress(len(sizes), len(sizes))
    return {
        "people": everyone,
        "photos_enrolled": photos,
        "galleries": rows,
        "calibration": calibration_error(decisions),
        "seed": seed,
    }


def _draws(size: int) -> int:
    """More galleries of fewer people."""
    return int(np.clip(2_000 // size, 3, 40))


def _draw(
    head: Head, people: EncodedPeople, size: int, photos: int, rng: np.random.Generator
) -> _Draw:
    drawn = draw_gallery(people, size, rng, photos=photos, probes_each=_PROBES_EACH)
    templates, probes = drawn.templates, people.probes.take(drawn.probes)
    ours, cosine, euclidean = (
        answers_of(decider.cross(probes, templates.encodings).astype(np.float64), people, drawn)
        for decider in (Headed(head, "head", ""), Cosine(), Euclidean())
    )
    adjustment = own_adjustment(head, templates.identity_ids, templates.encodings)
    calibration = head.marks.calibration
    points = {
        rate: operating_point(calibration, size, rate=rate, adjustment=adjustment) for rate in RATES
    }
    return _Draw(ours, cosine, euclidean, points)


def _row(draws: list[_Draw], size: int, rate: float, seed: int) -> dict[str, Any]:
    accepted = [draw.head.scores > draw.points[rate].bias for draw in draws]
    measured = _share(draws, [a & ~d.head.known for a, d in zip(accepted, draws, strict=True)], 0)
    found = _share(
        draws,
        [a & d.head.right & d.head.known for a, d in zip(accepted, draws, strict=True)],
        1,
    )
    right = [a & d.head.right for a, d in zip(accepted, draws, strict=True)]
    border = _border(draws, min(measured, 0.999))
    hindsight = [d.cosine.right & d.cosine.known & (d.cosine.scores > border) for d in draws]
    fixed = [draw.euclidean.scores > -FIXED_DISTANCE for draw in draws]
    return {
        "gallery": size,
        "galleries": len(draws),
        "promised": rate,
        "strangers_named": measured,
        "strangers_named_interval": _interval(draws, accepted, seed, known=False),
        "strangers": sum(int((~d.head.known).sum()) for d in draws),
        "known_found": found,
        "known_found_interval": _interval(draws, right, seed, known=True),
        "cosine_with_hindsight_found": _share(draws, hindsight, 1),
        "expected_found": float(np.mean([d.points[rate].expected_found(1) for d in draws])),
        "distance_0.6_strangers_named": _share(
            draws, [f & ~d.head.known for f, d in zip(fixed, draws, strict=True)], 0
        ),
        "distance_0.6_known_found": _share(
            draws,
            [f & d.euclidean.right & d.head.known for f, d in zip(fixed, draws, strict=True)],
            1,
        ),
    }


def _border(draws: list[_Draw], rate: float) -> float:
    """One cosine for all galleries that lets in as many of their strangers."""
    falling = -np.sort(-np.concatenate([d.cosine.scores[~d.cosine.known] for d in draws]))
    return float(falling[int(rate * len(falling))])


def _share(draws: list[_Draw], hits: list[Bool], known: int) -> float:
    asked = sum(int((draw.head.known == bool(known)).sum()) for draw in draws)
    return sum(int(hit.sum()) for hit in hits) / max(1, asked)


def _interval(draws: list[_Draw], hits: list[Bool], seed: int, *, known: bool) -> list[float]:
    """Over people; a person who was asked about in several galleries counts once."""
    those = [draw.head.known == known for draw in draws]
    people = np.concatenate([d.head.people[t] for d, t in zip(draws, those, strict=True)])
    hit = np.concatenate([h[t] for h, t in zip(hits, those, strict=True)])
    return list(interval(people, hit, seed=seed)) if len(hit) else [0.0, 1.0]


def calibration_error(decisions: list[tuple[Answers, Float64]]) -> dict[str, Any]:
    """Expected calibration error of the likeliest candidates' probabilities.

    Every gallery weighs the same, and in each the strangers as much as the known. Ten bins of
    equal weight.
    """
    probabilities = np.concatenate([p for _, p in decisions])
    right = np.concatenate([a.right & a.known for a, _ in decisions])
    weights = np.concatenate([_even(a) for a, _ in decisions])
    order = np.argsort(probabilities, kind="stable")
    place = np.cumsum(weights[order]) / weights.sum()
    bins = np.minimum((place * _BINS).astype(np.int64), _BINS - 1)
    said, were, heavy = (
        np.bincount(bins, values[order], _BINS)
        for values in (probabilities * weights, right * weights, weights)
    )
    return {
        "decisions": len(probabilities),
        "expected_calibration_error": float(np.abs(said - were).sum() / weights.sum()),
        "brier": float(((probabilities - right) ** 2 * weights).sum() / weights.sum()),
        "bins": [
            {"said": float(s / w), "were": float(r / w)}
            for s, r, w in zip(said, were, heavy, strict=True)
            if w > 0
        ],
    }


def _even(answers: Answers) -> Float64:
    counts = np.array([(~answers.known).sum(), answers.known.sum()])
    weights: Float64 = (1.0 / np.maximum(1, counts))[answers.known.astype(np.int64)]
    return weights
