"""Raw indexes and a linear scan: each is built and saved in one process, searched in another.

    python -m tests.bench.million.contenders build|search NAME FOLDER

The folder has what `drawn` saves, and nearest.npy: the exact nearest rows of the known people's
probes and of the strangers'. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gallery.types import Float32, Int64

ONE_BY_ONE, EXACT = 500, 50
"""Probes that are timed; of an exact search, whose time hardly varies, fewer."""
LEAST_RECALL = 0.999
"""Of known people: an approximate index looks further until it has it."""


class Contender(Protocol):
    """An index. `efforts` are the settings to try, from the fastest; empty if it is exact."""

    efforts: tuple[int, ...]

    def build(self, rows: Float32) -> None: ...
    def save(self, file: Path) -> None: ...
    def load(self, file: Path) -> None: ...
    def work(self, effort: int) -> None: ...
    def nearest(self, query: Float32) -> int: ...


class Linear:
    """The scan that users of face_recognition and DeepFace write: distances to a float64 array."""

    efforts = ()

    def build(self, rows: Float32) -> None:
        self.rows = rows.astype(np.float64)

    def save(self, file: Path) -> None:
        with file.open("wb") as out:
            np.save(out, self.rows)

    def load(self, file: Path) -> None:
        self.rows = np.load(file)

    def work(self, effort: int) -> None: ...

    def nearest(self, query: Float32) -> int:
        return int(np.argmin(np.linalg.norm(self.rows - query, axis=1)))


class Faiss:
    """FAISS: exact in half precision, or an inverted file."""

    def __init__(self, *, cells: bool) -> None:
        import faiss

        faiss.omp_set_num_threads(faiss.omp_get_max_threads())
        self.faiss: Any = faiss
        self.cells = cells
        self.efforts = (4, 8, 16, 32, 64, 128, 256) if cells else ()

    def build(self, rows: Float32) -> None:
        cells = int(2 * len(rows) ** 0.5)
        recipe = f"IVF{cells},SQfp16" if self.cells else "SQfp16"
        self.index = self.faiss.index_factory(128, recipe, self.faiss.METRIC_INNER_PRODUCT)
        sample = np.random.default_rng(0).choice(len(rows), min(len(rows), 40 * cells), False)
        self.index.train(rows[np.sort(sample)])
        self.index.add(rows)

    def save(self, file: Path) -> None:
        self.faiss.write_index(self.index, str(file))

    def load(self, file: Path) -> None:
        self.index = self.faiss.read_index(str(file))
        self.faiss.omp_set_num_threads(1)

    def work(self, effort: int) -> None:
        self.index.nprobe = effort

    def nearest(self, query: Float32) -> int:
        return int(self.index.search(query[None], 1)[1][0, 0])


class Hnswlib:
    efforts = (16, 32, 64, 128, 256, 512)

    def build(self, rows: Float32) -> None:
        import hnswlib

        self.index = hnswlib.Index("ip", 128)
        self.index.init_index(len(rows), M=16, ef_construction=200)
        self.index.add_items(rows)

    def save(self, file: Path) -> None:
        self.index.save_index(str(file))

    def load(self, file: Path) -> None:
        import hnswlib

        self.index = hnswlib.Index("ip", 128)
        self.index.load_index(str(file))

    def work(self, effort: int) -> None:
        self.index.set_ef(effort)

    def nearest(self, query: Float32) -> int:
        return int(self.index.knn_query(query[None], 1, num_threads=1)[0][0, 0])


class Usearch:
    efforts = (16, 32, 64, 128, 256, 512)

    def build(self, rows: Float32) -> None:
        from usearch.index import Index

        self.index = Index(ndim=128, metric="ip", dtype="f16")
        self.index.add(np.arange(len(rows)), rows)

    def save(self, file: Path) -> None:
        self.index.save(str(file))

    def load(self, file: Path) -> None:
        from usearch.index import Index

        self.index = Index.restore(str(file))

    def work(self, effort: int) -> None:
        self.index.expansion_search = effort

    def nearest(self, query: Float32) -> int:
        return int(self.index.search(query, 1).keys[0])


CONTENDERS: dict[str, Callable[[], Contender]] = {
    "linear scan": Linear,
    "FAISS, exact": lambda: Faiss(cells=False),
    "FAISS, inverted file": lambda: Faiss(cells=True),
    "hnswlib": Hnswlib,
    "usearch": Usearch,
}


def resident() -> float:
    """The process's memory in megabytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 2**20


def milliseconds(seconds: list[float]) -> dict[str, float]:
    return {
        "median": round(1000 * float(np.median(seconds)), 3),
        "p99": round(1000 * float(np.quantile(seconds, 0.99)), 3),
    }


def build(contender: Contender, folder: Path) -> dict[str, Any]:
    """Build the index and save it."""
    rows = np.load(folder / "rows.npy")
    start = time.perf_counter()
    contender.build(rows)
    seconds = round(time.perf_counter() - start, 2)
    contender.save(folder / "raw.index")
    return {"build_seconds": seconds}


def search(contender: Contender, folder: Path) -> dict[str, Any]:
    """Open what was saved, and search it."""
    people: Int64 = np.load(folder / "people.npy")
    known, strangers = (np.load(folder / f"{kind}.npy") for kind in ("known", "strangers"))
    nearest: Int64 = people[np.load(folder / "nearest.npy")]
    before, start = resident(), time.perf_counter()
    contender.load(folder / "raw.index")
    contender.nearest(known[0])
    report: dict[str, Any] = {
        "open_seconds": round(time.perf_counter() - start, 3),
        "megabytes": round(resident() - before, 1),
    }
    for effort in contender.efforts or (0,):
        if contender.efforts:
            contender.work(effort)
        recalls = []
        for probes, exact in ((known, nearest[: len(known)]), (strangers, nearest[len(known) :])):
            count = len(probes) if contender.efforts else EXACT
            found = people[[contender.nearest(probe) for probe in probes[:count]]]
            recalls.append(round(float((found == exact[:count]).mean()), 4))
        if recalls[0] >= LEAST_RECALL:
            break
    seconds = []
    for probe in known[: ONE_BY_ONE if contender.efforts else EXACT]:
        start = time.perf_counter()
        contender.nearest(probe)
        seconds.append(time.perf_counter() - start)
    return report | {
        "effort": effort,
        "recall": {"known": recalls[0], "strangers": recalls[1]},
        "search_milliseconds": milliseconds(seconds),
    }


if __name__ == "__main__":
    step, name, folder = sys.argv[1:]
    report = {"build": build, "search": search}[step](CONTENDERS[name](), Path(folder))
    sys.stdout.write(json.dumps(report))
