"""Deciders compared on people that none of them was fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from gallery.evaluation.baselines import Decider, random_pairs
from gallery.evaluation.benchmarks import FARS, FPIRS
from gallery.progress import Progress, no_progress
from gallery.training.encode import EncodedPeople
from gallery.training.identification import TopCandidates, top_candidates
from gallery.training.random_galleries import draw_gallery
from gallery.types import Bool, Float64, Int64

_BOOTSTRAPS = 200
_GALLERY_SHARE = 0.5
_BINS = 15


@dataclass(frozen=True)
class DeciderScores:
    """The scores of one decider, for tables and plots.

    scores, same, probabilities : of pairs, (p,); no probabilities unless it is calibrated.
    strangers, known : the score of the likeliest candidate in one gallery, float64: of strangers,
        and of known people, -inf if the candidate is wrong.
    """

    name: str
    label: str
    scores: Float64
    same: Int64
    probabilities: Float64 | None
    strangers: Float64
    known: Float64


def compare_deciders(
    deciders: Sequence[Decider],
    people: EncodedPeople,
    *,
    seed: int,
    progress: Progress = no_progress,
) -> tuple[dict[str, Any], list[DeciderScores]]:
    """Figures with 95 % bootstrap intervals over people, and the scores they are computed from."""
    first, second, same = random_pairs(people, seed)
    a, b = people.probes.take(first), people.enrolled.take(second)
    rng = np.random.default_rng(seed)
    size = max(1, round(_GALLERY_SHARE * len(np.unique(people.people))))
    drawn = draw_gallery(people, size, rng)
    probes = people.probes.take(drawn.probes)
    draws = _person_weights(int(people.people.max()) + 1, rng)
    figures: dict[str, Any] = {}
    scored: list[DeciderScores] = []
    for done, decider in enumerate(deciders):
        progress(done, len(deciders))
        scores = decider.scores(a, b)
        candidates = top_candidates(
            decider.cross(probes, drawn.templates.encodings).astype(np.float64), people, drawn
        )
        probabilities = decider.probabilities(scores) if decider.is_calibrated else None
        result = DeciderScores(
            decider.name,
            decider.label,
            scores,
            same,
            probabilities,
            candidates.scores[~candidates.known],
            np.where(candidates.right, candidates.scores, -np.inf)[candidates.known],
        )
        value = _figures(
            result,
            candidates,
            decider.threshold,
            np.ones(len(same)),
            np.ones(len(candidates.people)),
        )
        # The weight of a pair is the product of its people's.
        resampled = [
            _figures(result, candidates, decider.threshold, pairs, queries)
            for draw in draws
            for pairs in [draw[people.people[first]] * draw[people.people[second]]]
            for queries in [draw[candidates.people]]
            if _has_both(pairs, same) and _has_both(queries, candidates.known)
        ]
        figures[decider.name] = {"said": decider.label} | {
            key: {
                "value": value[key],
                "interval": np.percentile([r[key] for r in resampled], (2.5, 97.5)).tolist(),
            }
            for key in value
        }
        scored.append(result)
    progress(len(deciders), len(deciders))
    table = {
        "deciders": figures,
        "gallery": size,
        "pairs": len(same),
        "bootstraps": _BOOTSTRAPS,
        "seed": seed,
    }
    return table, scored


def _has_both(weights: Float64, kinds: Int64 | Bool) -> bool:
    """Whether a resample has both kinds."""
    return bool(weights[kinds == 0].sum() > 0 and weights[kinds == 1].sum() > 0)


def _figures(
    result: DeciderScores,
    candidates: TopCandidates,
    threshold: float,
    pairs: Float64,
    queries: Float64,
) -> dict[str, float]:
    """pairs, queries : weights of the pairs, (p,), and of the gallery's queries, (q,)."""
    even = pairs * _even(result.same, pairs)
    known = candidates.known
    figures = {
        "roc_auc": float(roc_auc_score(result.same, result.scores, sample_weight=even)),
        "average_precision": float(
            average_precision_score(result.same, result.scores, sample_weight=even)
        ),
    }
    if result.probabilities is not None:
        verdicts = result.scores > threshold
        figures |= {
            "accuracy": float(np.average(verdicts == (result.same == 1), weights=even)),
            "brier": float(brier_score_loss(result.same, result.probabilities, sample_weight=even)),
            "calibration_error": _calibration_error(result.probabilities, result.same, even),
        }
    figures |= {f"vr_at_far_{far:g}": _vr(result.scores, result.same, pairs, far) for far in FARS}
    for rate in FPIRS:
        hits = candidates.right & (candidates.scores > _threshold_at(candidates, queries, rate))
        figures[f"dir_at_fpir_{rate:g}"] = float(np.average(hits[known], weights=queries[known]))
    rank1 = float(np.average(candidates.right[known], weights=queries[known]))
    return figures | {"rank1": rank1}


def _person_weights(people: int, rng: np.random.Generator) -> Float64:
    """How often each person is drawn in each bootstrap sample, (draws, people)."""
    return np.stack(
        [
            np.bincount(rng.integers(0, people, people), minlength=people).astype(np.float64)
            for _ in range(_BOOTSTRAPS)
        ]
    )


def _even(same: Int64, weights: Float64) -> Float64:
    """Factors that give both kinds of pair the same total weight."""
    totals = np.array([weights[same == 0].sum(), weights[same == 1].sum()])
    factors: Float64 = (1.0 / np.maximum(totals, 1e-9))[same]
    return factors


def _vr(scores: Float64, same: Int64, weights: Float64, far: float) -> float:
    order = np.argsort(-scores[same == 0])
    above = np.cumsum(weights[same == 0][order])
    threshold = scores[same == 0][order[np.searchsorted(above, far * above[-1])]]
    return float(np.average(scores[same == 1] > threshold, weights=weights[same == 1]))


def _threshold_at(candidates: TopCandidates, weights: Float64, rate: float) -> float:
    """The score that this share of strangers, by weight, exceeds."""
    strangers = ~candidates.known
    scores, weights = candidates.scores[strangers], weights[strangers]
    order = np.argsort(-scores)
    above = np.cumsum(weights[order])
    return float(scores[order[np.searchsorted(above, rate * above[-1])]])


def _calibration_error(probabilities: Float64, same: Int64, weights: Float64) -> float:
    bins = np.minimum((probabilities * _BINS).astype(np.int64), _BINS - 1)
    gaps = np.bincount(bins, (probabilities - same) * weights, _BINS)
    return float(np.abs(gaps).sum() / weights.sum())
