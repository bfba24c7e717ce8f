"""Learn a linear projection to 128 numbers: principal components or linear discriminants.

Which one is better depends on the network. So both are learned on half of the people and compared
on the other half; the better one is learned again on all people.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import eigh

from gallery.encoders.projection import Projection
from gallery.matching.templates import fuse_templates
from gallery.training.encode import EncodedPeople
from gallery.types import DIMENSION, Encodings, Float64, Int64

_SHRINKAGE = 3.0
"""Added to every direction, in units of the average variance: a few hundred people are not enough
to estimate 512 variances. Chosen on LFW's train people, from 0.1 to 10."""
_RIDGE = 1e-6
"""Added likewise, so that there are 128 directions even with few people."""
_RATE = 0.01


@dataclass(frozen=True)
class ProjectionChoice:
    """The better projection.

    found_by_kind : the share of known people found by cosine at an FPIR of 1 %, on people that
        nothing was learned from; kinds are "native", "pca" and "supervised".
    """

    projection: Projection
    kind: str
    found_by_kind: dict[str, float]


def choose_projection(people: EncodedPeople, network_sha256: str, seed: int) -> ProjectionChoice:
    """Learn both kinds, and return the better one.

    people : encodings as the network gives them, of more than 128 numbers.
    """
    numbers = np.random.default_rng(seed).permutation(np.unique(people.people))
    first, second = people.for_people(numbers[::2]), people.for_people(numbers[1::2])
    shares = {"native": found_by_cosine(second, seed)}
    for kind, learn in KINDS.items():
        projection = learn(first, network_sha256)
        shares[kind] = found_by_cosine(projected(second, projection), seed)
    best = max(KINDS, key=lambda kind: shares[kind])
    return ProjectionChoice(KINDS[best](people, network_sha256), best, shares)


def projected(people: EncodedPeople, projection: Projection) -> EncodedPeople:
    """The same people with encodings of 128 numbers."""
    return replace(
        people,
        probes=projection.apply(people.probes),
        enrolled=projection.apply(people.enrolled),
    )


def principal_components(people: EncodedPeople, network_sha256: str) -> Projection:
    """The directions in which encodings lie most, each person with the same weight.

    Not centred, so that cosines stay as they are.
    """
    vectors = people.enrolled.vectors.astype(np.float64)
    _, owners, counts = np.unique(people.people, return_inverse=True, return_counts=True)
    spread = (vectors / counts[owners, None]).T @ vectors / len(counts)
    return _projection(np.linalg.eigh(_shrunk(spread, _RIDGE))[1], network_sha256)


def supervised(people: EncodedPeople, network_sha256: str) -> Projection:
    """Fisher's linear discriminants (Fukunaga 1990, ch. 10).

    Not centred; the variance within people is shrunk towards the same in every direction.
    """
    vectors = people.enrolled.vectors.astype(np.float64)
    numbers, owners = np.unique(people.people, return_inverse=True)
    counts = np.bincount(owners)
    means = np.zeros((len(numbers), vectors.shape[1]))
    np.add.at(means, owners, vectors)
    means /= counts[:, None]
    several = counts[owners] > 1
    deviations = (vectors - means[owners])[several]
    freedom = max(1, int(several.sum() - (counts > 1).sum()))
    within = _shrunk(deviations.T @ deviations / freedom, _SHRINKAGE)
    between = _shrunk(means.T @ means / len(means), _RIDGE)
    return _projection(eigh(between, within)[1], network_sha256)


KINDS: dict[str, Callable[[EncodedPeople, str], Projection]] = {
    "pca": principal_components,
    "supervised": supervised,
}


def found_by_cosine(people: EncodedPeople, seed: int, rate: float = _RATE) -> float:
    """DIR at an FPIR of `rate`, by cosine.

    Half of the people with two or more photos are enrolled, with one photo each; all others are
    strangers.
    """
    rng = np.random.default_rng(seed)
    numbers, counts = np.unique(people.people, return_counts=True)
    known = rng.permutation(numbers[counts > 1])[::2]
    rows = np.flatnonzero(np.isin(people.people, known))
    gallery = rows[np.unique(people.people[rows], return_index=True)[1]]
    probes = np.setdiff1d(rows, gallery)
    strangers = np.flatnonzero(~np.isin(people.people, known))
    if not len(probes) or not len(strangers):
        return 0.0
    enrolled = fuse_templates(people.people[gallery], people.enrolled.take(gallery))
    best, score = _nearest(people.probes.take(probes), enrolled.encodings)
    right = enrolled.identity_ids[best] == people.people[probes]
    impostors = -np.sort(-_nearest(people.probes.take(strangers), enrolled.encodings)[1])
    return float((right & (score > impostors[int(rate * len(impostors))])).mean())


def _nearest(queries: Encodings, enrolled: Encodings) -> tuple[Int64, Float64]:
    cosines = queries.vectors @ enrolled.vectors.T
    best = cosines.argmax(axis=1)
    return best, cosines[np.arange(len(cosines)), best].astype(np.float64)


def _shrunk(covariance: Float64, share: float) -> Float64:
    """The covariance with a share of the average variance added to each direction."""
    size = len(covariance)
    shrunk: Float64 = covariance + share * np.trace(covariance) / size * np.eye(size)
    return shrunk


def _projection(ascending: Float64, network_sha256: str) -> Projection:
    """The projection onto the last 128 columns, in reverse order."""
    columns = ascending[:, ::-1][:, :DIMENSION]
    return Projection(np.ascontiguousarray(columns, dtype=np.float32), network_sha256)
