"""The gallery: imported, opened again, asked from encodings, also while another process enrols.

    python -m tests.bench.million.ours import|open|write FOLDER

`import` and `open` print one JSON object. `write` enrols ten faces a second until it is ended.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gallery.gallery import Gallery
from gallery.store import faces, identities
from gallery.store.records import NewFace
from gallery.types import NO_PIXELS, Box, Decision, Face, Float32, Int64, Outcome, Photo
from tests.bench.million.contenders import ONE_BY_ONE, milliseconds, resident
from tests.bench.million.drawn import loaded

ENROLLED_A_SECOND = 10
WRITING_SECONDS = 20.0
_FACE = Face(Box(1.0, 2.0, 101.0, 120.0), np.ones((5, 2), np.float32), 0.999, 50.0)


def photo(number: int) -> Photo:
    return Photo(NO_PIXELS, 1.0, 640, 480, f"{number:064x}", f"probes/{number}.jpg")


def opened(folder: Path) -> Gallery:
    return Gallery.open(folder / "home")


def imported(folder: Path) -> dict[str, Any]:
    with opened(folder) as gallery:
        start = stored = time.perf_counter()

        def progress(_done: int, _total: int) -> None:
            nonlocal stored
            stored = time.perf_counter()

        added, _ = gallery.import_from(folder / "faces.npz", progress)
        indexed = time.perf_counter()
        searched = gallery.index.described()
    sizes = {file.name: file.stat().st_size for file in (folder / "home").iterdir()}
    return {
        "import_seconds": round(stored - start, 1),
        "imported_a_second": round(added / (stored - start)),
        "index_seconds": round(indexed - stored, 1),
        "disk_bytes_a_face": {
            name: round(sizes[name] / added, 1) for name in ("gallery.db", "faces.index")
        },
        "index": searched,
    }


def measured(folder: Path) -> dict[str, Any]:
    """Open the gallery in this process, and ask it."""
    known, strangers = loaded(folder, "known"), loaded(folder, "strangers")
    people, known_people = np.load(folder / "people.npy"), np.load(folder / "known_people.npy")
    nearest = people[np.load(folder / "nearest.npy")]
    with opened(folder) as gallery:
        scorer, identifier = gallery.scorer, gallery.identifier  # the networks
        before, start = resident(), time.perf_counter()
        identifier.decide_face(photo(0), _FACE, known.row(0))
        report: dict[str, Any] = {
            "first_decision_seconds": round(time.perf_counter() - start, 3),
            "megabytes": round(resident() - before, 1),
        }
        found = {"known": known, "strangers": strangers}
        report["recall"] = {
            kind: recall(gallery, rows.vectors, exact)
            for (kind, rows), exact in zip(
                found.items(), np.split(nearest, [len(known)]), strict=True
            )
        }
        timed = range(min(ONE_BY_ONE, len(known)))

        def decide(i: int) -> Decision:
            return identifier.decide_face(photo(i), _FACE, known.row(i))

        def find(i: int) -> object:
            return gallery.index.search(known.row(i).vectors, 32)

        report["search_milliseconds"] = milliseconds([seconds_of(find, i) for i in timed])
        report["decision_milliseconds"] = milliseconds([seconds_of(decide, i) for i in timed])
        point = scorer.operating_point()
        names = [f"person {person}" for person in known_people]
        right = [
            decision.identity is not None and decision.identity.name == name
            for decision, name in zip(map(decide, range(len(known))), names, strict=True)
        ]
        matched = [
            identifier.decide_face(photo(i), _FACE, strangers.row(i)).outcome is Outcome.MATCH
            for i in range(len(strangers))
        ]
        report["decision_milliseconds_while_another_enrols"] = while_written(folder, decide)
    return report | {
        "promise": {
            "identities": point.comparisons,
            "stated": point.fpir,
            "strangers": len(matched),
            "strangers_matched": int(sum(matched)),
            "known": len(right),
            "found": int(sum(right)),
        }
    }


def recall(gallery: Gallery, probes: Float32, nearest: Int64) -> float:
    """The share of probes whose nearest identity is found."""
    found = [int(gallery.index.search(probe[None], 1).ids[0, 0]) for probe in probes]
    with gallery.database.reading() as session:
        records = faces.records_by_id(session, found).values()
    names = {record.id: record.identity.name for record in records}
    right = [names[face] == f"person {person}" for face, person in zip(found, nearest, strict=True)]
    return round(float(np.mean(right)), 4)


def seconds_of(work: Callable[[int], object], number: int) -> float:
    start = time.perf_counter()
    work(number)
    return time.perf_counter() - start


def while_written(folder: Path, decide: Callable[[int], object]) -> dict[str, float]:
    """The times of decisions, as many as come, while another process enrols."""
    command = [sys.executable, "-m", __spec__.name, "write", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()  # it has begun
        seconds: list[float] = []
        end = time.perf_counter() + WRITING_SECONDS
        while time.perf_counter() < end:
            seconds.append(seconds_of(decide, len(seconds) % ONE_BY_ONE))
            time.sleep(0.02)  # as with questions from elsewhere
        writer.terminate()
    return milliseconds(seconds)


def write(folder: Path) -> None:
    """Enrol people, each with one face, until this process is ended."""
    rows, number = loaded(folder, "strangers"), 0
    with opened(folder) as gallery:
        encoder = gallery.pipeline.encoder
        while True:
            new = NewFace(_FACE, rows.row(number % len(rows)), 2)
            start = time.perf_counter()
            with gallery.database.writing() as session:
                encoder_id = faces.encoder_id(session, encoder.name, encoder.weights_sha256)
                identity = identities.add(session, f"new {time.time_ns()}")
                faces.add(session, identity, photo(time.time_ns()), new, encoder_id)
            if not number:
                sys.stdout.write("begun\n")
                sys.stdout.flush()
            number += 1
            time.sleep(max(0.0, 1 / ENROLLED_A_SECOND - (time.perf_counter() - start)))


if __name__ == "__main__":
    step, folder = sys.argv[1], Path(sys.argv[2])
    if step == "write":
        write(folder)
    sys.stdout.write(json.dumps({"import": imported, "open": measured}[step](folder)))
