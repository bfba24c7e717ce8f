"""Photos that hang, kill or fill their worker process: each is lost alone, and nothing is left."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest

from gallery.errors import EncoderChanged, WeightsMissing
from gallery.vision import process_pool, workers
from gallery.vision.workers import LostPhoto, Workers, map_photos
from tests.faults import hostile_items as hostile

NO_PIPELINE: Any = None
MEMORY = 2**31


@pytest.fixture(autouse=True)
def _few_are_enough(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Workers also for few photos; and none of them is left after any test."""
    monkeypatch.setattr(workers, "_LEAST_PHOTOS", 2)
    before = {*multiprocessing.active_children()}
    yield
    assert {*multiprocessing.active_children()} <= before


def pool(build: Callable[[], Any] = hostile.no_pipeline, seconds: float = 60.0) -> Workers:
    return Workers(2, build, seconds, MEMORY)


def mapped(items: list[int], workers: Workers) -> tuple[list[int], dict[int, str]]:
    """The items that have their result, in order, and the reasons of those that are lost."""
    results = list(map_photos(hostile.squared, items, NO_PIPELINE, workers))
    assert [item for item, _ in results] == items
    lost = {item: r.reason for item, r in results if isinstance(r, LostPhoto)}
    done = [item for item, result in results if result == item * item]
    assert len(done) + len(lost) == len(items)
    return done, lost


def test_hostile_photos_are_lost_alone_and_the_others_come_in_order() -> None:
    hostiles = [hostile.HANGS, hostile.EXITS, hostile.CRASHES, hostile.EATS]
    good = list(range(100))
    items = good[:1] + hostiles[:1] + good[1:5] + hostiles[1:3] + good[5:90] + hostiles[3:]
    done, lost = mapped(items + good[90:], pool(seconds=2.0))
    assert done == good
    assert list(lost) == hostiles
    assert "took longer than 2 seconds" in lost[hostile.HANGS]
    assert "GALLERY_PHOTO_SECONDS" in lost[hostile.HANGS]
    assert "(exit status 3)" in lost[hostile.EXITS]
    assert "(SIGSEGV)" in lost[hostile.CRASHES] and str(MEMORY) in lost[hostile.CRASHES]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits it")
def test_memory_beyond_the_limit_is_refused() -> None:
    done, lost = mapped([0, hostile.EATS, 1], pool())
    assert done == [0, 1]
    assert "GALLERY_WORKER_MEMORY" in lost[hostile.EATS]


def test_time_in_which_the_caller_is_busy_does_not_count() -> None:
    results = map_photos(hostile.slow_first, range(6), NO_PIPELINE, pool(seconds=3.0))
    for item, result in results:
        assert result == item
        time.sleep(4.0 if item == 0 else 0.0)


def test_a_bounded_number_of_photos_is_taken_ahead() -> None:
    taken: list[int] = []

    def photos() -> Iterator[int]:
        for number in count():
            taken.append(number)
            yield number

    ahead = 2 * process_pool.AHEAD
    results = map_photos(hostile.slow_first, photos(), NO_PIPELINE, pool())
    for done, (item, _) in enumerate(islice(results, 500), start=1):
        assert item == done - 1
        assert len(taken) < done + ahead
    results.close()
    assert len(taken) < 500 + ahead


def test_results_larger_than_a_pipe_holds() -> None:
    results = list(map_photos(hostile.large, range(20), NO_PIPELINE, pool()))
    assert all(result == bytes([item]) * 2**20 for item, result in results)


@pytest.mark.parametrize("count", [1, 2])
def test_a_mistake_in_the_program_loses_that_photo_alone(count: int) -> None:
    items = [0, hostile.RAISES, *range(20), hostile.UNPICKLABLE]
    done, lost = mapped(items, replace(pool(), count=count))
    assert done == [0, *range(20)]
    assert "(ValueError: the function's own); this is a bug" in lost[hostile.RAISES]
    assert "(Unportable: one)" in lost[hostile.UNPICKLABLE]


def test_error_for_the_user_is_raised_with_its_traceback() -> None:
    with pytest.raises(EncoderChanged, match="meanwhile") as raised:
        list(map_photos(hostile.changed, range(20), NO_PIPELINE, pool()))
    assert "in changed" in raised.value.__notes__[0]


def test_error_of_the_start_is_raised() -> None:
    with pytest.raises(WeightsMissing, match="install them"):
        mapped([0, 1, 2], pool(hostile.no_weights))


def test_photos_are_read_here_when_no_further_worker_starts(tmp_path: Path) -> None:
    items = [0, 1, hostile.EXITS, *range(2, 12)]
    done, lost = mapped(items, pool(hostile.one_start(tmp_path)))
    assert done == list(range(12)) and list(lost) == [hostile.EXITS]


def test_early_stop_ends_processes_that_hang(tmp_path: Path) -> None:
    before = {*multiprocessing.active_children()}
    results = map_photos(hostile.squared, [0, *[hostile.HANGS] * 9], NO_PIPELINE, pool())
    assert next(results) == (0, 0)
    assert {*multiprocessing.active_children()} > before
    results.close()
    assert {*multiprocessing.active_children()} <= before


PROGRAM = """
import signal
from functools import partial
from pathlib import Path
from gallery.vision import workers
from tests.faults import hostile_items as hostile
workers._LEAST_PHOTOS = 2
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored if these tests run in background
if __name__ == "__main__":
    pool = workers.Workers(2, hostile.no_pipeline, {limit}, 2**31)
    function = partial(hostile.mark_and_sleep, Path({marks!r}), {seconds})
    for _, result in workers.map_photos(function, range(2), None, pool):
        print(result)
"""


def started(folder: Path, *, seconds: float, limit: float) -> tuple[subprocess.Popen[str], Path]:
    """A program whose two workers spend these seconds on a photo each, and a folder with a file
    for each worker, named by its process. It returns when both are at work.
    """
    (marks := folder / "marks").mkdir()
    code = PROGRAM.format(marks=str(marks), seconds=seconds, limit=limit)
    (folder / "program.py").write_text(code)
    parent = subprocess.Popen(
        [sys.executable, str(folder / "program.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        text=True,
    )
    wait_until(lambda: len(list(marks.iterdir())) == 2 or parent.poll() is not None)
    return parent, marks


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_no_process_outlives_a_parent_that_is_ended(tmp_path: Path, ending: signal.Signals) -> None:
    parent, marks = started(tmp_path, seconds=3_600.0, limit=3_600.0)
    if ending is signal.SIGINT:
        os.killpg(parent.pid, ending)  # as Ctrl-C does: the workers get it, too
    else:
        parent.send_signal(ending)
    _, errors = parent.communicate(timeout=60)
    children = [int(mark.name) for mark in marks.iterdir()]
    assert len(children) == 2, errors
    wait_until(lambda: not any(map(is_running, children)))
    assert not any(map(is_running, children))
    assert errors.count("Traceback") == (ending is signal.SIGINT)  # the parent's own


def test_program_that_is_stopped_and_continued_loses_nothing(tmp_path: Path) -> None:
    parent, _ = started(tmp_path, seconds=2.0, limit=5.0)
    os.killpg(parent.pid, signal.SIGSTOP)
    time.sleep(6.0)
    os.killpg(parent.pid, signal.SIGCONT)
    printed, _ = parent.communicate(timeout=60)
    assert printed == "None\nNone\n"


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)


def is_running(process: int) -> bool:
    """Whether the process is there and no zombie, which in a container nobody may collect."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
