"""Galleries of up to a million faces, beside raw indexes in the same run.

    python -m tests.bench.million LFW --faces 10000,100000,1000000 --save data/results/million.json

Encodings are drawn after those of LFW's training people (see `drawn`): three photos of each person
in the gallery, one more of some of them, and strangers. For each size: the gallery is imported,
opened in a new process and asked, from encodings; then each peer is built, saved, opened in a new
process and searched for the nearest row, with as much effort as finds the nearest identity of
99.9 % of the known people's probes, one probe at a time on one core. Peers that are not installed
are left out. Known people found and strangers matched are counted with the whole decision. Half an
hour for a million faces; for Linux.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from scipy.stats import binomtest

from gallery.gallery import Gallery
from indexer.whole_file import atomic_write
from tests.bench.million.contenders import CONTENDERS
from tests.bench.million.drawn import Statistics, draw, statistics


def run(*arguments: str) -> dict[str, Any]:
    """What a process of this package prints."""
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def measured(
    size: int, folder: Path, real: Statistics, encoder: tuple[str, str], probes: int, seed: int
) -> dict[str, Any]:
    drawn = draw(real, size, probes, seed)
    drawn.save(folder, encoder)
    exact = faiss.IndexFlatIP(128)
    exact.add(drawn.gallery.vectors)
    both = np.concatenate([drawn.known.vectors, drawn.strangers.vectors])
    np.save(folder / "nearest.npy", exact.search(both, 1)[1][:, 0])
    del exact, drawn
    say(f"{size:,} faces")
    ours = "tests.bench.million.ours"
    report: dict[str, Any] = {"faces": size, "ours": run(ours, "import", str(folder))}
    say(f"  imported: {report['ours']}")
    report["ours"] |= run(ours, "open", str(folder))
    promise = report["ours"].pop("promise")
    for part, whole, name in (
        ("strangers_matched", "strangers", "false_positive_rate"),
        ("found", "known", "found_rate"),
    ):
        interval = binomtest(promise[part], promise[whole]).proportion_ci(method="exact")
        promise[name] = [round(promise[part] / promise[whole], 4), *np.round(interval, 4).tolist()]
    report["promise"] = promise
    say(f"  ours: {report['ours']}, {promise}")
    report["peers"] = {}
    for name in CONTENDERS:
        if name in ("hnswlib", "usearch") and importlib.util.find_spec(name) is None:
            say(f"  {name} is not installed, and left out")
            continue
        module = "tests.bench.million.contenders"
        peer = run(module, "build", name, str(folder)) | run(module, "search", name, str(folder))
        report["peers"][name] = peer
        say(f"  {name}: {peer}")
    return report


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lfw", type=Path, help="folder of LFW, with split.csv in it or beside it")
    parser.add_argument("--faces", default="10000,100000,1000000")
    parser.add_argument("--probes", type=int, default=3_000, help="of known people; of strangers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, Gallery.open(home) as gallery:
        real = statistics(gallery, arguments.lfw)
        encoder = gallery.pipeline.encoder.name, gallery.pipeline.encoder.weights_sha256
    sizes = []
    for size in arguments.faces.split(","):
        with tempfile.TemporaryDirectory(prefix="million-") as folder:
            sizes.append(
                measured(int(size), Path(folder), real, encoder, arguments.probes, arguments.seed)
            )
    report = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"faiss": faiss.__version__, "numpy": version("numpy")},
        "encoder": encoder[0],
        "seed": arguments.seed,
        "sizes": sizes,
    }
    if arguments.save is not None:
        with atomic_write(arguments.save) as target:
            target.write((json.dumps(report, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
