"""The contenders, in turns: each round, every one of them reads the same photos."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.bench.photos.contender import Found
from tests.bench.photos.sets import PhotoSet

README, ALL_FACES, DLIB = (
    "facenet-pytorch, README",
    "facenet-pytorch, all faces",
    "face_recognition",
)
PEERS = (README, ALL_FACES, DLIB)
MANY, MANY_LONG = 96, 32
"""Photos of a turn of worker processes, which are measured in its second half."""


@dataclass(frozen=True)
class Entry:
    """kind : of contender.  runtime : ours alone have one.  cores : that it is pinned to."""

    kind: str
    runtime: str | None
    cores: int

    @property
    def name(self) -> str:
        if self.runtime is None:
            return self.kind
        kind = "query_many" if self.kind == "query" and self.cores > 1 else self.kind
        return f"{kind}, {self.runtime}"

    @property
    def has_workers(self) -> bool:
        return self.runtime is not None and self.cores > 1


@dataclass
class Turn:
    """photos : how many.  rate : photos a second.

    others : share of the cores' time that other programs had.
    cpu : seconds of the processors; None for worker processes.
    first : seconds until the first answer, which for worker processes include their start.
    """

    photos: int
    rate: float
    others: float
    cpu: float | None
    first: float


@dataclass
class Result:
    """What a contender did with a set.  faces : of each photo, by its file's name."""

    turns: list[Turn] = field(default_factory=list)
    faces: dict[str, list[Found] | None] = field(default_factory=dict)


class Running:
    """A contender's process."""

    def __init__(self, entry: Entry, home: Path) -> None:
        self.entry = entry
        self._cores = sorted(os.sched_getaffinity(0))[-entry.cores :]
        wanted = {
            "kind": entry.kind,
            "runtime": entry.runtime,
            "cores": self._cores,
            "home": str(home),
        }
        threads = str(1 if entry.runtime else entry.cores)
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.photos.contender", json.dumps(wanted)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **dict.fromkeys(names, threads)},
        )

    def __enter__(self) -> Self:
        self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait(60)

    def ask(self, **request: Any) -> Any:
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.entry.name} ended: exit status {self._process.wait()}")
        return json.loads(line)

    def turn(self, photos: PhotoSet, number: int, result: Result) -> None:
        """Read the photos of a round."""
        many = MANY_LONG if photos.is_long else MANY
        paths = photos.turn(number, many if self.entry.has_workers else 1)
        busy, start = _busy(self._cores), time.perf_counter()
        answer = self.ask(of="turn", photos=[str(path) for path in paths])
        used = _busy(self._cores) - busy - answer["cpu"]
        others = max(0.0, used / (time.perf_counter() - start) / len(self._cores))
        seconds = answer["seconds"]
        count, elapsed = len(seconds), seconds[-1]
        if count != len(paths):
            raise SystemExit(f"{self.entry.name} answered {count} of {len(paths)} photos")
        if self.entry.has_workers:
            half = count // 2
            rate = (count - half) / (elapsed - seconds[half - 1])
        else:
            rate = count / elapsed
        cpu = None if self.entry.has_workers else answer["cpu"]
        result.turns.append(Turn(count, rate, others, cpu, seconds[0]))
        result.faces |= {Path(path).name: faces for path, faces in answer["faces"].items()}


def _busy(cores: list[int]) -> float:
    """Seconds that the cores were not idle, since the machine started, for whomever."""
    total = 0
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        name, *values = line.split()
        if name in {f"cpu{core}" for core in cores}:
            user, nice, system, _, _, irq, softirq, steal, *_ = map(int, values)
            total += user + nice + system + irq + softirq + steal
    return total / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(entries: list[Entry], home: Path) -> Iterator[list[Running]]:
    """Start the contenders, one after the other, and end them all."""
    processes: list[Running] = []
    try:
        for entry in entries:
            processes.append(Running(entry, home))
            processes[-1].__enter__()
        yield processes
    finally:
        for process in processes:
            process.__exit__()


def race(
    contenders: list[Running],
    photos: PhotoSet,
    rounds: int,
    progress: Callable[[str], None],
) -> dict[str, Result]:
    """What each contender does with a set, by its name."""
    warm = [str(path) for path in photos.slices[0][0][:2]]
    results = {contender.entry.name: Result() for contender in contenders}
    for contender in contenders:
        contender.ask(of="turn", photos=warm)
    for number in range(rounds):
        number %= len(photos.slices)
        # Who follows whom changes from round to round.
        for contender in contenders[number:] + contenders[:number]:
            progress(f"{photos.name}, round {number + 1}: {contender.entry.name}")
            contender.turn(photos, number, results[contender.entry.name])
    return results
