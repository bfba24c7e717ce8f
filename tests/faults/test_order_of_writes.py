"""Data is on disk before it is acknowledged, according to a trace of system calls."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

ACKNOWLEDGED = re.compile(r'write\(1<[^>]*>, "acknowledged (\w+)\\n"')

PROGRAM = """
import os, sys
import numpy as np
from pathlib import Path
from gallery.gallery import Gallery
from gallery.store import faces, identities
from gallery.store.records import NewFace
from gallery.types import Box, Encodings, Face, Photo
from gallery.encoders.weights import DLIB_RESNET

gallery = Gallery.open(Path(sys.argv[1], "home"), cache=Path(sys.argv[1], "cache"))
face = Face(Box(0, 0, 50, 50), np.zeros((5, 2), np.float32), 1.0, 50.0)
row = np.zeros((1, 128), np.float32)
row[0, 0] = 1.0
seen = Encodings(row, np.ones(1, np.float32), np.ones(1, np.float32))
for i in range(3):
    photo = Photo(np.zeros((1, 1, 3), np.uint8), 1.0, 1, 1, f"{i:064d}", f"{i}.jpg")
    with gallery.database.writing() as session:
        encoder = faces.encoder_id(session, DLIB_RESNET.name, DLIB_RESNET.sha256)
        identity = identities.add(session, f"person {i}")
        faces.add(session, identity, photo, NewFace(face, seen, 2), encoder)
    os.write(1, b"acknowledged enrol\\n")
gallery.index.save()
os.write(1, b"acknowledged save\\n")
gallery.forget("person 1")
os.write(1, b"acknowledged forget\\n")
"""


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Every write, sync, rename and open of the program, in order."""
    if shutil.which("strace") is None:
        pytest.skip("strace is absent: `make tools` installs it")
    folder = tmp_path_factory.mktemp("traced")
    trace = folder / "trace"
    kinds = "write,pwrite64,fsync,fdatasync,rename,renameat2,ftruncate,openat"
    ran = subprocess.run(
        ["strace", "-f", "-y", "-s", "60", "-o", trace, "-e", f"trace={kinds}",
         sys.executable, "-c", PROGRAM, folder],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )  # fmt: skip
    if "PTRACE" in ran.stderr or "ptrace" in ran.stderr:
        pytest.skip("strace is not permitted here")
    assert ran.returncode == 0, ran.stderr
    return trace.read_text(errors="replace").splitlines()


def calls_before(calls: list[str], number: int, action: str) -> list[str]:
    """The calls between the number-th acknowledgement of an action and the one before it."""
    places = [i for i, call in enumerate(calls) if ACKNOWLEDGED.search(call)]
    actions = [ACKNOWLEDGED.search(calls[i])[1] for i in places]  # type: ignore[index]
    at = [k for k, acknowledged in enumerate(actions) if acknowledged == action][number]
    return calls[places[at - 1] + 1 if at else 0 : places[at]]


@pytest.mark.parametrize("number", range(3))
def test_enrolment_is_synced_before_it_is_acknowledged(calls: list[str], number: int) -> None:
    enrolment = calls_before(calls, number, "enrol")
    written = [i for i, c in enumerate(enrolment) if "pwrite64(" in c and "gallery.db-wal" in c]
    synced = [i for i, c in enumerate(enrolment) if "sync(" in c and "gallery.db-wal" in c]
    assert written and synced and max(synced) > max(written)


def test_index_is_synced_before_it_is_renamed(calls: list[str]) -> None:
    saving = calls_before(calls, 0, "save")
    synced = [i for i, c in enumerate(saving) if "fsync(" in c and "faces.index" in c]
    named = [i for i, c in enumerate(saving) if "rename" in c and "faces.index" in c]
    folder = [i for i, c in enumerate(saving) if "fsync(" in c and re.search(r"/home>\)", c)]
    assert synced[0] < named[0] < folder[-1]


def test_erasure_truncates_the_log_before_it_is_acknowledged(calls: list[str]) -> None:
    erasure = calls_before(calls, 0, "forget")
    emptied = [i for i, c in enumerate(erasure) if "ftruncate(" in c and "-wal>, 0)" in c]
    rebuilt = [i for i, c in enumerate(erasure) if "sync(" in c and re.search(r"gallery\.db>", c)]
    index = [i for i, c in enumerate(erasure) if "rename" in c and "faces.index" in c]
    assert emptied and rebuilt and index and max(rebuilt) < max(emptied)


def test_nothing_is_written_outside_home_and_cache(calls: list[str]) -> None:
    opened = [c for c in calls if "openat(" in c and re.search("O_(WRONLY|RDWR)", c)]
    files = {re.search(r'"([^"]+)"', c)[1] for c in opened}  # type: ignore[index]
    outside = {f for f in files if "/traced" not in f and not f.startswith(("/dev/", "/proc/"))}
    assert {f for f in outside if not f.endswith(".pyc") and "__pycache__" not in f} == set()
