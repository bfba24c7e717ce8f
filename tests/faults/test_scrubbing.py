"""Erasing from a large database: in bounded memory, in the home, also if it is killed."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gallery.config import DATABASE_FILE
from gallery.errors import DatabaseUnusable
from gallery.gallery import Gallery
from gallery.store import identities, kept_images
from gallery.store.change_log import pending_scrub
from gallery.store.database import Database
from tests.conftest import AddFace, UnitRows

PICTURES, PICTURE_BYTES = 40, 2_000_000
MOST_BYTES = 25_000_000  # of memory, for a database of 80 MB

SCRUB = """
import resource, sys
from pathlib import Path
from gallery.store.database import Database
database = Database(Path(sys.argv[1]), busy_timeout=5.0)
used = 1024 * int(next(l for l in open("/proc/self/status") if l.startswith("VmData")).split()[1])
resource.setrlimit(resource.RLIMIT_DATA, (used + int(sys.argv[2]),) * 2)
print("begins", flush=True)
database.scrub()
print("done", flush=True)
"""


def secret(number: int) -> bytes:
    return random.Random(number).randbytes(PICTURE_BYTES)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, unit_rows: UnitRows, add_face: AddFace) -> Path:
    """A database with large kept pictures, of which a quarter was erased but not scrubbed."""
    file = tmp_path_factory.mktemp("large") / DATABASE_FILE
    database = Database(file, busy_timeout=5.0)
    rows = unit_rows(PICTURES, 1)
    for number in range(PICTURES):
        name = "Erased" if number % 4 == 0 else "Kept"
        face = add_face(database, name, rows.row(number), number)
        with database.writing() as session:
            kept_images.add_thumbnail(session, face, secret(number))
    with database.writing() as session:
        identities.remove(session, identities.get(session, "Erased").id)
    database.close()
    return file


@pytest.fixture
def home(large: Path, tmp_path: Path) -> Path:
    home = tmp_path / "home"
    shutil.copytree(large.parent, home)
    home.chmod(0o700)
    return home


def scrub(home: Path, most_bytes: int) -> subprocess.Popen[str]:
    """A process that scrubs, and may take so much memory for that."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRUB, str(home / DATABASE_FILE), str(most_bytes)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begins\n"
    return process


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_is_bounded(home: Path) -> None:
    with scrub(home, MOST_BYTES) as process:
        printed, _ = process.communicate(timeout=120)
    assert (process.returncode, printed) == (0, "done\n")
    assert {file.name.split("-")[0] for file in home.iterdir()} == {DATABASE_FILE}


@pytest.mark.parametrize("seed", range(3))
def test_killed_scrub_leaves_nothing_and_is_finished_at_the_next_opening(
    home: Path, cache: Path, seed: int
) -> None:
    with scrub(home, 2**40) as process:
        time.sleep(random.Random(seed).uniform(0.0, 0.6))
        process.send_signal(signal.SIGKILL)
    allowed = {DATABASE_FILE, f"{DATABASE_FILE}-wal", f"{DATABASE_FILE}-shm"}
    assert {file.name for file in home.iterdir()} <= allowed
    with Gallery.open(home, cache=cache, threads=1) as gallery:
        with gallery.database.reading() as session:
            assert pending_scrub(session) is None
        assert gallery.database.problems() == []
        assert [(record.name, record.faces) for record in gallery.identities()] == [("Kept", 30)]
    content = b"".join(file.read_bytes() for file in home.iterdir() if file.is_file())
    assert secret(1)[5_000:5_064] in content
    assert not any(secret(n)[5_000:5_064] in content for n in range(0, PICTURES, 4))


def test_temporary_file_is_in_the_home(home: Path) -> None:
    seen = set()
    with scrub(home, 2**40) as process:
        while process.poll() is None:
            for descriptor in Path(f"/proc/{process.pid}/fd").glob("*"):
                with contextlib.suppress(OSError):
                    seen.add(os.readlink(descriptor))
    temporary = {path for path in seen if "etilqs" in path}
    assert temporary and all(path.startswith(f"{home}/") for path in temporary)
    assert any(path.endswith(" (deleted)") for path in temporary)  # from the start on


def test_full_disk_is_named_before_anything_is_erased(
    home: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Gallery.open(home, cache=cache, threads=1) as gallery:
        size = (home / DATABASE_FILE).stat().st_size
        usage = shutil.disk_usage(home)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2 * size - 1))
        with pytest.raises(DatabaseUnusable, match=rf"needs \d[\d,]+ bytes .* {2 * size - 1:,};"):
            gallery.forget("Kept")
        assert [record.name for record in gallery.identities()] == ["Kept"]
        monkeypatch.undo()
        assert gallery.forget("Kept").faces == 30
