"""Throughput of `gallery import` and `export`, compared with SQLite alone on the same bytes.

    python -m tests.bench.importing --faces 100000 --save data/results/importing.json

The peer, in the same run: encodings and names as rows of one table, in transactions of the same
size and durability (write-ahead log, synchronous=FULL), through Python's own driver. The encodings
are random.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from gallery.encoders.weights import DLIB_RESNET
from gallery.gallery import Gallery
from indexer.whole_file import atomic_write

FACES_PER_PERSON = 3
BATCH = 20_000


def write_npz(faces: int, seed: int, file: Path) -> np.ndarray[Any, Any]:
    """Write a file as another program would; return its encodings."""
    rows = np.random.default_rng(seed).normal(size=(faces, 128)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    np.savez(
        file,
        encoder=np.array([DLIB_RESNET.name, DLIB_RESNET.sha256]),
        names=np.array([f"person {i // FACES_PER_PERSON}" for i in range(faces)]),
        photos=np.array([f"people/{i // FACES_PER_PERSON}/{i}.jpg" for i in range(faces)]),
        encodings=rows,
    )
    return rows


def timed(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def by_sqlite(file: Path, rows: np.ndarray[Any, Any]) -> None:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE faces (id INTEGER PRIMARY KEY, name TEXT, encoding BLOB)")
    for start in range(0, len(rows), BATCH):
        batch = range(start, min(start + BATCH, len(rows)))
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO faces VALUES (?, ?, ?)",
            ((i, f"person {i // FACES_PER_PERSON}", rows[i].tobytes()) for i in batch),
        )
        connection.execute("COMMIT")
    connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="importing-") as folder:
        home = Path(folder)
        rows = write_npz(arguments.faces, arguments.seed, home / "faces.npz")
        with Gallery.open(home / "home", cache=home / "cache") as gallery:
            took = {"import": timed(lambda: gallery.import_from(home / "faces.npz"))}
            took["export"] = timed(lambda: gallery.export(home / "again.npz"))
            took["first search after it"] = timed(lambda: gallery.index.search(rows[:1], 1))
        took["sqlite alone"] = timed(lambda: by_sqlite(home / "peer.db", rows))
    report = {
        "faces": arguments.faces,
        "seed": arguments.seed,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "seconds": {name: round(value, 2) for name, value in took.items()},
        "faces_a_second": {
            name: round(arguments.faces / took[name])
            for name in ("import", "export", "sqlite alone")
        },
        "import_times_as_long_as_sqlite_alone": round(took["import"] / took["sqlite alone"], 2),
    }
    text = json.dumps(report, indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.save is not None:
        with atomic_write(arguments.save) as target:
            target.write(text.encode())


if __name__ == "__main__":
    main()
