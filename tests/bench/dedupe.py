"""A million encodings: the whole of grouping beside raw FAISS graphs, in one run.

    python -m tests.bench.dedupe --faces 1000000 --save data/results/dedupe-scale.json

Encodings are drawn: a person around the cohort's means (data/head.safetensors), their photos around
the person, so that cosines of one and of two people lie as LFW's do. Exact k-nearest neighbours are
timed on a sample of the rows and carried on linearly. Every approximate index is tried, from the
quickest setting, until it finds 0.99 of the pairs over the operating point that the exact graph has
in the sample; the quickest of those is the peer. Machine, versions and seed are in the result.
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
from gallery.dedupe.clustering.cluster import same_person_groups
from gallery.dedupe.clustering.operating_point import shipped_marks
from gallery.evaluation.clustering_metrics import as_json, figures_of
from gallery.matching.lookalikes import least_cosine
from gallery.types import Encodings
from indexer import near_pairs

K = 32
RECALL = 0.99
_PROBES = (4, 8, 16, 32, 64)


def drawn(
    count: int, rng: np.random.Generator, centres: np.ndarray
) -> tuple[Encodings, np.ndarray]:
    """Encodings of `count` faces and whose they are: half of the people have one photo."""
    sizes = np.minimum(rng.zipf(1.9, count), 60)
    people = np.repeat(np.arange(count), sizes)[:count]
    spread = centres - centres.mean(axis=0)
    # A person is the mean and a random mix of how the cohort's means differ from it.
    mixed = rng.normal(size=(int(people.max()) + 1, len(spread))).astype(np.float32) @ spread
    mixed *= 0.42 / np.linalg.norm(mixed, axis=1).mean()
    someone = centres.mean(axis=0) + mixed
    vectors = someone[people] + rng.normal(size=(count, 128)).astype(np.float32) * (
        0.205 / 128**0.5
    )
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    norms = rng.normal(1.42, 0.05, count).astype(np.float32)
    order = rng.permutation(count)
    agreement = np.full(count, 0.985, np.float32)
    return Encodings(vectors[order], norms, agreement), people[order]


def over(rows: np.ndarray, ids: np.ndarray, cosines: np.ndarray, least: float) -> set[int]:
    """Pairs of a graph over the operating point, as numbers."""
    a, b = np.broadcast_to(rows[:, None], ids.shape)[cosines >= least], ids[cosines >= least]
    real = (a != b) & (b >= 0)
    return set((np.minimum(a[real], b[real]) * 10**8 + np.maximum(a[real], b[real])).tolist())


def peers(count: int) -> list[tuple[str, str]]:
    """Names and recipes of raw FAISS indexes; each is searched with more and more probes."""
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
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    found: dict[str, Any] = {
        "faces": asked.faces,
        "k": K,
        "seed": 0,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"faiss": faiss.__version__, "numpy": np.__version__},
    }
    with Gallery.open(Path("build/bench-dedupe")) as gallery:
        scorer = gallery.scorer
        centres = next(v.numpy() for n, v in scorer.head._state().items() if n == "cohort.centres")
        encodings, people = drawn(asked.faces, rng, centres)
        rows = np.sort(rng.choice(asked.faces, min(asked.sample, asked.faces), replace=False))
        point = shipped_marks().point(scorer.head.marks.calibration, asked.faces)
        least = least_cosine(encodings, scorer, point)
        found["least_cosine"] = least
        say(f"{asked.faces:,} faces of {people.max() + 1:,} people, pairs over {least:.4f}")

        start = time.perf_counter()
        grouping = same_person_groups(encodings, scorer)
        whole = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        say(f"whole dedupe: {whole:.0f} s, {len(grouping.groups):,} groups, {peak:.1f} GiB")

        flat = faiss.IndexFlatIP(128)
        flat.add(encodings.vectors)
        start = time.perf_counter()
        cosines, ids = flat.search(encodings.vectors[rows], K + 1)
        took = (time.perf_counter() - start) * asked.faces / len(rows)
        found["exact"] = {"seconds": took, "measured_on_rows": len(rows), "carried_on": "linearly"}
        wanted = over(rows, ids, cosines, least)
        pairs = np.array(sorted(wanted), dtype=np.int64)
        margins = scorer.margins(encodings, pairs // 10**8, pairs % 10**8, point)
        wanted = set(pairs[margins > 0].tolist())  # the head's, at the operating point
        found["pairs_in_sample"] = len(wanted)
        say(f"exact {K}-NN: {took:,.0f} s; {len(wanted):,} pairs of the sample are over the point")
        del flat

        start = time.perf_counter()
        edges = near_pairs(encodings.vectors, least, K)
        ours = time.perf_counter() - start
        number = edges.first * 10**8 + edges.second
        recall = float(np.isin(np.fromiter(wanted, np.int64), number).mean())
        found["graph"] = {"seconds": ours, "recall": recall, "edges": len(number)}
        say(f"our graph: {ours:.0f} s, recall {recall:.4f}, {len(number):,} edges")
        del edges, number

        found["peers"] = []
        for name, recipe in peers(asked.faces):
            found["peers"] += raw(name, recipe, encodings.vectors, rows, wanted, least)
    labels = np.arange(asked.faces)
    for group in grouping.groups:
        labels[list(group.rows)] = group.rows[0]
    best = min((p["seconds"] for p in found["peers"] if p["recall"] >= RECALL), default=None)
    found["dedupe"] = {
        "seconds": whole,
        "groups": len(grouping.groups),
        "figures": as_json(figures_of(labels, people)),
        "peak_gib": peak,
        "times_best_raw_graph": None if best is None else whole / best,
        "times_faster_than_exact": found["exact"]["seconds"] / whole,
    }
    say(json.dumps(found["dedupe"], indent=2))
    if asked.save is not None:
        asked.save.write_text(json.dumps(found, indent=2) + "\n")


def raw(
    name: str,
    recipe: str,
    vectors: np.ndarray,
    rows: np.ndarray,
    wanted: set[int],
    least: float,
) -> list[dict[str, Any]]:
    """Raw FAISS graphs: building once, then searching every row (a tenth of them, times ten)."""
    start = time.perf_counter()
    index = faiss.index_factory(vectors.shape[1], recipe, faiss.METRIC_INNER_PRODUCT)
    cells = faiss.extract_index_ivf(index)
    cells.cp.niter = 6
    index.train(vectors[:: max(1, len(vectors) // 160_000)])
    index.add(vectors)
    built = time.perf_counter() - start
    if hasattr(index, "k_factor"):
        index.k_factor = 16
    some = vectors[:: 10 if len(vectors) > 100_000 else 1]
    found = []
    for probes in _PROBES:
        cells.nprobe = probes
        start = time.perf_counter()
        for at in range(0, len(some), 65_536):
            index.search(some[at : at + 65_536], K + 1)
        searched = (time.perf_counter() - start) * len(vectors) / len(some)
        cosines, ids = index.search(vectors[rows], K + 1)
        recall = len(over(rows, ids, cosines, least) & wanted) / max(1, len(wanted))
        row = {"index": f"{name}, {probes} probes", "build_seconds": built}
        row |= {"search_seconds": searched, "seconds": built + searched, "recall": recall}
        found.append(row)
        say(f"{row['index']}: built {built:.0f} s, searched {searched:.0f} s, recall {recall:.4f}")
        if recall >= RECALL:
            break
    return found


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
