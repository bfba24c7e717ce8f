"""Several processes at one gallery: writers that say what is done, readers that must see it.

python -m tests.faults.crowd --seconds 60
"""

from __future__ import annotations

import argparse
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


def write(home: Path, me: int, ended: Event, told: Any) -> None:
    gallery = open_gallery(home)
    number = me
    while not ended.is_set():
        number += WRITERS
        sha256 = hashlib.sha256(str(number).encode()).hexdigest()
        photo = Photo(np.zeros((1, 1, 3), np.uint8), 1.0, 1, 1, sha256, f"{number}.jpg")
        with gallery.database.writing() as session:
            encoder = faces.encoder_id(session, DLIB_RESNET.name, DLIB_RESNET.sha256)
            who = identities.find(session, f"person {number // 7}")
            one = who.id if who else identities.add(session, f"person {number // 7}")
            added = faces.add(session, one, photo, NewFace(FACE, row_of(number), 2), encoder)
            audit.record(session, "enrol", identity_id=one)
        told.put(("there", number, added))
        if number % 40 < WRITERS:
            gone = [face.id for face in gallery.identity(one)[1]]
            told.put(("going", one, gone))
            gallery.forget(one)
            told.put(("gone", one, gone))
        if number % 25 < WRITERS:
            gallery.index.save()
    gallery.close()


def read(home: Path, ended: Event, told: Any) -> None:
    gallery = open_gallery(home)
    rounds = 0
    while not ended.is_set():
        with gallery.database.reading() as session:
            before = set(faces.ids(session))
        found = set(gallery.index.catch_up().ids().tolist())
        with gallery.database.reading() as session:
            after = set(faces.ids(session))
        # What was there all the time is found, and nothing that never was.
        assert before & after <= found <= before | after, (before ^ found, after ^ found)
        rounds += 1
    told.put(("read", rounds, None))
    gallery.close()


def guarded(work: Any, *arguments: Any) -> None:
    try:
        work(*arguments)
    except BaseException:
        arguments[-1].put(("failed", traceback.format_exc(), None))
        raise


def run(seconds: float) -> str:
    """Raises AssertionError when anything was lost, came back, or failed."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="crowd-") as folder:
        home = Path(folder, "home")
        open_gallery(home).close()
        ended, told = context.Event(), context.Queue()
        works = [(write, home, me, ended, told) for me in range(WRITERS)]
        works += [(read, home, ended, told) for _ in range(READERS)]
        processes = [context.Process(target=guarded, args=work) for work in works]
        for process in processes:
            process.start()
        there: dict[int, int] = {}
        going: set[int] = set()
        gone: set[int] = set()
        reads = 0
        stop = time.monotonic() + seconds
        while any(p.is_alive() for p in processes) or not told.empty():
            if time.monotonic() > stop:
                ended.set()
            try:
                kind, what, ids = told.get(timeout=0.2)
            except Empty:  # nothing was said just now
                continue
            assert kind != "failed", what
            if kind == "there":
                there[ids] = what
            elif kind == "read":
                reads += what
            else:
                (gone if kind == "gone" else going).update(ids)
        assert all(p.exitcode == 0 for p in processes)
        gallery = open_gallery(home)
        with gallery.database.reading() as session:
            stored = faces.encodings_by_id(session, faces.ids(session))
        found = dict(zip(stored.face_ids.tolist(), stored.encodings.vectors, strict=True))
        # Somebody else's erasure may have taken a face that was enrolled for that person since.
        assert not gone & found.keys()
        for face, row in found.items():
            assert (row == row_of(there[face]).vectors[0]).all()
        checked = check_storage(gallery.settings, gallery.database, gallery.index)
        problems = [finding for finding in checked if not finding.ok]
        assert not problems, problems
        gallery.close()
        # A face that was enrolled while its person was being erased went with the person.
        excused = {there[face] // 7 for face in going if face in there}
        lost = {f for f, n in there.items() if f not in found and n // 7 not in excused}
        assert not lost, f"{len(lost)} acknowledged faces are lost"
        return (
            f"{seconds:g} s, {WRITERS} writers, {READERS} readers: {len(there)} faces enrolled,"
            f" {len(gone)} erased, {reads} looks, nothing lost and nothing came back"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    sys.stdout.write(f"{run(parser.parse_args().seconds)}\n")


if __name__ == "__main__":
    main()
