"""Open-set identification: random galleries, asked about the known and about strangers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score

from gallery.matching.head import Head
from gallery.matching.scorer import near_margins
from gallery.training.calibrate import Drawn, draw_gallery
from gallery.training.encode import EncodedPeople
from gallery.training.pairs import PairSampler
from gallery.types import Bool, Float64, Int64


@dataclass(frozen=True)
class Answers:
    """The likeliest candidate of each query.

    people : int64 (q,), who it is.  known : bool (q,).  right : bool (q,), the candidate is that
    person.  scores : float64 (q,).
    """

    people: Int64
    known: Bool
    right: Bool
    scores: Float64

    def strangers_over(self, score: float) -> float:
        """FPIR: the share of strangers' queries that exceed the score."""
        return float((self.scores[~self.known] > score).mean()) if (~self.known).any() else 0.0

    def found_over(self, score: float) -> float:
        """DIR: the share of known people's queries that are right and exceed the score."""
        return float((self.right & (self.scores > score))[self.known].mean())

    def score_at(self, rate: float) -> float:
        """With hindsight: the lowest score that at most this share of strangers exceeds."""
        falling = -np.sort(-self.scores[~self.known])
        return float(falling[int(rate * len(falling))])


def found_share(head: Head, people: EncodedPeople, *, rate: float, seed: int) -> float:
    """DIR at an FPIR with hindsight, over five random galleries of half of these people."""
    rng = np.random.default_rng(seed)
    size = max(1, len(np.unique(people.people)) // 2)
    shares = []
    for _ in range(5):
        drawn = draw_gallery(people, size, rng)
        probes = people.probes.take(drawn.probes)
        margins = near_margins(head, probes, drawn.templates.encodings)
        answers = answers_of(margins.astype(np.float64), people, drawn)
        shares.append(answers.found_over(answers.score_at(rate)))
    return float(np.mean(shares))


def hard_pairs_auc(head: Head, people: EncodedPeople, *, seed: int) -> tuple[float, float]:
    """Areas under the ROC curves of the head's margin and of the distance, on hard pairs."""
    pairs = PairSampler(people).draw(np.random.default_rng(seed))
    a, b = people.probes.take(pairs.first), people.enrolled.take(pairs.second)
    distances = np.linalg.norm(a.vectors - b.vectors, axis=1)
    margins = head.margins(head.sides(a), head.sides(b))
    return (
        float(roc_auc_score(pairs.same, margins)),
        float(roc_auc_score(pairs.same, -distances)),
    )


def answers_of(scores: Float64, people: EncodedPeople, drawn: Drawn) -> Answers:
    """Scores (queries, identities) to each query's likeliest candidate."""
    best = scores.argmax(axis=1)
    owners = people.people[drawn.probes]
    right = drawn.templates.identity_ids[best] == owners
    return Answers(owners, drawn.known, right, scores[np.arange(len(scores)), best])
