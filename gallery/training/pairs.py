"""Training pairs: the pairs of the same person, and mostly hard pairs of two people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gallery.training.encode import EncodedPeople
from gallery.types import Float32, Int64

_MAX_PER_PERSON = 40
_NEGATIVES_PER_POSITIVE = 4
_HARD_SHARE = 0.9
_BLOCK = 1024


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows of an EncodedPeople.

    first, second : int64 (p,).
    same : the target, int64 (p,): 1 for the same person, 0 for two people.
    weights : float32 (p,); both targets have the same total weight.
    """

    first: Int64
    second: Int64
    same: Int64
    weights: Float32


class PairSampler:
    """Draws pairs. A hard negative is one of a face's nearest neighbours of other people."""

    def __init__(self, people: EncodedPeople, hard_neighbours: int = 50) -> None:
        self._people = people.people
        self._neighbours = _nearest_of_other_people(people, hard_neighbours)

    def draw(self, rng: np.random.Generator) -> Pairs:
        """Draw one epoch's pairs: up to 40 per person, and four times as many of two people."""
        positives = np.concatenate([self._positives(p, rng) for p in np.unique(self._people)])
        hard = round(len(positives) * _NEGATIVES_PER_POSITIVE * _HARD_SHARE)
        a = rng.integers(0, len(self._people), hard)
        b = self._neighbours[a, rng.integers(0, self._neighbours.shape[1], hard)]
        easy = rng.integers(
            0, len(self._people), (len(positives) * _NEGATIVES_PER_POSITIVE - hard, 2)
        )
        easy = easy[self._people[easy[:, 0]] != self._people[easy[:, 1]]]
        rows = np.concatenate([positives, np.stack([a, b], axis=1), easy])
        same = np.zeros(len(rows), dtype=np.int64)
        same[: len(positives)] = 1
        share = np.array([len(rows) - len(positives), len(positives)]) * 2 / len(rows)
        return Pairs(rows[:, 0], rows[:, 1], same, (1.0 / share[same]).astype(np.float32))

    def _positives(self, person: int, rng: np.random.Generator) -> Int64:
        rows = np.flatnonzero(self._people == person)
        pairs = np.stack(np.triu_indices(len(rows), k=1), axis=1)
        if len(pairs) > _MAX_PER_PERSON:
            pairs = pairs[rng.choice(len(pairs), _MAX_PER_PERSON, replace=False)]
        return rows[pairs]


def _nearest_of_other_people(people: EncodedPeople, k: int) -> Int64:
    """The k nearest rows of other people, int64 (n, k)."""
    vectors = people.enrolled.vectors
    n = len(vectors)
    k = min(k, n - int(np.bincount(people.people).max()))
    neighbours = np.empty((n, k), dtype=np.int64)
    for start in range(0, n, _BLOCK):
        block = slice(start, min(start + _BLOCK, n))
        cosines = vectors[block] @ vectors.T
        cosines[people.people[block, None] == people.people[None, :]] = -np.inf
        neighbours[block] = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
    return neighbours
