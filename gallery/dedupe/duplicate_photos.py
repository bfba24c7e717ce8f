"""Photos that are copies of one another: proposed by hashes and faces, confirmed by pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.cluster.hierarchy import DisjointSet
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from gallery.dedupe.findings import GalleryFindings
from gallery.dedupe.image_similarity import SIDE, GreyImage, agreement, by_landmarks, grey_jpeg
from gallery.errors import PhotoError
from gallery.progress import Progress, no_progress
from gallery.store.photo_cache import CachedPhoto
from gallery.store.records import FaceRecord
from gallery.types import Float64, Photo
from gallery.vision.photo import PhotoReader
from indexer import Edges
from indexer.hamming import near_bits

_NEAR_BITS, _NEIGHBOURS = 11, 32
_CANDIDATE_COSINE = 0.98
"""Faces this similar may be of one picture."""
_EVEN_AGREEMENT, _STEEPNESS = 0.80, 40.0
"""The log-odds of a copy are 40 * (agreement - 0.80). Photos of one sitting (ORL, Yale) agree by
0.75 at most, nearly all copies by 0.84 or more; measured on 8 photos altered 8 ways and on 24 pairs
of ORL and Yale."""
_EVEN = 0.5


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

    probability : of the least certain link that holds the group together.  deciding : that link.
    """

    photos: tuple[int, ...]
    probability: float
    deciding: tuple[int, int]
    why: str


def copy_groups(
    photos: Sequence[CachedPhoto],
    owners: Sequence[int],
    edges: Edges,
    grey_image: Callable[[int], GreyImage],
    progress: Progress = no_progress,
) -> list[CopyGroup]:
    """Groups of copies, the largest first.

    owners : each face's photo, by row.  edges : near pairs of the faces.
    grey_image : returns a photo's image, by row.
    """
    first_with: dict[str, int] = {}
    pairs: list[CopyPair] = []
    joined = DisjointSet(range(len(photos)))
    for i, photo in enumerate(photos):
        first = first_with.setdefault(photo.sha256, i)
        if first != i:
            pairs.append(CopyPair(first, i, 1.0, "the same bytes"))
            joined.merge(first, i)
    distinct = sorted(first_with.values())
    candidates = _candidates(photos, distinct, owners, edges)
    for done, ((i, j), faces) in enumerate(sorted(candidates.items()), start=1):
        progress(done, len(candidates))
        if joined.connected(i, j):
            continue  # both are copies of a third photo: the link adds nothing
        image, other = grey_image(i), grey_image(j)
        starts = _starts(photos, i, j, faces)
        best = max((agreement(image, other, start) for start in starts), default=-1.0)
        probability = _copy_probability(best)
        if probability > _EVEN:
            why = f"the same picture, {best:.0%} of its detail alike"
            pairs.append(CopyPair(i, j, probability, why))
            joined.merge(i, j)
    return _groups(pairs, len(photos))


def _copy_probability(pixel_agreement: float) -> float:
    return float(expit(_STEEPNESS * (pixel_agreement - _EVEN_AGREEMENT)))


def _candidates(
    photos: Sequence[CachedPhoto], distinct: list[int], owners: Sequence[int], edges: Edges
) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Pairs of photos, each with the pairs of faces that proposed it, by position in the photos."""
    candidates: dict[tuple[int, int], list[tuple[int, int]]] = {}
    if len(distinct) > 1:
        hashes = [photos[i].hashes for i in distinct]
        sources = np.repeat(distinct, [len(h) for h in hashes])
        whole = np.stack([h[0] for h in hashes])
        queries, stored = near_bits(np.concatenate(hashes), whole, _NEAR_BITS, _NEIGHBOURS)
        near_pairs = zip(
            sources[queries].tolist(), np.array(distinct)[stored].tolist(), strict=True
        )
        for a, b in near_pairs:
            if a != b:
                candidates.setdefault((min(a, b), max(a, b)), [])
    distinct_set = set(distinct)
    starts = np.searchsorted(np.asarray(owners), np.arange(len(photos)))
    alike = edges.similarities >= _CANDIDATE_COSINE
    for a, b in zip(edges.first[alike].tolist(), edges.second[alike].tolist(), strict=True):
        i, j = owners[a], owners[b]
        if i != j and i in distinct_set and j in distinct_set:
            if i > j:
                a, b, i, j = b, a, j, i
            candidates.setdefault((i, j), []).append((a - int(starts[i]), b - int(starts[j])))
    return candidates


def _starts(
    photos: Sequence[CachedPhoto], i: int, j: int, faces: list[tuple[int, int]]
) -> list[Float64 | None]:
    """Alignments to start from: by a pair of faces, as it is and mirrored; else as crops (None)."""
    if not faces:
        return [None]
    photo, other = photos[i], photos[j]
    scales = [SIDE / max(p.width, p.height) for p in (photo, other)]
    a, b = faces[0]
    return [
        by_landmarks(photo.landmarks[a], other.landmarks[b], scales[0], scales[1], mirrored)
        for mirrored in (False, True)
    ]


def _groups(pairs: list[CopyPair], count: int) -> list[CopyGroup]:
    """Connected photos, the largest groups first. count : of all photos."""
    if not pairs:
        return []
    ends = np.array([(p.first, p.second) for p in pairs]).T
    graph = coo_array((np.ones(len(pairs)), (ends[0], ends[1])), shape=(count, count))
    labels = connected_components(graph, directed=False)[1]
    pairs_of: dict[int, list[CopyPair]] = {}
    for pair in pairs:
        pairs_of.setdefault(int(labels[pair.first]), []).append(pair)
    groups = []
    for label, links in pairs_of.items():
        weakest = _weakest_link(links)
        reasons = {p.why if p.probability == 1.0 else "the same picture" for p in links}
        groups.append(
            CopyGroup(
                tuple(np.flatnonzero(labels == label).tolist()),
                weakest.probability,
                (weakest.first, weakest.second),
                weakest.why if len(links) == 1 else ", ".join(sorted(reasons)),
            )
        )
    return sorted(groups, key=lambda g: (-len(g.photos), -g.probability, g.photos))


def _weakest_link(pairs: list[CopyPair]) -> CopyPair:
    """The least likely link of the maximum spanning tree."""
    joined = DisjointSet({row for pair in pairs for row in (pair.first, pair.second)})
    weakest = pairs[0]
    for pair in sorted(pairs, key=lambda p: -p.probability):
        if joined.merge(pair.first, pair.second):
            weakest = pair
    return weakest


def confirm_same_faces(report: GalleryFindings, reader: PhotoReader) -> GalleryFindings:
    """The findings without faces of two different pictures: two photos of one sitting have near
    encodings too. Faces whose photos have been moved or changed since enrolment stay.
    """
    return replace(
        report,
        same_faces=tuple(
            finding
            for finding in report.same_faces
            if _may_be_one_picture(*(_enrolled_photo(face, reader) for face in finding.faces))
        ),
    )


def _may_be_one_picture(first: Photo | None, second: Photo | None) -> bool:
    if first is None or second is None or first.sha256 == second.sha256:
        return True
    image, other = (GreyImage.from_jpeg(grey_jpeg(photo)) for photo in (first, second))
    best = max(agreement(image, other), agreement(image, other.mirrored()))
    return _copy_probability(best) > _EVEN


def _enrolled_photo(face: FaceRecord, reader: PhotoReader) -> Photo | None:
    """The photo a face was enrolled from; None if it is no longer there or has changed."""
    try:
        photo = reader.read(face.photo)
    except PhotoError:
        return None
    return photo if photo.sha256 == face.photo_sha256 else None
