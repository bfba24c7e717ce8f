"""Open-set identification: probes of known people and strangers against random galleries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score

from gallery.matching.gallery_margins import gallery_impostors, shortlist_margins
from gallery.matching.head import Head
from gallery.training.encode import EncodedPeople
from gallery.training.pairs import PairSampler
from gallery.training.random_galleries import RandomGallery, draw_gallery
from gallery.types import Bool, Float64, Int64


@dataclass(frozen=True)
class TopCandidates:
    """The likeliest candidate of each query.

    people : int64 (q,), the probe's person.
    known : bool (q,), whether that person is enrolled.
    right : bool (q,), whether the candidate is that person.
    scores : float64 (q,), the candidate's.
    """

    people: Int64
    known: Bool
    right: Bool
    scores: Float64

    def fpir_at(self, score: float) -> float:
        """FPIR: the share of strangers' queries with a score above this."""
        return float((self.scores[~self.known] > score).mean()) if (~self.known).any() else 0.0

    def dir_at(self, score: float) -> float:
        """DIR: the share of known people's queries that are right, with a score above this."""
        return float((self.right & (self.scores > score))[self.known].mean())

    def threshold_at_fpir(self, rate: float) -> float:
        """The lowest score that at most this share of these strangers exceeds."""
        falling = -np.sort(-self.scores[~self.known])
        return float(falling[int(rate * len(falling))])


def found_share(head: Head, people: EncodedPeople, *, rate: float, seed: int) -> float:
    """DIR at an FPIR of `rate`, the mean over five random galleries of half of these people.

    The threshold is set on the same queries.
    """
    rng = np.random.default_rng(seed)
    size = max(1, len(np.unique(people.people)) // 2)
    shares = []
    for _ in range(5):
        drawn = draw_gallery(people, size, rng)
        probes = people.probes.take(drawn.probes)
        templates = drawn.templates
        impostors = gallery_impostors(head, templates.identity_ids, templates.encodings)
        margins = shortlist_margins(head, probes, templates, impostors)
        candidates = top_candidates(margins.astype(np.float64), people, drawn)
        shares.append(candidates.dir_at(candidates.threshold_at_fpir(rate)))
    return float(np.mean(shares))


def hard_pairs_auc(head: Head, people: EncodedPeople, *, seed: int) -> tuple[float, float]:
    """ROC AUC of the head's margin and of the Euclidean distance, on hard pairs."""
    pairs = PairSampler(people).draw(np.random.default_rng(seed))
    a, b = people.probes.take(pairs.first), people.enrolled.take(pairs.second)
    distances = np.linalg.norm(a.vectors - b.vectors, axis=1)
    margins = head.margins(head.sides(a), head.sides(b))
    return (
        float(roc_auc_score(pairs.same, margins)),
        float(roc_auc_score(pairs.same, -distances)),
    )


def top_candidates(scores: Float64, people: EncodedPeople, drawn: RandomGallery) -> TopCandidates:
    """The likeliest candidate of each query.  scores : (queries, identities)."""
    best = scores.argmax(axis=1)
    owners = people.people[drawn.probes]
    right = drawn.templates.identity_ids[best] == owners
    return TopCandidates(owners, drawn.known, right, scores[np.arange(len(scores)), best])
