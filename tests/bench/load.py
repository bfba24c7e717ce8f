"""Throughput of the HTTP API in photos per second, compared with a plain loop of the same queries.

    python -m tests.bench.load --minutes 10 --save data/results/load.json

In one run on one machine: the loop, then 1, 4, 16 and 64 clients, then the loop again, then 16
clients for --minutes while the server's memory is recorded. The loop is `Gallery.query`, one photo
after the other in one process. One client and the loop also send the photo shrunk to 250 pixels.
The client is `hey`, a Debian package. The gallery has two people; the photo comes with Matplotlib.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import skimage
from matplotlib.cbook import get_sample_data
from PIL import Image

from gallery import Gallery

CLIENTS = (1, 4, 16, 64)
SMALL = 250
"""The longer side of the shrunk photo, in pixels."""
HOPPER = Path(get_sample_data("grace_hopper.jpg", asfileobj=False))
COLLINS = Path(skimage.__file__).parent / "data" / "astronaut.png"


def loop(gallery: Gallery, file: Path, seconds: float) -> float:
    """Photos per second, one after another, with the default number of threads."""
    photo = file.read_bytes()
    gallery.query(photo)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        gallery.query(photo)
        done += 1
    return done / (time.perf_counter() - start)


def load(url: str, file: Path, clients: int, seconds: float) -> dict[str, Any]:
    """Run `clients` that each send the photo as soon as the last request is answered."""
    command = [
        "hey", "-z", f"{seconds:g}s", "-c", str(clients), "-t", "0", "-m", "POST",
        "-T", "image/jpeg", "-D", str(file), f"{url}/v1/query",
    ]  # fmt: skip
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # Its CSV leaves out requests without an answer.
    elapsed = float(re.search(r"Total:\s+([\d.]+) secs", printed)[1])
    statuses = {k: int(n) for k, n in re.findall(r"\[(\d+)\]\s+(\d+) responses", printed)}
    _, _, failures = printed.partition("Error distribution:")
    return {
        "clients": clients,
        "answered_a_second": round(statuses.get("200", 0) / elapsed, 2),
        "milliseconds": {
            f"p{q}": round(1000 * float(seconds))
            for q, seconds in re.findall(r"(50|95|99)% in ([\d.]+) secs", printed)
        },
        "statuses": statuses,
        "without_an_answer": sum(int(n) for n in re.findall(r"\[(\d+)\]", failures)),
    }


def memory(pid: int) -> float:
    """The memory of the server and its processes in megabytes; what they share is counted once."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")  # one a thread
    children = [child for list_ in lists for child in list_.read_text(encoding="ascii").split()]
    kilobytes = 0
    for process in (str(pid), *children):
        sizes = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
        (size,) = (line for line in sizes if line.startswith("Pss:"))
        kilobytes += int(size.split()[1])
    return round(kilobytes / 1024, 1)


def serve(home: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start a server of this gallery, and wait until it is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    gallery = Path(sys.executable).with_name("gallery")
    command = [gallery, "--home", home, "serve", "--port", str(port), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try:
            if httpx.get(f"{url}/readyz").is_success:
                return process, url
        except httpx.HTTPError:
            time.sleep(0.2)
    raise SystemExit("the server did not become ready")


def measure(seconds: float, minutes: float) -> dict[str, Any]:
    """Run all measurements."""
    with tempfile.TemporaryDirectory() as folder:
        home, small = Path(folder) / "home", Path(folder) / "small.jpg"
        with Image.open(HOPPER) as image:
            image.thumbnail((SMALL, SMALL), Image.Resampling.LANCZOS)
            image.save(small, quality=90)
        with Gallery.open(home) as gallery:
            gallery.enroll("Grace Hopper", HOPPER)
            gallery.enroll("Eileen Collins", COLLINS)
            before = loop(gallery, HOPPER, seconds)
            process, url = serve(home)
            try:
                load(url, HOPPER, 4, 3)
                clients = [load(url, HOPPER, count, seconds) for count in CLIENTS]
                one = load(url, small, 1, seconds)
                after = loop(gallery, HOPPER, seconds)
                small_loop = loop(gallery, small, seconds)
                megabytes = [memory(process.pid)]
                for _ in range(round(minutes)):
                    load(url, HOPPER, 16, 60)
                    megabytes.append(memory(process.pid))
            finally:
                process.send_signal(signal.SIGTERM)
                ended = process.wait(30)
    plain = (before + after) / 2
    rates = {c["clients"]: c["answered_a_second"] for c in clients}
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "seconds_each": seconds,
        "loop_a_second": [round(before, 2), round(after, 2)],
        "clients": clients,
        **{f"times_the_loop_at_{n}": round(rates[n] / plain, 2) for n in CLIENTS[2:]},
        "small_photo": {
            "pixels": SMALL,
            "loop_a_second": round(small_loop, 2),
            "loop_milliseconds": round(1000 / small_loop),
            "one_client": one,
        },
        "megabytes_each_minute": megabytes,
        "server_exit_status": ended,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--save", type=Path)
    arguments = parser.parse_args()
    if shutil.which("hey") is None:
        raise SystemExit("hey is not installed; on Debian: apt-get install hey")
    text = json.dumps(measure(arguments.seconds, arguments.minutes), indent=2)
    print(text)  # noqa: T201
    if arguments.save is not None:
        arguments.save.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
