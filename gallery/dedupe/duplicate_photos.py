"""Which photos are copies of one another: proposed by hashes and by faces, confirmed on pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.cluster.hierarchy import DisjointSet
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from gallery.dedupe.findings import GalleryFindings
from gallery.dedupe.image_similarity import SIDE, Look, agreement, by_landmarks, look_of
from gallery.errors import PhotoError
from gallery.store.photo_cache import SeenPhoto
from gallery.store.records import FaceRecord
from gallery.types import Float64, Photo
from gallery.vision.photo import PhotoReader
from indexer import Edges, near_bits

_NEAR_BITS, _OF_EACH = 11, 32
_CANDIDATE_COSINE = 0.98
"""Faces this alike may be of one picture."""
_EVEN_AGREEMENT, _STEEPNESS = 0.80, 40.0
"""The log-odds of a copy are 40 * (agreement - 0.80): photos of one sitting (ORL, Yale) agree by
0.75 at most, copies by 0.84 and more, but for few; read off 8 photos altered
8 ways and 24 pairs of ORL and Yale."""


@dataclass(frozen=True)
class CopyPair:
    """Two photos, by row, that are copies."""

    first: int
    second: int
    probability: float
    why: str


@dataclass(frozen=True)
class CopyGroup:
    """Photos that are copies of one another, by row.

    probability : of the least sure link that holds it together.  deciding : that link.
    """

    photos: tuple[int, ...]
    probability: float
    deciding: tuple[int, int]
    why: str


def copy_groups(
    photos: Sequence[SeenPhoto],
    owners: Sequence[int],
    edges: Edges,
    look: Callable[[int], Look],
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> list[CopyGroup]:
    """photos : those that could be used.  owners : of each face, its photo's row.  edges : near
    pairs of the faces.  look : a photo's picture, by row.
    """
    first_of: dict[str, int] = {}
    pairs: list[CopyPair] = []
    joined = DisjointSet(range(len(photos)))
    for i, photo in enumerate(photos):
        first = first_of.setdefault(photo.sha256, i)
        if first != i:
            pairs.append(CopyPair(first, i, 1.0, "the same bytes"))
            joined.merge(first, i)
    distinct = sorted(first_of.values())
    asked = _candidates(photos, distinct, owners, edges)
    for done, ((i, j), faces) in enumerate(sorted(asked.items()), start=1):
        progress(done, len(asked))
        if joined.connected(i, j):
            continue  # copies of one and the same: nothing is learned from them
        one, other = look(i), look(j)
        found = max(
            (agreement(one, other, start) for start in _starts(photos, i, j, faces)), default=-1.0
        )
        probability = float(expit(_STEEPNESS * (found - _EVEN_AGREEMENT)))
        if probability > 0.5:
            why = f"the same picture, {found:.0%} of its detail alike"
            pairs.append(CopyPair(i, j, probability, why))
            joined.merge(i, j)
    return _groups(pairs, len(photos))


def shown_twice(first: Photo, second: Photo) -> float:
    """The probability that two photos are one picture, a crop or its mirror image, by pixels."""
    one, other = Look.of(look_of(first)), Look.of(look_of(second))
    found = max(agreement(one, other), agreement(one, other.mirrored()))
    return float(expit(_STEEPNESS * (found - _EVEN_AGREEMENT)))


def _candidates(
    photos: Sequence[SeenPhoto], distinct: list[int], owners: Sequence[int], edges: Edges
) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Pairs of photos, each with the pairs of faces (places in their photos) that proposed it."""
    asked: dict[tuple[int, int], list[tuple[int, int]]] = {}
    if len(distinct) > 1:
        hashes = [photos[i].hashes for i in distinct]
        sources = np.repeat(distinct, [len(h) for h in hashes])
        whole = np.stack([h[0] for h in hashes])
        found, stored = near_bits(np.concatenate(hashes), whole, _NEAR_BITS, _OF_EACH)
        for a, b in zip(sources[found].tolist(), np.array(distinct)[stored].tolist(), strict=True):
            if a != b:
                asked.setdefault((min(a, b), max(a, b)), [])
    firsts = set(distinct)
    starts = np.searchsorted(np.asarray(owners), np.arange(len(photos)))
    near = edges.similarities >= _CANDIDATE_COSINE
    for a, b in zip(edges.first[near].tolist(), edges.second[near].tolist(), strict=True):
        i, j = owners[a], owners[b]
        if i != j and i in firsts and j in firsts:
            if i > j:
                a, b, i, j = b, a, j, i
            asked.setdefault((i, j), []).append((a - int(starts[i]), b - int(starts[j])))
    return asked


def _starts(
    photos: Sequence[SeenPhoto], i: int, j: int, faces: list[tuple[int, int]]
) -> list[Float64 | None]:
    """How one may lie over the other: by a pair of faces, as it is and mirrored; else as crops."""
    if not faces:
        return [None]
    one, other = photos[i], photos[j]
    scales = [SIDE / max(p.width, p.height) for p in (one, other)]
    a, b = faces[0]
    return [
        by_landmarks(one.landmarks[a], other.landmarks[b], scales[0], scales[1], mirrored)
        for mirrored in (False, True)
    ]


def _groups(pairs: list[CopyPair], count: int) -> list[CopyGroup]:
    if not pairs:
        return []
    ends = np.array([(p.first, p.second) for p in pairs]).T
    graph = coo_array((np.ones(len(pairs)), (ends[0], ends[1])), shape=(count, count))
    labels = connected_components(graph, directed=False)[1]
    inside: dict[int, list[CopyPair]] = {}
    for pair in pairs:
        inside.setdefault(int(labels[pair.first]), []).append(pair)
    found = []
    for label, some in inside.items():
        rows = tuple(np.flatnonzero(labels == label).tolist())
        weakest = _weakest(some)
        why = ", ".join(
            sorted({p.why if p.probability == 1.0 else "the same picture" for p in some})
        )
        found.append(
            CopyGroup(
                rows,
                weakest.probability,
                (weakest.first, weakest.second),
                weakest.why if len(some) == 1 else why,
            )
        )
    return sorted(found, key=lambda g: (-len(g.photos), -g.probability, g.photos))


def _weakest(pairs: list[CopyPair]) -> CopyPair:
    """The least sure link that is needed: the likeliest links that join all of them, then the
    last of these.
    """
    joined = DisjointSet({row for pair in pairs for row in (pair.first, pair.second)})
    needed = pairs[0]
    for pair in sorted(pairs, key=lambda p: -p.probability):
        if joined.merge(pair.first, pair.second):
            needed = pair
    return needed


_EVEN = 0.5


def confirmed(report: GalleryFindings, reader: PhotoReader) -> GalleryFindings:
    """Without faces that are only nearly one picture, as far as the photos are still where they
    were enrolled from: two photos of one sitting have near encodings too.
    """
    kept = []
    for found in report.same_faces:
        photos = [_still_there(face, reader) for face in found.faces]
        first, second = photos
        if (
            first is None
            or second is None
            or first.sha256 == second.sha256
            or shown_twice(first, second) > _EVEN
        ):
            kept.append(found)
    return replace(report, same_faces=tuple(kept))


def _still_there(face: FaceRecord, reader: PhotoReader) -> Photo | None:
    try:
        photo = reader.read(face.photo)
    except PhotoError:
        return None
    return photo if photo.sha256 == face.photo_sha256 else None
