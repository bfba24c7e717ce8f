"""A reader that is killed on a photo, and a dedupe that is killed in the middle of a folder."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from gallery import Gallery
from gallery.dedupe import scan
from gallery.dedupe.scan import Readers
from gallery.store import photo_cache
from tests.faults.killed_pipeline import DEADLY, deadly_eye, no_eye


def test_a_photo_that_kills_its_reader_takes_none_with_it(
    gallery: Gallery,
    tmp_path: Path,
    cache: Path,
    hopper: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    names = ["a.jpg", "b.jpg", DEADLY, "e.jpg", "f.jpg", "g.jpg"]
    for name in names:
        shutil.copy(hopper, folder / name)
    monkeypatch.setattr(scan, "_WORTH_A_WORKER", 2)
    photos, _ = scan.listed(sorted(folder.iterdir()), gallery.pipeline, 2)
    readers = Readers(2, partial(deadly_eye, tmp_path / "reader", cache))
    scan.read_all(photos, gallery.database, gallery.pipeline, 2, readers)
    with gallery.database.reading() as session:
        found = list(photo_cache.photos(session, [one.mark for one in photos]))
    reasons = {one.path.name: photo.reason for one, photo in zip(photos, found, strict=True)}
    assert "its reader was killed on it" in reasons.pop(DEADLY)
    assert len(reasons) == 5 and not any(reasons.values())


def test_photos_are_read_here_where_no_reader_starts(
    gallery: Gallery, tmp_path: Path, hopper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    for name in "abc":
        shutil.copy(hopper, tmp_path / "photos" / f"{name}.jpg")
    monkeypatch.setattr(scan, "_WORTH_A_WORKER", 2)
    photos, _ = scan.listed(sorted((tmp_path / "photos").iterdir()), gallery.pipeline, 2)
    scan.read_all(photos, gallery.database, gallery.pipeline, 2, Readers(2, no_eye))
    with gallery.database.reading() as session:
        found = list(photo_cache.photos(session, [one.mark for one in photos]))
    assert len(found) == 3 and not any(photo.reason for photo in found)


def test_a_killed_dedupe_goes_on_where_it_was(
    gallery: Gallery,
    tmp_path: Path,
    cache: Path,
    hopper: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(44):  # of which 32 are kept at once
        shutil.copy(hopper, folder / f"{number}.jpg")
        with (folder / f"{number}.jpg").open("ab") as file:
            file.write(bytes([number]))  # no two are one file
    home = gallery.settings.home
    command = ["--home", str(home), "dedupe", str(folder), "--json"]
    code = "from gallery.cli.main import main; main()"
    killed = subprocess.Popen(
        [sys.executable, "-c", code, *command],
        env={"GALLERY_CACHE": str(cache), "GALLERY_THREADS": "1", "PATH": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    kept = 0
    for _ in range(1_000):
        time.sleep(0.1)
        with gallery.database.reading() as session:
            kept = photo_cache.count(session)
        if kept or killed.poll() is not None:
            break
    killed.send_signal(signal.SIGKILL)
    assert killed.wait(30) == -signal.SIGKILL
    with gallery.database.reading() as session:
        kept = photo_cache.count(session)
    assert 0 < kept < 44
    read: list[str] = []
    see = scan.see

    def noted(*arguments: object) -> photo_cache.SeenPhoto:
        read.append("")
        return see(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(scan, "see", noted)
    monkeypatch.setattr(scan, "_WORTH_A_WORKER", 1_000)
    found = gallery.dedupe_folder(folder)
    assert len(read) == 44 - kept
    assert found.photos == 44 and len(found.copies[0].photos) == 44
