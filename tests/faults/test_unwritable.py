"""A full disk or a read-only home: what only reads answers, what writes fails in one sentence."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gallery.config import DATABASE_FILE
from gallery.errors import DatabaseUnusable, HomeUnusable
from gallery.gallery import Gallery
from gallery.store import identities
from gallery.store.database import Database
from tests.api.conftest import Serve
from tests.api.requests import is_problem, query
from tests.conftest import SmallDisk


@pytest.fixture
def home(peopled: Gallery) -> Path:
    """The home of a gallery of twelve people, which no process has open."""
    peopled.close()
    return peopled.settings.home


@pytest.fixture(params=["read-only", "full"])
def unwritable(request: pytest.FixtureRequest, home: Path, tmp_path: Path) -> Iterator[Path]:
    """That home on a disk of its own, which is read-only, or full."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a disk")
    try:
        shutil.copytree(home, disk / "home")
        if request.param == "full":
            with pytest.raises(OSError, match="space"), (disk / "fill").open("wb") as file:
                while True:
                    file.write(bytes(4096))
                    file.flush()
        else:
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        yield disk / "home"
    finally:
        subprocess.run(["umount", disk], check=True)


def test_commands_that_read_answer_and_say_so_once(
    unwritable: Path, cache: Path, no_one: list[Path]
) -> None:
    def gallery(*arguments: object) -> subprocess.CompletedProcess[str]:
        start = "from gallery.cli.main import main; main()"
        command = [sys.executable, "-c", start, "--home", unwritable, *arguments]
        environment = os.environ | {"GALLERY_CACHE": str(cache), "GALLERY_THREADS": "1"}
        return subprocess.run(
            list(map(str, command)), capture_output=True, text=True, env=environment, check=False
        )

    listed = gallery("identities", "list", "--json")
    assert listed.returncode == 0 and len(listed.stdout.splitlines()) == 12
    assert listed.stderr.count("nothing can be written to this gallery") == 1
    asked = gallery("query", no_one[0], no_one[1], "--json")
    assert [json.loads(line)["outcome"] for line in asked.stdout.splitlines()] == ["no_face"] * 2
    assert asked.returncode == 1 and asked.stderr.count("nothing can be written") == 1
    renamed = gallery("identities", "rename", "person 00", "Ada")
    assert renamed.returncode == 2 and "error: " in renamed.stderr
    assert "this is a bug" not in renamed.stderr + asked.stderr


def test_server_answers_and_says_so_in_its_health(
    unwritable: Path, hopper: Path, serve: Serve
) -> None:
    with serve(unwritable) as client:
        assert client.get("/healthz").json() == {"status": "alive", "read_only": True}
        assert query(client, hopper).json()["outcome"] == "unknown"
        assert client.get("/v1/identities").json()["total"] == 12
        response = client.patch("/v1/identities/1", json={"name": "Ada"})
        kind = "database-unusable" if "free" in response.text else "home-unusable"
        assert is_problem(response, 503, kind)
        assert str(unwritable) not in response.text


def test_writes_succeed_again_once_there_is_room(
    home: Path, cache: Path, small_disk: SmallDisk
) -> None:
    with small_disk(4_000):
        gallery = Gallery.open(home, cache=cache, threads=1)
        assert "free some space" in (gallery.database.read_only or "")
        assert len(gallery.identities()) == 12
        assert len(gallery.index.catch_up()) == 36
        with pytest.raises(DatabaseUnusable, match="free some space"):
            gallery.rename("person 00", "Ada")
        (database,) = [f for f in gallery.check() if f.part == "database"]
        assert not database.ok and "nothing can be written" in database.message
    assert gallery.rename("person 00", "Ada").name == "Ada"
    assert gallery.database.read_only is None
    assert gallery.identity("Ada")[0].name == "Ada"
    gallery.close()


def test_what_is_only_in_an_unreadable_log_is_said_to_be_unseen(
    unwritable: Path,
) -> None:
    """A copied home may have a log whose index is gone. It cannot be read without writing."""
    subprocess.run(["mount", "-o", "remount,rw", unwritable.parent], check=True)
    (unwritable.parent / "fill").unlink(missing_ok=True)
    script = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
        " c.execute('UPDATE identities SET name = name || 1'); c.commit(); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", script, unwritable / DATABASE_FILE], check=False)
    (unwritable / f"{DATABASE_FILE}-shm").unlink()
    size = (unwritable / f"{DATABASE_FILE}-wal").stat().st_size
    subprocess.run(["mount", "-o", "remount,ro", unwritable.parent], check=True)
    database = Database(unwritable / DATABASE_FILE, busy_timeout=1.0)
    assert f"changes still in {DATABASE_FILE}-wal ({size:,} bytes) are not seen" in str(
        database.read_only
    )
    with database.reading() as session:
        assert identities.list_all(session)[0].name == "person 00"
    database.close()


def test_new_or_older_database_still_needs_room(tmp_path: Path, small_disk: SmallDisk) -> None:
    with small_disk(4_000), pytest.raises((DatabaseUnusable, HomeUnusable)):
        Database(tmp_path / "new.db", busy_timeout=1.0)
