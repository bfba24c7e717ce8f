"""Grouping a million encodings, compared with raw FAISS graphs in the same run.

    python -m tests.bench.dedupe --faces 1000000 --save dedupe-scale.json

The encodings are synthetic: people around the means of the cohort of dlib-resnet's head, photos
around their person, with cosines distributed as on LFW. Exact k-nearest neighbours are timed on a
sample of the rows and extrapolated linearly. Each approximate index is run with more and more
probes until it finds 0.99 of the sample's pairs above the operating point; the fastest of those is
the peer. Machine, versions and seed are in the result.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from gallery import Gallery
from gallery.dedupe.clustering.cluster import same_person_clusters
from gallery.dedupe.clustering.operating_point import shipped_calibration
from gallery.encoders.built_in import DLIB_TRAITS
from gallery.evaluation.clustering_metrics import as_json, figures_of
from gallery.matching.lookalikes import cosine_threshold
from gallery.types import Encodings
from indexer.cells import near_pairs

K = 32
RECALL = 0.99
_PROBES = (4, 8, 16, 32, 64)


def synthetic_faces(
    count: int, rng: np.random.Generator, centres: np.ndarray
) -> tuple[Encodings, np.ndarray]:
    """Encodings of `count` faces, and the person of each; half of the people have one photo."""
    sizes = np.minimum(rng.zipf(1.9, count), 60)
    people = np.repeat(np.arange(count), sizes)[:count]
    spread = centres - centres.mean(axis=0)
    # A person is the mean plus a random combination of the cohort's deviations from it.
    offsets = rng.normal(size=(int(people.max()) + 1, len(spread))).astype(np.float32) @ spread
    offsets *= 0.42 / np.linalg.norm(offsets, axis=1).mean()
    person_means = centres.mean(axis=0) + offsets
    vectors = person_means[people] + rng.normal(size=(count, 128)).astype(np.float32) * (
        0.205 / 128**0.5
    )
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    norms = rng.normal(1.42, 0.05, count).astype(np.float32)
    order = rng.permutation(count)
    agreement = np.full(count, 0.985, np.float32)
    return Encodings(vectors[order], norms, agreement), people[order]


def pairs_above(rows: np.ndarray, ids: np.ndarray, cosines: np.ndarray, least: float) -> set[int]:
    """The pairs of a graph with at least this cosine, each encoded as one number."""
    a, b = np.broadcast_to(rows[:, None], ids.shape)[cosines >= least], ids[cosines >= least]
    is_pair = (a != b) & (b >= 0)
    a, b = a[is_pair], b[is_pair]
    return set((np.minimum(a, b) * 10**8 + np.maximum(a, b)).tolist())


def peers(count: int) -> list[tuple[str, str]]:
    """Names and factory strings of raw FAISS indexes."""
    cells = min(4096, count // 100)
    return [
        (f"IVF{cells}", f"IVF{cells},Flat"),
        (f"IVF{cells}, 4-bit codes and refined", f"IVF{cells},PQ64x4fs,RFlat"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=1_000_000)
    parser.add_argument("--sample", type=int, default=2_000)
    parser.add_argument("--save", type=Path)
    arguments = parser.parse_args()
    count = arguments.faces
    rng = np.random.default_rng(0)
    report: dict[str, Any] = {
        "faces": count,
        "k": K,
        "seed": 0,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"faiss": faiss.__version__, "numpy": np.__version__},
    }
    with Gallery.open(Path("build/bench-dedupe"), encoder=DLIB_TRAITS.name) as gallery:
        scorer = gallery.scorer
        cohort = scorer.head.cohort
        assert cohort is not None
        encodings, people = synthetic_faces(count, rng, cohort.centres)
        rows = np.sort(rng.choice(count, min(arguments.sample, count), replace=False))
        point = shipped_calibration().point(scorer.head.metadata.calibration, count)
        least = cosine_threshold(encodings, scorer, point)
        report["least_cosine"] = least
        say(f"{count:,} faces of {people.max() + 1:,} people, pairs above {least:.4f}")

        start = time.perf_counter()
        grouping = same_person_clusters(encodings, scorer)
        elapsed = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        say(f"whole dedupe: {elapsed:.0f} s, {len(grouping.clusters):,} groups, {peak:.1f} GiB")

        flat = faiss.IndexFlatIP(128)
        flat.add(encodings.vectors)
        start = time.perf_counter()
        cosines, ids = flat.search(encodings.vectors[rows], K + 1)
        seconds = (time.perf_counter() - start) * count / len(rows)
        report["exact"] = {
            "seconds": seconds,
            "measured_on_rows": len(rows),
            "carried_on": "linearly",
        }
        wanted = pairs_above(rows, ids, cosines, least)
        pairs = np.array(sorted(wanted), dtype=np.int64)
        margins = scorer.margins(encodings, pairs // 10**8, pairs % 10**8, point)
        wanted = set(pairs[margins > 0].tolist())  # same person by the head
        report["pairs_in_sample"] = len(wanted)
        say(f"exact {K}-NN: {seconds:,.0f} s; {len(wanted):,} pairs of the sample above the point")
        del flat

        start = time.perf_counter()
        edges = near_pairs(encodings.vectors, least, K)
        graph_seconds = time.perf_counter() - start
        number = edges.first * 10**8 + edges.second
        recall = float(np.isin(np.fromiter(wanted, np.int64), number).mean())
        report["graph"] = {"seconds": graph_seconds, "recall": recall, "edges": len(number)}
        say(f"our graph: {graph_seconds:.0f} s, recall {recall:.4f}, {len(number):,} edges")
        del edges, number

        report["peers"] = []
        for name, recipe in peers(count):
            report["peers"] += raw(name, recipe, encodings.vectors, rows, wanted, least)
    labels = np.arange(count)
    for group in grouping.clusters:
        labels[list(group.rows)] = group.rows[0]
    best = min((p["seconds"] for p in report["peers"] if p["recall"] >= RECALL), default=None)
    report["dedupe"] = {
        "seconds": elapsed,
        "groups": len(grouping.clusters),
        "figures": as_json(figures_of(labels, people)),
        "peak_gib": peak,
        "times_best_raw_graph": None if best is None else elapsed / best,
        "times_faster_than_exact": report["exact"]["seconds"] / elapsed,
    }
    say(json.dumps(report["dedupe"], indent=2))
    if arguments.save is not None:
        arguments.save.write_text(json.dumps(report, indent=2) + "\n")


def raw(
    name: str,
    recipe: str,
    vectors: np.ndarray,
    rows: np.ndarray,
    wanted: set[int],
    least: float,
) -> list[dict[str, Any]]:
    """Build a raw FAISS graph once, and time searching all rows (a tenth of them, times ten)."""
    start = time.perf_counter()
    index = faiss.index_factory(vectors.shape[1], recipe, faiss.METRIC_INNER_PRODUCT)
    cells = faiss.extract_index_ivf(index)
    cells.cp.niter = 6
    index.train(vectors[:: max(1, len(vectors) // 160_000)])
    index.add(vectors)
    built = time.perf_counter() - start
    if hasattr(index, "k_factor"):
        index.k_factor = 16
    queries = vectors[:: 10 if len(vectors) > 100_000 else 1]
    results = []
    for probes in _PROBES:
        cells.nprobe = probes
        start = time.perf_counter()
        for at in range(0, len(queries), 65_536):
            index.search(queries[at : at + 65_536], K + 1)
        searched = (time.perf_counter() - start) * len(vectors) / len(queries)
        cosines, ids = index.search(vectors[rows], K + 1)
        recall = len(pairs_above(rows, ids, cosines, least) & wanted) / max(1, len(wanted))
        row = {"index": f"{name}, {probes} probes", "build_seconds": built}
        row |= {"search_seconds": searched, "seconds": built + searched, "recall": recall}
        results.append(row)
        say(f"{row['index']}: built {built:.0f} s, searched {searched:.0f} s, recall {recall:.4f}")
        if recall >= RECALL:
            break
    return results


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
