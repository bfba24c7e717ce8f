"""A server's photos are read in processes of their own: what one does to its process ends there."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from gallery import process
from gallery.errors import EncoderChanged, PhotoLost, PhotoUndecodable, WeightsMissing
from gallery.gallery import Gallery
from gallery.store import kept_images
from gallery.timing import listen
from gallery.types import Outcome
from gallery.vision.photo_processes import PhotoProcesses
from gallery.vision.workers import Workers
from tests.faults import hostile_items as hostile
from tests.models import save_dlib_onnx_head, write_model
from tests.queries.test_query_many import assert_same
from tests.unit.test_runtime import switched

GALLERY = Path(sys.executable).with_name("gallery")
HERE: Any = hostile.BarePipeline()
MEMORY = 2**31


@pytest.fixture(autouse=True)
def _none_is_left() -> Iterator[None]:
    before = {*multiprocessing.active_children()}
    yield
    assert {*multiprocessing.active_children()} <= before


def started(
    build: Callable[[], Any] = hostile.BarePipeline, *, seconds: float = 60.0, count: int = 2
) -> PhotoProcesses:
    return PhotoProcesses(Workers(count, build, seconds, MEMORY), "sha")


def applier(processes: PhotoProcesses) -> Callable[[Any, float], Any]:
    """A function that applies another one to a number in place of a photo."""

    def apply(function: Any, number: Any) -> Any:
        return processes.apply(partial(hostile.of_number, function), number, HERE)

    return apply


@pytest.fixture
def processes() -> Iterator[PhotoProcesses]:
    processes = started(seconds=2.0)
    yield processes
    processes.close()


def test_hostile_photos_are_lost_alone(processes: PhotoProcesses) -> None:
    apply = applier(processes)
    items = [hostile.HANGS, 1, hostile.EXITS, 2, hostile.CRASHES, 3, hostile.EATS, *range(4, 20)]

    def squared(item: int) -> int | str:
        try:
            return apply(hostile.squared, item)  # type: ignore[no-any-return]
        except PhotoLost as error:
            return str(error)

    with ThreadPoolExecutor(4) as threads:
        results = dict(zip(items, threads.map(squared, items), strict=True))
    lost = {item: result for item, result in results.items() if isinstance(result, str)}
    assert all(results[item] == item * item for item in items if item not in lost)
    assert [*lost] == [hostile.HANGS, hostile.EXITS, hostile.CRASHES, hostile.EATS]
    assert "took longer than 2 seconds" in lost[hostile.HANGS]
    assert "(exit status 3)" in lost[hostile.EXITS] and "(SIGSEGV)" in lost[hostile.CRASHES]


def test_an_error_of_the_function_costs_no_process(processes: PhotoProcesses) -> None:
    apply = applier(processes)
    first = apply(hostile.process_id, 0)
    with pytest.raises(ValueError, match="the function's own"):
        apply(hostile.squared, hostile.RAISES)
    assert apply(hostile.process_id, 0) == first != os.getpid()


def test_without_processes_photos_are_read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    apply = applier(started())
    monkeypatch.setattr(process, "_started", refused)
    assert apply(hostile.process_id, 0) == os.getpid()
    assert apply(hostile.process_id, 0) == os.getpid()


def test_processes_that_die_at_their_start_are_done_without() -> None:
    processes: Any = started(hostile.killed)
    assert applier(processes)(hostile.process_id, 0) == os.getpid()
    processes.close()


def test_an_error_at_the_start_is_raised(processes: PhotoProcesses) -> None:
    with pytest.raises(WeightsMissing):
        started(hostile.no_weights).start()
    other = PhotoProcesses(Workers(1, hostile.BarePipeline, 9.0, MEMORY), "another")
    with pytest.raises(EncoderChanged):
        other.start()


def test_closing_lets_a_photo_be_read_and_takes_no_other() -> None:
    processes: Any = started(count=1)
    with ThreadPoolExecutor(2) as threads:
        processes.start()
        reading = threads.submit(applier(processes), hostile.slow, 1.0)
        time.sleep(0.3)
        waiting = threads.submit(applier(processes), hostile.slow, 0.0)
        time.sleep(0.1)
        processes.close()
        assert reading.result(10) == 1.0
        with pytest.raises(EncoderChanged):
            waiting.result(10)
    with pytest.raises(EncoderChanged):
        applier(processes)(hostile.slow, 0.0)


def test_stages_are_reported_to_the_thread_that_asked(processes: PhotoProcesses) -> None:
    apply = applier(processes)
    stages: list[tuple[str, float]] = []

    def ask() -> None:
        listen(lambda stage, seconds: stages.append((stage, seconds)))
        apply(hostile.timed, 0.2)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    ((stage, seconds),) = stages
    assert stage == "decode" and 0.2 <= seconds < 2.0


def test_answers_are_those_of_one_process(
    cache: Path, tmp_path: Path, hopper: Path, collins: Path, no_one: list[Path]
) -> None:
    settings: dict[str, Any] = {"cache": cache, "thumbnails": True, "keep": "photos"}
    with (
        Gallery.open(tmp_path / "ours", **settings) as ours,
        Gallery.open(tmp_path / "alone", **settings, threads=1) as alone,
    ):
        ours.read_in_processes()
        for person, photo in (("Grace Hopper", hopper), ("Eileen Collins", collins)):
            content = photo.read_bytes()
            assert ours.enroll(person, content) == alone.enroll(person, content)
        assert pictures_of(ours) == pictures_of(alone)
        for photo in (hopper, collins, *no_one[:2]):
            assert_same(ours.query(photo), alone.query(photo))
            assert_same(ours.query_all(photo)[0], alone.query_all(photo)[0])
        with hopper.open("rb") as file:
            assert ours.query(file).outcome is Outcome.MATCH
        similarities = [g.compare(hopper, collins).similarity for g in (ours, alone)]
        assert similarities[0] == pytest.approx(similarities[1], abs=1e-4)
        with pytest.raises(PhotoUndecodable):
            ours.query(b"not a photo")


def pictures_of(gallery: Gallery) -> list[tuple[bytes, bytes]]:
    """The thumbnail and the kept picture of both faces."""
    with gallery.database.reading() as session:
        kept = [kept_images.get(session, face) for face in (1, 2)]
        return [
            (kept_images.thumbnail(session, face), picture.content)
            for face, picture in zip((1, 2), kept, strict=True)
            if picture is not None
        ]


def test_processes_follow_a_change_of_encoder(tmp_path: Path, cache: Path, hopper: Path) -> None:
    model = write_model(tmp_path / "small.onnx", 64)
    with Gallery.open(tmp_path / "home", cache=cache, threads=1) as gallery:
        gallery.read_in_processes()
        gallery.enroll("Grace Hopper", hopper)
        save_dlib_onnx_head(model, tmp_path / "home")
        before = {*multiprocessing.active_children()}
        switched(tmp_path / "home", cache, model)
        assert gallery.query(hopper).outcome is Outcome.MATCH
        after = {*multiprocessing.active_children()}
        assert len(before) == 2 and after and not before & after


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`gallery serve`, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [GALLERY, "--home", tmp_path / "home", "serve", "--port", str(port), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            yield process, json.loads(process.stdout.readline())["url"]
        finally:
            process.kill()


@pytest.fixture
def large(tmp_path: Path) -> bytes:
    """A photo that takes a second or more: nobody is found in it."""
    noise = np.random.default_rng(0).integers(0, 256, (1_500, 1_500, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((3_500, 3_500)).save(file, "JPEG")
    return file.getvalue()


def test_server_loses_a_photo_whose_process_is_killed_and_answers_the_next(
    server: tuple[subprocess.Popen[bytes], str], hopper: Path, large: bytes
) -> None:
    process, url = server
    readers = workers_of(process.pid)
    assert len(readers) == 2
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(query, url, large)
        halt_while_reading(url, readers)
        for reader in readers:
            os.kill(reader, signal.SIGKILL)
        lost = answer.result(60)
    assert lost.status_code == 422
    assert lost.json()["type"].endswith("photo-lost") and "SIGKILL" in lost.json()["detail"]
    assert query(url, hopper.read_bytes()).json()["outcome"] == "unknown"
    assert 'gallery_stage_seconds_count{stage="detect"} 1.0' in httpx.get(f"{url}/metrics").text
    for reader in workers_of(process.pid):  # idle: no photo is lost
        os.kill(reader, signal.SIGKILL)
    assert query(url, hopper.read_bytes()).status_code == 200
    readers = workers_of(process.pid)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert readers
    for reader in readers:
        assert not Path(f"/proc/{reader}").exists()


def test_server_ends_although_a_photo_hangs(
    server: tuple[subprocess.Popen[bytes], str], large: bytes
) -> None:
    process, url = server
    readers = workers_of(process.pid)
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(query, url, large)
        halt_while_reading(url, readers)
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0
        assert answer.result().status_code >= 500
    for reader in readers:
        assert not Path(f"/proc/{reader}").exists()


def test_photo_is_read_to_its_end_when_the_whole_group_is_asked_to_end(
    server: tuple[subprocess.Popen[bytes], str], large: bytes
) -> None:
    process, url = server
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(query, url, large)
        wait_until_read(url)
        for pid in [*workers_of(process.pid), process.pid]:
            os.kill(pid, signal.SIGTERM)
        assert answer.result(60).json()["outcome"] == "no_face"
    assert process.wait(30) == 0


def test_program_that_closes_nothing_ends(tmp_path: Path, hopper: Path, cache: Path) -> None:
    program = f"""
from gallery import Gallery
gallery = Gallery.open({str(tmp_path / "home")!r}, cache={str(cache)!r})
assert gallery.read_in_processes() == 2
print(gallery.query({str(hopper)!r}).outcome.value)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=120)
    assert (ran.returncode, ran.stdout) == (0, b"unknown\n"), ran.stderr


def query(url: str, photo: bytes) -> httpx.Response:
    headers = {"content-type": "image/jpeg"}
    return httpx.post(f"{url}/v1/query", content=photo, headers=headers, timeout=60)


def wait_until_read(url: str) -> None:
    """Wait until a photo is in a process."""
    while "gallery_queue 1.0" not in httpx.get(f"{url}/metrics").text:
        time.sleep(0.05)
    time.sleep(0.3)


def halt_while_reading(url: str, readers: list[int]) -> None:
    wait_until_read(url)
    for reader in readers:
        os.kill(reader, signal.SIGSTOP)


def workers_of(pid: int) -> list[int]:
    """The worker processes of a process."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")  # one a thread
    children = [child for list_ in lists for child in list_.read_text(encoding="ascii").split()]
    return [
        int(child)
        for child in children
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
