"""How long commands take from a cold start, beside importing torch and starting Python alone.

    python -m tests.bench.startup --starts 15

The gallery has one person, of the photo that Matplotlib ships; the same photo is queried. All are
started in turns, so that a busy machine slows all of them. The first start of each writes byte code
and weights to caches and does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib
import numpy as np

PHOTO = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
GALLERY = "from gallery.cli.main import main; main()"


def start(arguments: list[str]) -> tuple[float, float]:
    """Seconds of the clock, and of the processor, until Python with these arguments has ended."""
    # A program that is installed has its byte code beside it.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    command = [sys.executable, *arguments]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return wall, cpu


def quartiles(seconds: list[float]) -> list[float]:
    """The lower quartile, the median and the upper quartile."""
    return [round(float(q), 3) for q in np.quantile(seconds, (0.25, 0.5, 0.75))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=15)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="startup-") as folder:
        gallery = ["-c", GALLERY, "--home", folder]
        start([*gallery, "enroll-identity", "Grace Hopper", str(PHOTO)])
        started = {
            "gallery --help": [*gallery, "--help"],
            "gallery identities list": [*gallery, "identities", "list"],
            "gallery query PHOTO": [*gallery, "query", str(PHOTO)],
            "import torch, facenet_pytorch": ["-c", "import torch, facenet_pytorch"],
            "pass": ["-c", "pass"],
        }
        rounds = [
            {name: start(command) for name, command in started.items()}
            for _ in range(1 + arguments.starts)
        ]
    report = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "starts": arguments.starts,
        "seconds": {
            name: {
                "clock": quartiles([times[name][0] for times in rounds[1:]]),
                "processor": quartiles([times[name][1] for times in rounds[1:]]),
            }
            for name in started
        },
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
