"""Who is alike within the gallery: near pairs, look-alike identities, a face unlike its owner's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gallery.judge import Judge
from gallery.operating_point import OperatingPoint
from gallery.store.records import StoredEncodings
from gallery.templates import fused
from gallery.types import Encodings, Int64
from indexer import DEFAULT_ENGINE, Edges, neighbour_graph, open_index

_NEIGHBOURS = 32


@dataclass(frozen=True)
class LookAlikes:
    """Two identities, by id, of whom a query may be answered "ambiguous".

    probability : that they are one person, were it as likely as not.
    """

    first: int
    second: int
    probability: float


def face_graph(encodings: Encodings, progress: Callable[[int], None] = lambda _done: None) -> Edges:
    """Near pairs among n faces, rows as ids, with exact cosines.

    progress : called with the number of faces done.
    """
    ids = np.arange(len(encodings), dtype=np.int64)
    index = open_index(DEFAULT_ENGINE, encodings.vectors.shape[1])
    index.add(ids, encodings.vectors)
    edges = neighbour_graph(index, ids, encodings.vectors, _NEIGHBOURS, progress=progress)
    index.close()
    exact = np.einsum("ij,ij->i", encodings.vectors[edges.first], encodings.vectors[edges.second])
    return Edges(edges.first, edges.second, exact)


def look_alikes(stored: StoredEncodings, judge: Judge, point: OperatingPoint) -> list[LookAlikes]:
    """Identities whose fused photos match each other at this point, the likeliest first."""
    templates = fused(stored.identity_ids, stored.encodings)
    if len(templates.identity_ids) < 2:
        return []
    edges = face_graph(templates.encodings)
    margins = judge.margins(templates.encodings, edges.first, edges.second, point)
    probabilities = point.probabilities((margins + point.bias).astype(np.float32))
    return [
        LookAlikes(
            int(templates.identity_ids[edges.first[i]]),
            int(templates.identity_ids[edges.second[i]]),
            float(probabilities[i]),
        )
        for i in np.argsort(-margins).tolist()
        if margins[i] > 0
    ]


def unlike(judge: Judge, face: Encodings, others: Encodings) -> bool:
    """Whether a face, (1, 128), does not look like the n other photos of its identity together.

    Judged as one comparison would be: of other people's photos the promised share goes unnoticed.
    """
    if not len(others):
        return False
    owner: Int64 = np.zeros(len(others), dtype=np.int64)
    pair = Encodings.joined([face, fused(owner, others).encodings])
    point = judge.point_of(1)
    return bool(judge.margins(pair, np.array([0]), np.array([1]), point)[0] <= 0)
