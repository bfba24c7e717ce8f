"""Folders of photos, several faces in a photo, and commands that were meant otherwise."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gallery.gallery import Gallery
from tests.cli.conftest import Run


@pytest.fixture
def folder(tmp_path: Path, hopper: Path, collins: Path, no_one: list[Path]) -> Path:
    """Two people, a cat, a broken photo and a note; a subfolder; a folder without photos."""
    photos = tmp_path / "photos"
    (photos / "more").mkdir(parents=True)
    (photos / "notes").mkdir()
    shutil.copy(hopper, photos / "b.jpg")
    shutil.copy(no_one[0], photos / "c.png")
    shutil.copy(collins, photos / "more" / "a.png")
    (photos / "a.jpg").write_bytes(b"broken")
    (photos / "notes" / "readme.txt").write_text("no photo")
    return photos


def test_every_photo_of_a_folder_is_answered(two: Run, folder: Path, hopper: Path) -> None:
    ran = two("query", folder, "--json")
    assert ran.status == 2
    assert [(Path(line["photo"]).name, line["outcome"]) for line in ran.lines] == [
        ("a.jpg", "error"),
        ("b.jpg", "match"),
        ("c.png", "no_face"),
        ("a.png", "match"),
    ]
    said = two("query", folder)
    assert said.status == 2 and "a.jpg is not a photo" in said.err
    assert said.out.index("b.jpg") < said.out.index("c.png") < said.out.index("more/a.png")
    (folder / "a.jpg").unlink()
    assert two("query", folder).status == 1
    assert two("query", folder / "more", hopper).status == 0


def test_folder_without_photos_does_not_stop_the_others(two: Run, folder: Path) -> None:
    ran = two("query", folder / "notes", folder / "more", "--json")
    assert ran.status == 2
    assert [line["outcome"] for line in ran.lines] == ["error", "match"]
    assert "notes is a folder without photos" in ran.lines[0]["reason"]


def test_faces_are_numbered_from_left_to_right_within_the_photo(
    two: Run, tmp_path: Path, hopper: Path, collins: Path
) -> None:
    # Grace's face, cut at the left and upper border, is the larger one.
    with Image.open(hopper) as grace, Image.open(collins) as eileen:
        left = np.asarray(grace.convert("RGB"))[80:, 160:400]
        right = np.asarray(eileen.convert("RGB").resize((400, 400)))
    both = np.zeros((600, 700, 3), np.uint8)
    both[: left.shape[0], :240], both[:400, 300:] = left, right
    Image.fromarray(both[:, ::1]).save(tmp_path / "both.png")
    mirrored = both[:, ::-1]
    Image.fromarray(np.ascontiguousarray(mirrored)).save(tmp_path / "mirrored.png")
    for name, expected in (
        ("both.png", ["Grace", "Eileen"]),
        ("mirrored.png", ["Eileen", "Grace"]),
    ):
        *lines, whole = two("query", "--all-faces", tmp_path / name).out.splitlines()
        assert "if all 2 were strangers" in whole
        assert [f"face {n} of 2 at" in line for n, line in enumerate(lines, 1)] == [True, True]
        assert [who in line for who, line in zip(expected, lines, strict=True)] == [True, True]
        assert not any(" -" in line or ",-" in line for line in lines)
    boxes = [
        line["face"]["box"]
        for line in two("query", "--all-faces", tmp_path / "both.png", "--json").lines
    ]
    assert boxes[0][2] - boxes[0][0] > boxes[1][2] - boxes[1][0]  # JSON: the largest first


def test_ambiguous_answer_has_the_percentage_of_each_candidate(
    run: Run, home: Path, cache: Path, hopper: Path, tmp_path: Path
) -> None:
    Image.open(hopper).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "mirror.png")
    with Gallery.open(home, cache=cache, threads=1) as gallery:
        gallery.enroll("Grace", hopper)
        gallery.enroll("G. Hopper", tmp_path / "mirror.png", force=True)
    ran = run("query", hopper)
    assert ran.status == 1
    (answer,) = ran.out.splitlines()
    _, named = answer.split("ambiguous; 2 identities match: ")
    candidates = sorted(re.fullmatch(r"(.+) \((\d+\.\d)%\)", c).groups() for c in named.split(", "))
    assert [name for name, _ in candidates] == ["G. Hopper", "Grace"]
    assert all(50.0 < float(percentage) <= 99.9 for _, percentage in candidates)


def test_names_are_found_without_their_case_and_accents(
    run: Run, home: Path, cache: Path, hopper: Path
) -> None:
    names = ["Jürgen Müller", "Øystein Łuk", "Straße"]
    with Gallery.open(home, cache=cache, threads=1) as gallery:
        for name in names:
            gallery.enroll(name, hopper, force=True)
        assert [r.name for r in gallery.identities("MULLER")] == names[:1]
    for search, found in (
        ("muller", names[:1]),
        ("jürgen mÜ", names[:1]),
        ("oystein luk", names[1:2]),
        ("strasse", names[2:]),
        ("mueller", []),
    ):
        ran = run("identities", "list", "--search", search, "--json")
        assert [line["name"] for line in ran.lines] == found, search


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("enrol", "gallery enroll-identity"),
        ("enroll", "gallery enroll-identity"),
        ("people", "gallery identities list"),
        ("search", "gallery query"),
        ("delete", "gallery identities forget"),
        ("dedpue", "gallery dedupe"),
        ("forget", "gallery faces forget` or `gallery identities forget"),
        ("identities delete", "gallery identities forget"),
        ("identities remoev", "gallery identities forget"),
        ("faces mvoe", "gallery faces move"),
    ],
)
def test_unknown_command_names_the_one_that_was_meant(
    run: Run, monkeypatch: pytest.MonkeyPatch, typed: str, meant: str
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    ran = run(*typed.split(), "x")
    assert ran.status == 2 and not ran.out
    assert f"Did you mean `{meant}`?" in ran.err, os.linesep + ran.err


def test_unknown_command_without_a_near_one_says_where_all_are(run: Run) -> None:
    ran = run("frobnicate")
    assert ran.status == 2 and "`gallery --help`" in ran.err and "Did you mean" not in ran.err
