"""Other clustering methods, each at the setting that is best for the true labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import squareform
from sklearn.cluster import DBSCAN, HDBSCAN

from gallery.evaluation.clustering_metrics import Figures, figures_of
from gallery.progress import Progress, no_progress
from gallery.types import Encodings, Float32, Int64

_COSINES = np.linspace(0.88, 0.975, 39)
_FEW_COSINES = np.linspace(0.91, 0.96, 11)
_ITERATIONS = 10


@dataclass(frozen=True)
class Peer:
    """A method at the setting with the highest pairwise F, and its best BCubed F at any setting."""

    name: str
    setting: str
    figures: Figures
    best_bcubed_f: float


def peers(
    encodings: Encodings,
    people: Int64,
    progress: Progress = no_progress,
) -> list[Peer]:
    """Run each method at all its settings; choose the best by the true labels."""
    cosines = encodings.vectors @ encodings.vectors.T
    results = []
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
        results.append(Peer(name, setting, best, max(f.b_f for _, f in tried)))
    progress(len(methods), len(methods))
    return results


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
            yield f"cosine {least:.4f}, {points} points", _noise_as_singletons(labels)


def _hdbscan(cosines: Float32) -> Iterator[tuple[str, Int64]]:
    distances = np.clip(1.0 - cosines, 0.0, 2.0).astype(np.float64)
    for points in (1, 2, 3):
        for selection in ("eom", "leaf"):
            labels = HDBSCAN(
                min_cluster_size=2,
                min_samples=points,
                metric="precomputed",
                cluster_selection_method=selection,
                copy=True,
            ).fit_predict(distances)
            yield f"{points} points, {selection}", _noise_as_singletons(labels)


def _whispers(cosines: Float32) -> Iterator[tuple[str, Int64]]:
    """As in dlib (Biemann 2006): each face takes the heaviest label among its neighbours."""
    for least in _FEW_COSINES:
        first, second = np.nonzero(np.triu(cosines >= least, k=1))
        ends = np.concatenate([first, second]), np.concatenate([second, first])
        graph = coo_array((np.tile(cosines[first, second], 2), ends), shape=cosines.shape).tocsr()
        labels, rng = np.arange(len(cosines)), np.random.default_rng(0)
        for _ in range(_ITERATIONS):
            for i in rng.permutation(len(cosines)):
                edges = slice(graph.indptr[i], graph.indptr[i + 1])
                if edges.start < edges.stop:
                    candidates, of = np.unique(labels[graph.indices[edges]], return_inverse=True)
                    labels[i] = candidates[np.bincount(of, graph.data[edges]).argmax()]
        yield f"cosine {least:.4f}", labels


def _average(cosines: Float32) -> Iterator[tuple[str, Int64]]:
    distances = np.clip(1.0 - cosines, 0.0, 2.0)
    np.fill_diagonal(distances, 0.0)
    tree = linkage(squareform(distances, checks=False), method="average")
    for least in _COSINES:
        yield f"cosine {least:.4f}", fcluster(tree, t=1.0 - least, criterion="distance")


def _noise_as_singletons(labels: Int64) -> Int64:
    """Give each face that is noise a group of its own."""
    noise = labels < 0
    groups = labels.astype(np.int64)
    groups[noise] = labels.max() + 1 + np.arange(int(noise.sum()))
    return groups
