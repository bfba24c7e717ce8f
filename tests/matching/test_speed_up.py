"""A slow index is sped up in another process, and swapped in, while it is searched."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gallery.gallery import Gallery
from gallery.matching.index import IndexReplica
from gallery.matching.speed_up import SpeedUp
from gallery.process import WorkerProcess
from gallery.store import identities
from gallery.types import Encodings
from indexer import faiss_index, load_index
from indexer.faiss_index import FaissIndex

FACES = 600


@pytest.fixture(autouse=True)
def _soon_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss_index, "_FEWEST_TO_CODE", FACES)
    monkeypatch.setattr(faiss_index, "SLOW_SECONDS", 0.0)


@pytest.fixture
def rows(unit_rows: Callable[[int, int], Encodings]) -> Encodings:
    return unit_rows(FACES + 50, 5)


@pytest.fixture
def gallery(gallery: Gallery, rows: Encodings, add_face: Callable[..., int]) -> Gallery:
    """Of 600 people, each with a face."""
    for i in range(FACES):
        add_face(gallery.database, f"person {i}", rows.row(i), i)
    return gallery


def assert_finds(index: IndexReplica, rows: Encodings, expected: list[int]) -> None:
    found = index.search(rows.vectors[[i - 1 for i in expected]], 1)
    assert found.ids[:, 0].tolist() == expected
    assert index.catch_up().ids().tolist() == expected


def is_coded(index: IndexReplica) -> bool:
    opened = index.catch_up()
    assert isinstance(opened, FaissIndex)
    return opened.shortlist is not None


def test_index_is_coded_and_follows_the_gallery(
    gallery: Gallery, rows: Encodings, add_face: Callable[..., int]
) -> None:
    index = gallery.index
    assert not is_coded(index) and "exact" in index.described()
    assert gallery.speed_up_index()
    assert is_coded(index) and "by short codes" in index.described()
    assert not gallery.speed_up_index()
    assert_finds(index, rows, list(range(1, FACES + 1)))
    added = add_face(gallery.database, "another", rows.row(FACES), FACES)
    with gallery.database.writing() as session:
        identities.remove(session, identities.get(session, "person 7").id)
    assert_finds(index, rows, [i for i in range(1, added + 1) if i != 8])
    file = gallery.settings.home / "faces.index"
    loaded = load_index("faiss", 128, file)[0]
    assert isinstance(loaded, FaissIndex) and loaded.shortlist is not None


def test_what_changes_meanwhile_is_found_or_gone(
    gallery: Gallery,
    rows: Encodings,
    add_face: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = WorkerProcess.end

    def end(process: WorkerProcess) -> int | None:
        """The file is written, and not yet read."""
        add_face(gallery.database, "another", rows.row(FACES), FACES)
        with gallery.database.writing() as session:
            identities.remove(session, identities.get(session, "person 7").id)
        return ended(process)

    monkeypatch.setattr(WorkerProcess, "end", end)
    assert gallery.speed_up_index()
    assert is_coded(gallery.index)
    assert_finds(gallery.index, rows, [i for i in range(1, FACES + 2) if i != 8])


def test_a_process_that_is_killed_changes_nothing(
    gallery: Gallery, rows: Encodings, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery.index.catch_up()
    gallery.index.save()
    file = gallery.settings.home / "faces.index"
    before = file.read_bytes()
    send = WorkerProcess.send

    def killed(process: WorkerProcess, items: list[object]) -> None:
        process._process.kill()
        process._process.join()
        send(process, items)

    monkeypatch.setattr(WorkerProcess, "send", killed)
    assert not gallery.speed_up_index()
    assert file.read_bytes() == before
    assert_finds(gallery.index, rows, list(range(1, FACES + 1)))
    monkeypatch.undo()
    assert not gallery.speed_up_index()  # it is not tried every minute


def test_closing_stops_it(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    speed_up = SpeedUp(gallery.settings)
    started = threading.Event()
    receive = WorkerProcess.receive

    def noticed(process: WorkerProcess) -> object:
        started.set()
        time.sleep(0.2)
        return receive(process)

    monkeypatch.setattr(faiss_index, "_FEWEST_TO_CODE", FACES)
    monkeypatch.setattr(WorkerProcess, "receive", noticed)
    done: list[bool] = []
    thread = threading.Thread(target=lambda: done.append(speed_up.run(gallery.index)))
    thread.start()
    assert started.wait(60)
    speed_up.close()
    thread.join(30)
    assert done == [False]


def test_an_encrypted_gallery_keeps_it_in_memory(
    tmp_path: Path, cache: Path, rows: Encodings, add_face: Callable[..., int]
) -> None:
    key = tmp_path / "key"
    key.write_text("ab" * 32, encoding="ascii")
    key.chmod(0o600)
    with Gallery.open(tmp_path / "secret", cache=cache, key_file=key) as gallery:
        for i in range(FACES):
            add_face(gallery.database, f"person {i}", rows.row(i), i)
        assert gallery.speed_up_index() and is_coded(gallery.index)
        assert_finds(gallery.index, rows, list(range(1, FACES + 1)))
        assert not (tmp_path / "secret" / "faces.index").exists()
