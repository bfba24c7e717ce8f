"""The five deciders side by side, on people that none of them was made with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from gallery.evaluation.baselines import Decider, random_pairs
from gallery.evaluation.benchmarks import FARS, FPIRS
from gallery.training.calibrate import draw_gallery
from gallery.training.encode import EncodedPeople
from gallery.training.identification import Answers, answers_of
from gallery.types import Bool, Float64, Int64

_BOOTSTRAPS = 200
_GALLERY_SHARE = 0.5
_BINS = 15


@dataclass(frozen=True)
class Scored:
    """One decider's scores, for tables and plots.

    scores, same, probabilities : of pairs, (p,); probabilities where they were calibrated.
    strangers, found : float64, the likeliest candidates' scores in one gallery: of
        strangers, and of known people or -inf where the candidate is wrong.
    """

    name: str
    said: str
    scores: Float64
    same: Int64
    probabilities: Float64 | None
    strangers: Float64
    found: Float64


def compare_deciders(
    deciders: Sequence[Decider],
    people: EncodedPeople,
    *,
    seed: int,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> tuple[dict[str, Any], list[Scored]]:
    """Figures with 95 % bootstrap intervals over people, and what they were computed from."""
    first, second, same = random_pairs(people, seed)
    a, b = people.probes.take(first), people.enrolled.take(second)
    rng = np.random.default_rng(seed)
    size = max(1, round(_GALLERY_SHARE * len(np.unique(people.people))))
    drawn = draw_gallery(people, size, rng)
    probes = people.probes.take(drawn.probes)
    draws = _person_weights(int(people.people.max()) + 1, rng)
    figures: dict[str, Any] = {}
    scored: list[Scored] = []
    for done, decider in enumerate(deciders):
        progress(done, len(deciders))
        scores = decider.scores(a, b)
        answers = answers_of(
            decider.cross(probes, drawn.templates.encodings).astype(np.float64), people, drawn
        )
        probabilities = decider.probabilities(scores) if decider.calibrated else None
        one = Scored(
            decider.name,
            decider.said,
            scores,
            same,
            probabilities,
            answers.scores[~answers.known],
            np.where(answers.right, answers.scores, -np.inf)[answers.known],
        )
        value = _figures(
            one, answers, decider.threshold, np.ones(len(same)), np.ones(len(answers.people))
        )
        # A pair is resampled as often as both of its people are.
        again = [
            _figures(one, answers, decider.threshold, pairs, asked)
            for draw in draws
            for pairs in [draw[people.people[first]] * draw[people.people[second]]]
            for asked in [draw[answers.people]]
            if _tells(pairs, same) and _tells(asked, answers.known)
        ]
        figures[decider.name] = {"said": decider.said} | {
            key: {
                "value": value[key],
                "interval": np.percentile([x[key] for x in again], (2.5, 97.5)).tolist(),
            }
            for key in value
        }
        scored.append(one)
    progress(len(deciders), len(deciders))
    table = {
        "deciders": figures,
        "gallery": size,
        "pairs": len(same),
        "bootstraps": _BOOTSTRAPS,
        "seed": seed,
    }
    return table, scored


def _tells(weights: Float64, kinds: Int64 | Bool) -> bool:
    """Whether a resample has some of both kinds."""
    return bool(weights[kinds == 0].sum() > 0 and weights[kinds == 1].sum() > 0)


def _figures(
    one: Scored, answers: Answers, threshold: float, pairs: Float64, asked: Float64
) -> dict[str, float]:
    """pairs, asked : weights of the pairs, (p,), and of the gallery's queries, (q,)."""
    even = pairs * _even(one.same, pairs)
    known = answers.known
    found = {
        "roc_auc": float(roc_auc_score(one.same, one.scores, sample_weight=even)),
        "average_precision": float(
            average_precision_score(one.same, one.scores, sample_weight=even)
        ),
    }
    if one.probabilities is not None:
        verdicts = one.scores > threshold
        found |= {
            "accuracy": float(np.average(verdicts == (one.same == 1), weights=even)),
            "brier": float(brier_score_loss(one.same, one.probabilities, sample_weight=even)),
            "calibration_error": _calibration_error(one.probabilities, one.same, even),
        }
    found |= {f"vr_at_far_{far:g}": _vr(one.scores, one.same, pairs, far) for far in FARS}
    for rate in FPIRS:
        hits = answers.right & (answers.scores > _border(answers, asked, rate))
        found[f"dir_at_fpir_{rate:g}"] = float(np.average(hits[known], weights=asked[known]))
    return found | {"rank1": float(np.average(answers.right[known], weights=asked[known]))}


def _person_weights(people: int, rng: np.random.Generator) -> Float64:
    """How often each person is in each bootstrap, (draws, people)."""
    return np.stack(
        [
            np.bincount(rng.integers(0, people, people), minlength=people).astype(np.float64)
            for _ in range(_BOOTSTRAPS)
        ]
    )


def _even(same: Int64, weights: Float64) -> Float64:
    """Factors that make both kinds of pair weigh the same."""
    totals = np.array([weights[same == 0].sum(), weights[same == 1].sum()])
    factors: Float64 = (1.0 / np.maximum(totals, 1e-9))[same]
    return factors


def _vr(scores: Float64, same: Int64, weights: Float64, far: float) -> float:
    order = np.argsort(-scores[same == 0])
    above = np.cumsum(weights[same == 0][order])
    border = scores[same == 0][order[np.searchsorted(above, far * above[-1])]]
    return float(np.average(scores[same == 1] > border, weights=weights[same == 1]))


def _border(answers: Answers, weights: Float64, rate: float) -> float:
    scores, weights = answers.scores[~answers.known], weights[~answers.known]
    order = np.argsort(-scores)
    above = np.cumsum(weights[order])
    return float(scores[order[np.searchsorted(above, rate * above[-1])]])


def _calibration_error(probabilities: Float64, same: Int64, weights: Float64) -> float:
    bins = np.minimum((probabilities * _BINS).astype(np.int64), _BINS - 1)
    gaps = np.bincount(bins, (probabilities - same) * weights, _BINS)
    return float(np.abs(gaps).sum() / weights.sum())
