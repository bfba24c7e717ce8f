"""Label noise: duplicates within and across identities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gallery.training.encode import EncodedPeople
from gallery.types import Int64

_BLOCK = 1024


@dataclass(frozen=True)
class DuplicatePhotos:
    """Photos that were left out.

    across_people : pairs of photos of two people that are the same picture; both are left out.
    within_person : further copies of a photo of the same person.
    """

    across_people: tuple[tuple[str, str], ...]
    within_person: tuple[str, ...]


def without_duplicates(people: EncodedPeople) -> tuple[EncodedPeople, DuplicatePhotos]:
    """Leave out duplicates, found by file hash and by near-identical encodings."""
    first, second = _identical(people)
    across = people.people[first] != people.people[second]
    copies = np.unique(second[~across])
    left_out = np.concatenate([first[across], second[across], copies])
    return people.take(np.setdiff1d(np.arange(len(people)), left_out)), DuplicatePhotos(
        tuple(
            (people.photos[a], people.photos[b])
            for a, b in zip(first[across].tolist(), second[across].tolist(), strict=True)
        ),
        tuple(people.photos[i] for i in copies.tolist()),
    )


def rows_also_in(people: EncodedPeople, others: EncodedPeople) -> Int64:
    """Rows of `people` whose picture is also among the others, int64."""
    hashes = set(others.sha256)
    is_shared = np.array([sha256 in hashes for sha256 in people.sha256], dtype=np.bool_)
    for start in range(0, len(people), _BLOCK):
        block = slice(start, start + _BLOCK)
        cosines = people.probes.vectors[block] @ others.probes.vectors.T
        is_shared[block] |= (cosines >= duplicate_cosine(people)).any(axis=1)
    return np.flatnonzero(is_shared)


def duplicate_cosine(people: EncodedPeople) -> float:
    """Two photos with at least this cosine are the same picture; infinity if it is not known."""
    return np.inf if people.near_identical is None else people.near_identical


def _identical(people: EncodedPeople) -> tuple[Int64, Int64]:
    """Pairs (first < second) of rows that are the same picture, int64 (p,) each."""
    hashes = np.unique(np.array(people.sha256, dtype=str), return_inverse=True)[1]
    pairs = [np.empty((0, 2), dtype=np.int64)]
    vectors = people.probes.vectors
    for start in range(0, len(people), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(people)))
        same = vectors[block] @ vectors.T >= duplicate_cosine(people)
        same |= hashes[block, None] == hashes[None, :]
        rows, columns = np.nonzero(same)
        upper = columns > block[rows]
        pairs.append(np.stack([block[rows[upper]], columns[upper]], axis=1))
    joined = np.concatenate(pairs)
    return joined[:, 0], joined[:, 1]
