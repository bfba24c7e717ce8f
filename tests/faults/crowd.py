"""Several processes on one gallery: writers report what they did, readers must see it.

python -m tests.faults.crowd --seconds 60
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import multiprocessing
import sys
import tempfile
import time
import traceback
from multiprocessing.synchronize import Event
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np

from gallery.admin.check import check_storage
from gallery.encoders.weights import DLIB_RESNET
from gallery.errors import IdentityNotFound
from gallery.gallery import Gallery
from gallery.store import audit, faces, identities
from gallery.store.records import NewFace
from gallery.types import Box, Encodings, Face, Photo

WRITERS, READERS = 2, 4
FACE = Face(Box(0, 0, 50, 50), np.zeros((5, 2), np.float32), 1.0, 50.0)


def open_gallery(home: Path) -> Gallery:
    return Gallery.open(home, cache=home / "cache", busy_timeout=60.0)


def row_of(number: int) -> Encodings:
    row = np.random.default_rng(number).normal(size=(1, 128))
    row = (row / np.linalg.norm(row)).astype(np.float32)
    return Encodings(row, np.ones(1, np.float32), np.ones(1, np.float32))


def write(home: Path, writer: int, stopped: Event, reports: Any) -> None:
    gallery = open_gallery(home)
    number = writer
    while not stopped.is_set():
        number += WRITERS
        sha256 = hashlib.sha256(str(number).encode()).hexdigest()
        photo = Photo(np.zeros((1, 1, 3), np.uint8), 1.0, 1, 1, sha256, f"{number}.jpg")
        with gallery.database.writing() as session:
            encoder = faces.encoder_id(session, DLIB_RESNET.name, DLIB_RESNET.sha256)
            name = f"person {number // 7}"
            record = identities.find(session, name)
            identity = record.id if record else identities.add(session, name)
            added = faces.add(session, identity, photo, NewFace(FACE, row_of(number), 2), encoder)
            audit.record(session, "enrol", identity_id=identity)
        reports.put(("enrolled", number, added))
        if number % 40 < WRITERS:
            with gallery.database.reading() as session:
                ids = [face.id for face in faces.records(session, identity_id=identity)]
            reports.put(("erasing", identity, ids))
            with contextlib.suppress(IdentityNotFound):  # the other writer has just erased it
                gallery.forget(identity)
            reports.put(("erased", identity, ids))
        if number % 25 < WRITERS:
            gallery.index.save()
    gallery.close()


def read(home: Path, stopped: Event, reports: Any) -> None:
    gallery = open_gallery(home)
    rounds = 0
    while not stopped.is_set():
        with gallery.database.reading() as session:
            before = set(faces.ids(session))
        indexed = set(gallery.index.catch_up().ids().tolist())
        with gallery.database.reading() as session:
            after = set(faces.ids(session))
        # Faces stored before and after are in the index, and no face that was stored at neither.
        assert before & after <= indexed <= before | after, (before ^ indexed, after ^ indexed)
        rounds += 1
    reports.put(("read", rounds, None))
    gallery.close()


def guarded(work: Any, *arguments: Any) -> None:
    try:
        work(*arguments)
    except BaseException:
        arguments[-1].put(("failed", traceback.format_exc(), None))
        raise


def run(seconds: float) -> str:
    """Raises AssertionError if anything was lost, came back, or failed."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="crowd-") as folder:
        home = Path(folder, "home")
        open_gallery(home).close()
        stopped, reports = context.Event(), context.Queue()
        works = [(write, home, writer, stopped, reports) for writer in range(WRITERS)]
        works += [(read, home, stopped, reports) for _ in range(READERS)]
        processes = [context.Process(target=guarded, args=work) for work in works]
        for process in processes:
            process.start()
        enrolled: dict[int, int] = {}
        erasing: set[int] = set()
        erased: set[int] = set()
        reads = 0
        stop = time.monotonic() + seconds
        try:
            while any(p.is_alive() for p in processes) or not reports.empty():
                if time.monotonic() > stop:
                    stopped.set()
                try:
                    kind, content, ids = reports.get(timeout=0.2)
                except Empty:
                    continue
                assert kind != "failed", content
                if kind == "enrolled":
                    enrolled[ids] = content
                elif kind == "read":
                    reads += content
                else:
                    (erased if kind == "erased" else erasing).update(ids)
        finally:
            if not stopped.is_set():  # one failed; the others would go on for ever
                for process in processes:
                    process.kill()
        assert all(p.exitcode == 0 for p in processes)
        gallery = open_gallery(home)
        with gallery.database.reading() as session:
            stored = faces.encodings_by_id(session, faces.ids(session))
        found = dict(zip(stored.face_ids.tolist(), stored.encodings.vectors, strict=True))
        assert not erased & found.keys()
        for face, row in found.items():
            assert (row == row_of(enrolled[face]).vectors[0]).all()
        checked = check_storage(gallery.settings, gallery.database, gallery.index)
        problems = [finding for finding in checked if not finding.ok]
        assert not problems, problems
        gallery.close()
        # A face enrolled while its person was being erased is erased with the person.
        excused = {enrolled[face] // 7 for face in erasing if face in enrolled}
        lost = {f for f, n in enrolled.items() if f not in found and n // 7 not in excused}
        assert not lost, f"{len(lost)} acknowledged faces are lost"
        return (
            f"{seconds:g} s, {WRITERS} writers, {READERS} readers: {len(enrolled)} faces enrolled,"
            f" {len(erased)} erased, {reads} reads, nothing lost and nothing came back"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    sys.stdout.write(f"{run(parser.parse_args().seconds)}\n")


if __name__ == "__main__":
    main()
