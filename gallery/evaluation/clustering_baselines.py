"""What others group faces with, each at its best setting on the answer, beside ours without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import squareform
from sklearn.cluster import DBSCAN, HDBSCAN

from gallery.evaluation.clustering_metrics import Figures, figures_of
from gallery.types import Encodings, Float32, Int64

_COSINES = np.linspace(0.88, 0.975, 39)
_FEW_COSINES = np.linspace(0.91, 0.96, 11)
_ITERATIONS = 10


@dataclass(frozen=True)
class Peer:
    """A method at the setting with the highest pairwise F, chosen on the answer."""

    name: str
    setting: str
    figures: Figures
    best_b_f: float


def peers(
    encodings: Encodings,
    people: Int64,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> list[Peer]:
    """Each method with an oracle: its best F, and beside it its best BCubed F at any setting."""
    cosines = encodings.vectors @ encodings.vectors.T
    found = []
    methods = (
        ("single linkage", _single),
        ("DBSCAN", _dbscan),
        ("HDBSCAN", _hdbscan),
        ("Chinese whispers", _whispers),
        ("average linkage", _average),
    )
    for done, (name, method) in enumerate(methods):
        progress(done, len(methods))
        tried = [(setting, figures_of(labels, people)) for setting, labels in method(cosines)]
        setting, best = max(tried, key=lambda pair: pair[1].f)
        found.append(Peer(name, setting, best, max(f.b_f for _, f in tried)))
    progress(len(methods), len(methods))
    return found


def _single(cosines: Float32) -> Iterator[tuple[str, Int64]]:
    for least in _COSINES:
        graph = csr_array(cosines >= least)
        yield f"cosine {least:.4f}", connected_components(graph, directed=False)[1]


def _dbscan(cosines: Float32) -> Iterator[tuple[str, Int64]]:
    distances = np.clip(1.0 - cosines, 0.0, 2.0)
    for least in _FEW_COSINES:
        for points in (1, 2, 3):
            labels = DBSCAN(eps=1.0 - least, min_samples=points, metric="precomputed").fit_predict(
                distances
            )
            yield f"cosine {least:.4f}, {points} points", _alone(labels)


def _hdbscan(cosines: Float32) -> Iterator[tuple[str, Int64]]:
    distances = np.clip(1.0 - cosines, 0.0, 2.0).astype(np.float64)
    for points in (1, 2, 3):
        for chosen in ("eom", "leaf"):
            labels = HDBSCAN(
                min_cluster_size=2,
                min_samples=points,
                metric="precomputed",
                cluster_selection_method=chosen,
                copy=True,
            ).fit_predict(distances)
            yield f"{points} points, {chosen}", _alone(labels)


def _whispers(cosines: Float32) -> Iterator[tuple[str, Int64]]:
    """Biemann 2006, as dlib has it: each takes the label that weighs most among its neighbours."""
    for least in _FEW_COSINES:
        first, second = np.nonzero(np.triu(cosines >= least, k=1))
        ends = np.concatenate([first, second]), np.concatenate([second, first])
        graph = coo_array((np.tile(cosines[first, second], 2), ends), shape=cosines.shape).tocsr()
        labels, rng = np.arange(len(cosines)), np.random.default_rng(0)
        for _ in range(_ITERATIONS):
            for i in rng.permutation(len(cosines)):
                some = slice(graph.indptr[i], graph.indptr[i + 1])
                if some.start < some.stop:
                    near, places = np.unique(labels[graph.indices[some]], return_inverse=True)
                    labels[i] = near[np.bincount(places, graph.data[some]).argmax()]
        yield f"cosine {least:.4f}", labels


def _average(cosines: Float32) -> Iterator[tuple[str, Int64]]:
    distances = np.clip(1.0 - cosines, 0.0, 2.0)
    np.fill_diagonal(distances, 0.0)
    tree = linkage(squareform(distances, checks=False), method="average")
    for least in _COSINES:
        yield f"cosine {least:.4f}", fcluster(tree, t=1.0 - least, criterion="distance")


def _alone(labels: Int64) -> Int64:
    """Noise: everyone for themselves."""
    noise = labels < 0
    found = labels.astype(np.int64)
    found[noise] = labels.max() + 1 + np.arange(int(noise.sum()))
    return found
