"""Many photos are answered in order, each as it is alone, whatever they come as."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gallery.errors import DateInvalid, SettingInvalid
from gallery.gallery import Gallery
from gallery.types import Decision, Outcome
from gallery.vision.photo_source import PhotoSource

SIZES = [(256, 300), (307, 360), (384, 450), (512, 600), (410, 400), (333, 410), (600, 500)]


@pytest.fixture(scope="module")
def gallery(
    tmp_path_factory: pytest.TempPathFactory, cache: Path, hopper: Path
) -> Iterator[Gallery]:
    with Gallery.open(tmp_path_factory.mktemp("many"), cache=cache, threads=1) as opened:
        assert opened.enroll("Grace Hopper", hopper).identity is not None
        yield opened


@pytest.fixture(scope="module")
def photos(
    tmp_path_factory: pytest.TempPathFactory, hopper: Path, collins: Path, no_one: list[Path]
) -> list[Path]:
    """Photos of several sizes and formats, and two files that are no photos: enough for workers."""
    folder = tmp_path_factory.mktemp("photos")
    paths = []
    for number, size in enumerate(SIZES * 2):
        for person in (hopper, collins):
            suffix = "png" if number % 3 == 0 else "jpg"
            path = folder / f"{number:02}-{person.stem}.{suffix}"
            Image.open(person).convert("RGB").resize(size).save(path)
            paths.append(path)
    broken, empty = folder / "broken.jpg", folder / "empty.jpg"
    broken.write_bytes(paths[1].read_bytes()[:300])
    empty.write_bytes(b"")
    return [*paths[:9], broken, no_one[0], *paths[9:], empty]


def assert_same(ours: Decision, alone: Decision) -> None:
    assert (ours.outcome, ours.identity) == (alone.outcome, alone.identity)
    if alone.face is None or ours.face is None:
        assert ours == alone
        return
    np.testing.assert_allclose(ours.face.landmarks, alone.face.landmarks, atol=1e-3)
    for one, other in zip(ours.candidates, alone.candidates, strict=True):
        assert one.identity == other.identity
        assert one.similarity == pytest.approx(other.similarity, abs=1e-4)
        assert one.margin == pytest.approx(other.margin, abs=1e-2)


@pytest.mark.parametrize("all_faces", [False, True])
def test_answers_are_those_of_the_photos_alone_in_order(
    gallery: Gallery, photos: list[Path], all_faces: bool
) -> None:
    answers = list(gallery.query_many(photos, all_faces=all_faces))
    assert [answer.photo for answer in answers] == [str(photo) for photo in photos]
    outcomes = set()
    for photo, answer in zip(photos, answers, strict=True):
        if photo.name in ("broken.jpg", "empty.jpg"):
            assert answer.decisions == () and str(photo) in str(answer.error)
            continue
        assert answer.error is None
        alone = gallery.query_all(photo) if all_faces else [gallery.query(photo)]
        for ours, expected in zip(answer.decisions, alone, strict=True):
            assert_same(ours, expected)
            outcomes.add(ours.outcome)
    assert {Outcome.MATCH, Outcome.UNKNOWN, Outcome.NO_FACE} <= outcomes


@pytest.mark.parametrize("repeats", [1, 9])
def test_photos_come_as_anything(
    gallery: Gallery, photos: list[Path], hopper: Path, tmp_path: Path, repeats: int
) -> None:
    """Few are read in this process, many in others."""
    text = tmp_path / "text.txt"
    text.write_text("text")
    with hopper.open("rb") as binary, text.open() as opened_as_text:
        kinds: list[PhotoSource] = [
            str(hopper),
            hopper.read_bytes(),
            np.asarray(Image.open(hopper).convert("RGB")),
            Image.open(hopper),
            binary,
            io.BytesIO(b"no photo"),
            opened_as_text,  # type: ignore[list-item]
        ]
        answers = list(gallery.query_many(kinds * repeats))
    assert len(answers) == len(kinds) * repeats
    for number, answer in enumerate(answers):
        if number % len(kinds) < 5:
            assert [d.outcome for d in answer.decisions] == [Outcome.MATCH], answer.error
        else:
            assert answer.decisions == () and answer.error is not None
    assert "opened as text" in str(answers[6].error) or "open as text" in str(answers[6].error)


def test_few_photos_are_taken_ahead_of_the_answers(gallery: Gallery, photos: list[Path]) -> None:
    taken = 0

    def endless() -> Iterator[Path]:
        nonlocal taken
        while True:
            taken += 1
            yield photos[taken % 9]

    answers = gallery.query_many(endless())
    for _ in range(5):
        assert next(answers).error is None
    answers.close()  # type: ignore[attr-defined]
    assert taken < 200


def test_what_is_asked_is_checked_before_a_photo_is_read(gallery: Gallery) -> None:
    def none_taken() -> Iterator[Path]:
        raise AssertionError("a photo was taken")
        yield

    with pytest.raises(SettingInvalid, match="several is"):
        next(gallery.query_many(none_taken(), several="some"))
    with pytest.raises(DateInvalid):
        next(gallery.query_many(none_taken(), taken="yesterday"))


def test_program_needs_no_guard_and_is_not_run_again(
    gallery: Gallery, photos: list[Path], cache: Path, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        f"""
from gallery import Gallery
print("begun")
with Gallery.open({str(gallery.settings.home)!r}, cache={str(cache)!r}) as opened:
    print(sum(answer.error is None for answer in opened.query_many({[*map(str, photos)]!r})))
"""
    )
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True)
    assert done.stdout == f"begun\n{len(photos) - 2}\n", done.stderr
    assert done.stderr == ""


def test_one_path_is_not_many_photos(gallery: Gallery, hopper: Path) -> None:
    for path in (str(hopper), hopper):
        with pytest.raises(SettingInvalid, match="is one path, expected several photos"):
            next(gallery.query_many(path))  # type: ignore[arg-type]
