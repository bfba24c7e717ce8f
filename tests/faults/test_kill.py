"""Killed at any moment, the store has every face it acknowledged, and no half of one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gallery.assembly import DATABASE_FILE, INDEX_FILE
from gallery.store import faces, identities
from gallery.store.database import Database
from gallery.sync import IndexCopy
from gallery.weights.sources import DLIB_RESNET

WRITER = """
import sys, time
from pathlib import Path
import numpy as np
from gallery.store import faces, identities
from gallery.store.database import Database
from gallery.store.records import NewFace
from gallery.sync import IndexCopy
from gallery.types import Box, Encodings, Face, Photo
from gallery.weights.sources import DLIB_RESNET

home, seed = Path(sys.argv[1]), int(sys.argv[2])
rng = np.random.default_rng(seed)
database = Database(home / sys.argv[3], busy_timeout=30)
index = IndexCopy(database, home / sys.argv[4], engine="faiss", encoder=DLIB_RESNET.sha256)
face = Face(Box(0, 0, 50, 50), np.zeros((5, 2), np.float32), 1.0, 50.0)
print("ready", flush=True)
for i in range(100_000):
    row = rng.normal(size=(1, 128))
    row = (row / np.linalg.norm(row)).astype(np.float32)
    photo = Photo(np.zeros((1, 1, 3), np.uint8), 1.0, 1, 1, f"{seed:032d}{i:032d}", f"{seed}-{i}")
    with database.writing() as session:
        encoder = faces.encoder_id(session, DLIB_RESNET.name, DLIB_RESNET.sha256)
        name = f"person {seed}-{i // 3}"
        record = identities.find(session, name)
        identity = identities.add(session, name) if record is None else record.id
        new = NewFace(face, Encodings(row, np.ones(1, np.float32), np.ones(1, np.float32)), 2)
        added = faces.add(session, identity, photo, new, encoder)
    print(added, flush=True)
    if i % 9 == 8:
        with database.writing() as session:
            gone = identities.remove(session, identity)
        print(*(-face for face in gone), sep="\\n", flush=True)
    if i % 5 == 4:
        index.save()
"""


@pytest.mark.parametrize("seed", range(8))
def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for round_ in range(2):  # the second writes on where the first was killed
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, tmp_path, str(10 * seed + round_), DATABASE_FILE,
             INDEX_FILE],
            stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(float(rng.uniform(0.01, 0.4)))
        process.send_signal(signal.SIGKILL)
        said, _ = process.communicate()
        whole = said.splitlines(keepends=True)
        acknowledged = [int(line) for line in whole if line.endswith("\n")]

        database = Database(tmp_path / DATABASE_FILE, busy_timeout=5)
        assert database.problems() == []
        with database.reading() as session:
            stored = set(faces.ids(session))
            people = identities.list_all(session)
        added = {face for face in acknowledged if face > 0}
        erased = {-face for face in acknowledged if face < 0}
        # The last person may already be erased without that having been said.
        assert added - erased - stored <= set(sorted(added)[-3:])
        assert not erased & stored
        index = IndexCopy(
            database, tmp_path / INDEX_FILE, engine="faiss", encoder=DLIB_RESNET.sha256
        )
        assert set(index.catch_up().ids().tolist()) == stored
        assert sum(person.faces for person in people) == len(stored)
        assert all(person.faces for person in people)  # a person comes and goes with the faces
        index.close()
        database.close()
