"""Random galleries of mixed people and of people who look alike, and queries to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans

from gallery.matching.gallery_margins import gallery_impostors, shortlist_margins
from gallery.matching.head import Head
from gallery.matching.templates import Templates, fuse_templates
from gallery.training.encode import EncodedPeople
from gallery.types import Bool, Float64, Int64

_MAX_PROBES = 1_000
_TELLING_PAIRS, _LARGEST_ALIKE = 10, 40
_CLUSTERS, _PEOPLE_PER_CLUSTER = (6, 20), 10
_GALLERIES = {1: 60, 2: 60, 3: 60, 5: 60, 10: 60, 20: 60, 40: 40, 100: 30, 300: 12, 700: 6}
"""How many random galleries of each size. In a few small ones, chance outweighs the size."""


def sample_per_person(people: Int64, limit: int, rng: np.random.Generator) -> Int64:
    """At most `limit` random rows of each person, ascending."""
    order = rng.permutation(len(people))
    ranked = order[np.argsort(people[order], kind="stable")]
    owners = people[ranked]
    starts = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]])
    rank = np.arange(len(owners)) - np.repeat(starts, np.diff(np.r_[starts, len(owners)]))
    return np.sort(ranked[rank < limit])


@dataclass(frozen=True)
class RandomGallery:
    """A random gallery of some people, and probes of all of them.

    probes : int64 (q,), rows of the people that are not enrolled.
    known : bool (q,), whether the probe's person is enrolled.
    """

    templates: Templates
    probes: Int64
    known: Bool


def draw_gallery(
    people: EncodedPeople,
    size: int,
    rng: np.random.Generator,
    *,
    photos: int = 1,
    probes_each: int = 5,
) -> RandomGallery:
    """Enrol `size` random people with up to `photos` each, and keep at least one other to query."""
    numbers = np.unique(people.people)
    members = rng.permutation(numbers)[:size]
    order = rng.permutation(np.flatnonzero(np.isin(people.people, members)))
    order = order[np.argsort(people.people[order], kind="stable")]
    owners = people.people[order]
    starts = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]])
    counts = np.diff(np.r_[starts, len(owners)])
    rank = np.arange(len(owners)) - np.repeat(starts, counts)
    allowed = np.minimum(photos, np.maximum(1, np.repeat(counts, counts) - 1))
    enrolled = np.sort(order[rank < allowed])
    rest = np.setdiff1d(np.arange(len(people)), enrolled)
    probes = rest[sample_per_person(people.people[rest], probes_each, rng)]
    templates = fuse_templates(people.people[enrolled], people.enrolled.take(enrolled))
    return RandomGallery(templates, probes, np.isin(people.people[probes], members))


@dataclass(frozen=True)
class Queries:
    """The likeliest candidate of each query of one random gallery.

    size : identities in the gallery.
    weight : of the gallery's queries.
    margins : float64 (q,), on the scale of the head's curve.
    right, known : bool (q,), whether the candidate, or anyone enrolled, is the probe's person.
    """

    size: int
    weight: float
    margins: Float64
    right: Bool
    known: Bool


def query_gallery(
    head: Head,
    people: EncodedPeople,
    size: int,
    photos: int,
    rng: np.random.Generator,
    weight: float = 1.0,
) -> Queries:
    """Query a random gallery of these people, with up to `photos` each, by at most 1,000 faces."""
    drawn = draw_gallery(people, size, rng, photos=photos)
    chosen = np.sort(rng.permutation(len(drawn.probes))[:_MAX_PROBES])
    probes, known = drawn.probes[chosen], drawn.known[chosen]
    templates = drawn.templates
    impostors = gallery_impostors(head, templates.identity_ids, templates.encodings)
    margins = shortlist_margins(head, people.probes.take(probes), templates, impostors)
    best = margins.argmax(axis=1)
    tops = margins[np.arange(len(margins)), best].astype(np.float64)
    return Queries(
        size,
        weight,
        impostors.adjustment().from_gallery(tops),
        templates.identity_ids[best] == people.people[probes],
        known,
    )


def random_queries(
    head: Head, people: EncodedPeople, rng: np.random.Generator
) -> Iterator[Queries]:
    """Query random galleries of several sizes, with one, two and three photos per person.

    Half of the weight has galleries of everyone, half those of people who look alike, up to forty.
    The latter have less below five identities, which cannot show that they are alike: a point that
    is safe for them would find nobody.
    """
    clusters = list(look_alike_people(people, int(rng.integers(2**31))))
    for size, draws in _GALLERIES.items():
        alike = [part for part in clusters if _has_strangers(part, size)]
        if size > _LARGEST_ALIKE:
            alike = []
        for draw in range(draws if _has_strangers(people, size) else 0):
            photos = 1 + draw % 3
            yield query_gallery(head, people, size, photos, rng, 1.0 / draws)
            if alike:
                part = alike[draw % len(alike)]
                weight = min(1.0, size * (size - 1) / 2 / _TELLING_PAIRS) / draws
                yield query_gallery(head, part, size, photos, rng, weight)


def look_alike_people(people: EncodedPeople, seed: int) -> Iterator[EncodedPeople]:
    """Clusters of people whose encodings are alike, coarse and fine."""
    templates = fuse_templates(people.people, people.enrolled)
    for count in _CLUSTERS:
        if len(templates.identity_ids) < count * _PEOPLE_PER_CLUSTER:
            continue
        labels = KMeans(count, n_init=2, random_state=seed).fit_predict(templates.encodings.vectors)
        for label in range(count):
            yield people.for_people(templates.identity_ids[labels == label])


def _has_strangers(people: EncodedPeople, size: int) -> bool:
    """Whether enough people remain when so many are enrolled."""
    return len(np.unique(people.people)) >= size + max(10, size // 2)
