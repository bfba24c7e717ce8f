"""Faces into people: the head's verdicts, then average linkage, which resists chains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gallery.judge import Judge
from gallery.operating_point import OperatingPoint
from gallery.types import Encodings, Float64, Int64
from indexer import Edges, neighbour_graph, open_index

_NEIGHBOURS = 32
_LARGEST_COMPONENT = 6_000  # its pairwise margins take 144 MB


@dataclass(frozen=True)
class Group:
    """Rows of one person, two or more. probability : that the group's loosest merge was right."""

    rows: tuple[int, ...]
    probability: float


def face_graph(encodings: Encodings) -> Edges:
    """Near pairs among n faces, rows as ids, with exact cosines."""
    ids = np.arange(len(encodings), dtype=np.int64)
    index = open_index("faiss", encodings.vectors.shape[1])
    index.add(ids, encodings.vectors)
    edges = neighbour_graph(index, ids, encodings.vectors, _NEIGHBOURS)
    index.close()
    exact = np.einsum("ij,ij->i", encodings.vectors[edges.first], encodings.vectors[edges.second])
    return Edges(edges.first, edges.second, exact)


def same_person_groups(encodings: Encodings, edges: Edges, judge: Judge) -> list[Group]:
    """Groups of two or more faces whose mean margin over all their pairs says "same".

    The operating point is that of a gallery of all these faces.
    """
    point = judge.point(len(encodings))
    margins = judge.margins(encodings.take(edges.first), encodings.take(edges.second), point)
    groups: list[Group] = []
    for rows in _components(len(encodings), edges, margins):
        groups += _linked(rows, encodings.take(rows), judge, point)
    return sorted(groups, key=lambda g: (-len(g.rows), -g.probability, g.rows))


def _components(count: int, edges: Edges, margins: Float64) -> list[Int64]:
    """Connected rows; where one component is too large to look at in full, at a higher margin."""
    least = 0.0
    while True:
        kept = margins > least
        ones = np.ones(int(kept.sum()), dtype=np.int8)
        graph = coo_array((ones, (edges.first[kept], edges.second[kept])), shape=(count, count))
        _, labels = connected_components(graph, directed=False)
        sizes = np.bincount(labels, minlength=1)
        if sizes.max(initial=0) <= _LARGEST_COMPONENT:
            order = np.argsort(labels, kind="stable")
            ends = np.cumsum(sizes)[:-1]
            return [rows for rows in np.split(order, ends) if len(rows) > 1]
        least += 1.0


def _linked(rows: Int64, encodings: Encodings, judge: Judge, point: OperatingPoint) -> list[Group]:
    first, second = np.triu_indices(len(rows), k=1)
    margins = judge.margins(encodings.take(first), encodings.take(second), point)
    # Linkage wants distances of zero or more; the cut moves with them.
    highest = float(margins.max())
    merges = linkage(highest - margins, method="average")
    labels = fcluster(merges, t=np.nextafter(highest, -np.inf), criterion="distance")
    groups: list[Group] = []
    for label in np.unique(labels):
        inside = np.flatnonzero(labels == label)
        if len(inside) < 2:
            continue
        both = np.isin(first, inside) & np.isin(second, inside)
        weakest = highest - linkage(highest - margins[both], method="average")[-1, 2]
        groups.append(Group(tuple(rows[inside].tolist()), float(1.0 / (1.0 + np.exp(-weakest)))))
    return groups
