"""Photos that would teach a lie: one picture under two names, or twice under one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gallery.training.encode import EncodedPeople
from gallery.types import Int64

_BLOCK = 1024


@dataclass(frozen=True)
class Conflicts:
    """What was left out.

    two_names : pairs of photos of different people that are one picture; both are left out.
    copies : photos that the same person has already.
    """

    two_names: tuple[tuple[str, str], ...]
    copies: tuple[str, ...]


def without_conflicts(people: EncodedPeople) -> tuple[EncodedPeople, Conflicts]:
    """The people without those photos, found by file hash and by near-identical encodings."""
    first, second = _identical(people)
    apart = people.people[first] != people.people[second]
    out = set(first[apart].tolist()) | set(second[apart].tolist()) | set(second[~apart].tolist())
    kept = people.take(np.array([i for i in range(len(people)) if i not in out], dtype=np.int64))
    copies = sorted(set(second[~apart].tolist()))
    return kept, Conflicts(
        tuple(
            (people.photos[a], people.photos[b])
            for a, b in zip(first[apart].tolist(), second[apart].tolist(), strict=True)
        ),
        tuple(people.photos[i] for i in copies),
    )


def in_both(people: EncodedPeople, others: EncodedPeople) -> Int64:
    """Rows of `people` whose picture is among the others', by hash or near-identical encoding."""
    hashes = set(others.sha256)
    found = np.array([sha in hashes for sha in people.sha256], dtype=np.bool_)
    for start in range(0, len(people), _BLOCK):
        some = slice(start, start + _BLOCK)
        cosines = people.probes.vectors[some] @ others.probes.vectors.T
        found[some] |= (cosines >= border(people)).any(axis=1)
    return np.flatnonzero(found)


def border(people: EncodedPeople) -> float:
    """The cosine from which on two photos are one picture; beyond 1 where that is not known."""
    return np.inf if people.near_identical is None else people.near_identical


def _identical(people: EncodedPeople) -> tuple[Int64, Int64]:
    """Pairs (first < second) of rows that are one picture, int64 (p,) each."""
    hashes = np.unique(np.array(people.sha256, dtype=str), return_inverse=True)[1]
    pairs = [np.empty((0, 2), dtype=np.int64)]
    vectors = people.probes.vectors
    for start in range(0, len(people), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(people)))
        same = vectors[block] @ vectors.T >= border(people)
        same |= hashes[block, None] == hashes[None, :]
        rows, columns = np.nonzero(same)
        upper = columns > block[rows]
        pairs.append(np.stack([block[rows[upper]], columns[upper]], axis=1))
    found = np.concatenate(pairs)
    return found[:, 0], found[:, 1]
