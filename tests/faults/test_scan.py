"""Workers that a photo kills or hangs, and a dedupe that is killed in the middle of a folder."""

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
from gallery.dedupe.folder import FolderOptions, dedupe_folder
from gallery.encoders.protocol import Views
from gallery.errors import TrainingInterrupted
from gallery.store import photo_cache
from gallery.training.dataset import people_in
from gallery.training.encode import encode_people
from gallery.types import Photo
from gallery.vision import workers
from gallery.vision.pipeline import PhotoSource
from gallery.vision.workers import Workers
from tests.faults.killed_pipeline import DEADLY, ENDLESS, killed_at_start, killed_by_photo


def copied(photo: Path, folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        shutil.copy(photo, folder / name)
    return folder


def test_photos_that_kill_or_hang_their_worker_are_skipped_alone(
    gallery: Gallery,
    tmp_path: Path,
    cache: Path,
    hopper: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ["a.jpg", "b.jpg", DEADLY, ENDLESS, "f.jpg", "g.jpg", "h.jpg"]
    folder = copied(hopper, tmp_path / "photos", names)
    monkeypatch.setattr(workers, "_LEAST_PHOTOS", 2)
    pool = Workers(2, partial(killed_by_photo, tmp_path / "worker", cache), 15.0, 4 * 2**30)
    found = dedupe_folder(
        folder,
        gallery.pipeline,
        gallery.scorer,
        gallery.database,
        views=2,
        options=FolderOptions(),
        workers=pool,
    )
    (copies,) = found.copies
    assert len(copies.photos) == found.photos == 5
    reasons = {Path(photo).name: reason for photo, reason in found.skipped}
    assert reasons.keys() == {DEADLY, ENDLESS}
    assert reasons[DEADLY].startswith(
        f"{folder / DEADLY} was not read: its process ended (SIGKILL)"
    )
    assert reasons[ENDLESS].startswith(f"{folder / ENDLESS} took longer than 15 seconds to read")


def test_photos_are_read_in_this_process_when_no_worker_starts(
    gallery: Gallery, tmp_path: Path, hopper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(hopper, tmp_path / "photos", ["a.jpg", "b.jpg", "c.jpg"])
    monkeypatch.setattr(workers, "_LEAST_PHOTOS", 2)
    photos, _ = scan.list_photos(sorted(folder.iterdir()), gallery.pipeline, 2)
    pool = Workers(2, killed_at_start, 60.0, 4 * 2**30)
    scan.read_photos(photos, gallery.database, gallery.pipeline, 2, pool)
    with gallery.database.reading() as session:
        stored = list(photo_cache.photos(session, [photo.mark for photo in photos]))
    assert len(stored) == 3 and not any(photo.reason for photo in stored)


def test_training_names_the_photo_that_kills_its_worker_and_keeps_the_others(
    gallery: Gallery,
    tmp_path: Path,
    cache: Path,
    hopper: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ada = copied(hopper, tmp_path / "people" / "Ada", ["a.jpg", "b.jpg", DEADLY])
    monkeypatch.setattr(workers, "_LEAST_PHOTOS", 2)
    pipeline, encodings = gallery.pipeline, tmp_path / "encodings"
    pool = Workers(2, partial(killed_by_photo, tmp_path / "worker", cache), 60.0, 4 * 2**30)
    with pytest.raises(TrainingInterrupted, match=DEADLY):
        encode_people(
            people_in(tmp_path / "people"), pipeline, Views(2, 2), encodings, workers=pool
        )
    (ada / DEADLY).unlink()
    done: list[int] = []
    encode_people(people_in(tmp_path / "people"), pipeline, Views(2, 2), encodings, done.append)
    assert done == [2]  # both came from the cache


def test_killed_dedupe_resumes_where_it_was(
    gallery: Gallery,
    tmp_path: Path,
    cache: Path,
    hopper: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = copied(hopper, tmp_path / "photos", [f"{i}.jpg" for i in range(44)])
    for number in range(44):  # 32 are stored at once
        with (folder / f"{number}.jpg").open("ab") as file:
            file.write(bytes([number]))  # no two files are identical
    home = gallery.settings.home
    command = ["--home", str(home), "dedupe", str(folder), "--json"]
    code = "from gallery.cli.main import main; main()"
    killed = subprocess.Popen(
        [sys.executable, "-c", code, *command],
        env={"GALLERY_CACHE": str(cache), "GALLERY_THREADS": "1", "PATH": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    stored = 0
    for _ in range(1_000):
        time.sleep(0.1)
        with gallery.database.reading() as session:
            stored = photo_cache.count(session)
        if stored or killed.poll() is not None:
            break
    killed.send_signal(signal.SIGKILL)
    assert killed.wait(30) == -signal.SIGKILL
    with gallery.database.reading() as session:
        stored = photo_cache.count(session)
    assert 0 < stored < 44
    reads: list[PhotoSource] = []
    original = gallery.pipeline.open

    def recorded(source: PhotoSource) -> Photo:
        reads.append(source)
        return original(source)

    monkeypatch.setattr(gallery.pipeline, original.__name__, recorded)
    found = gallery.dedupe_folder(folder)
    assert len(reads) == 44 - stored
    assert found.photos == 44 and len(found.copies[0].photos) == 44
