"""Which pairs of faces a head is shown: all of the same person, and mostly the hardest of two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gallery.training.encode import EncodedPeople
from gallery.types import Float32, Int64

_MOST_PER_PERSON = 40
_NEGATIVES_PER_POSITIVE = 4
_HARD_SHARE = 0.9
_HARD_NEIGHBOURS = 50
_BLOCK = 1024


@dataclass(frozen=True)
class Pairs:
    """Rows of an EncodedPeople, int64 (p,) each, and the target: 1 same person, 0 two people.

    weights : float32 (p,), so that both targets weigh the same in total.
    """

    first: Int64
    second: Int64
    same: Int64
    weights: Float32


class PairSampler:
    """Draws pairs from people. Hard negatives are among each face's nearest of other people."""

    def __init__(self, people: EncodedPeople) -> None:
        self._people = people.people
        self._near = _nearest_of_others(people, _HARD_NEIGHBOURS)

    def draw(self, rng: np.random.Generator) -> Pairs:
        """One epoch's pairs: up to 40 of each person, and four times as many of two people."""
        positives = np.concatenate([self._of_one(p, rng) for p in np.unique(self._people)])
        hard = round(len(positives) * _NEGATIVES_PER_POSITIVE * _HARD_SHARE)
        a = rng.integers(0, len(self._people), hard)
        b = self._near[a, rng.integers(0, self._near.shape[1], hard)]
        easy = rng.integers(
            0, len(self._people), (len(positives) * _NEGATIVES_PER_POSITIVE - hard, 2)
        )
        easy = easy[self._people[easy[:, 0]] != self._people[easy[:, 1]]]
        rows = np.concatenate([positives, np.stack([a, b], axis=1), easy])
        same = np.zeros(len(rows), dtype=np.int64)
        same[: len(positives)] = 1
        share = np.array([len(rows) - len(positives), len(positives)]) * 2 / len(rows)
        return Pairs(rows[:, 0], rows[:, 1], same, (1.0 / share[same]).astype(np.float32))

    def _of_one(self, person: int, rng: np.random.Generator) -> Int64:
        rows = np.flatnonzero(self._people == person)
        pairs = np.stack(np.triu_indices(len(rows), k=1), axis=1)
        if len(pairs) > _MOST_PER_PERSON:
            pairs = pairs[rng.choice(len(pairs), _MOST_PER_PERSON, replace=False)]
        return rows[pairs]


def _nearest_of_others(people: EncodedPeople, k: int) -> Int64:
    """The k nearest rows of other people, int64 (n, k)."""
    vectors = people.enrolled.vectors
    n = len(vectors)
    k = min(k, n - int(np.bincount(people.people).max()))
    near = np.empty((n, k), dtype=np.int64)
    for start in range(0, n, _BLOCK):
        block = slice(start, min(start + _BLOCK, n))
        cosines = vectors[block] @ vectors.T
        cosines[people.people[block, None] == people.people[None, :]] = -np.inf
        near[block] = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
    return near
