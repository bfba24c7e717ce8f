"""Which files under a folder are photos, and what is said of the others."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gallery.errors import PhotoUnreadable
from gallery.vision.folder import LeftOut, Why, photos_in, split_unlistable


def test_photos_in_subfolders_are_listed(tmp_path: Path) -> None:
    for name in (
        "b.jpg",
        "a.JPEG",
        "notes.txt",
        "no suffix",
        ".hidden.jpg",
        "c/z.heic",
        "c/deep/er/y.PNG",
        ".cache/thumbnail.jpg",
        "c/.trash/x.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "d.jpg").mkdir()
    paths = [p.relative_to(tmp_path).as_posix() for p in photos_in(tmp_path)]
    assert sorted(paths) == ["a.JPEG", "b.jpg", "c/deep/er/y.PNG", "c/z.heic"]
    assert photos_in(tmp_path) == sorted(photos_in(tmp_path))


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "a.jpg").touch()
    (inside / "round").symlink_to(inside, target_is_directory=True)
    (inside / "out").symlink_to(outside, target_is_directory=True)
    (inside / "out.jpg").symlink_to(outside / "a.jpg")
    (inside / "nowhere.jpg").symlink_to(tmp_path / "missing.jpg")
    names = [photo.name for photo in photos_in(inside)]
    assert names == ["a.jpg", "nowhere.jpg", "out.jpg"]  # the dangling link fails when opened


def test_path_that_is_not_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    for path in (tmp_path / "a.jpg", tmp_path / "missing", Path("n\0ul")):
        with pytest.raises(PhotoUnreadable, match="is not a folder"):
            photos_in(path)


def test_file_without_a_suffix_is_a_photo_if_it_begins_as_one(tmp_path: Path, hopper: Path) -> None:
    (tmp_path / "IMG_0001").write_bytes(hopper.read_bytes())
    (tmp_path / "README").write_text("no photo")
    os.mkfifo(tmp_path / "pipe")
    left_out: list[LeftOut] = []
    assert photos_in(tmp_path, left_out) == [tmp_path / "IMG_0001"]
    assert [(other.path.name, other.why) for other in left_out] == [
        ("README", Why.NO_PHOTO),
        ("pipe", Why.NO_PHOTO),
    ]


def test_clutter_is_left_out_and_not_opened(tmp_path: Path, hopper: Path) -> None:
    for name in (
        "Ada/1.jpg",
        "Ada/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg",
        "Ada/@eaDir/2.jpg/SYNOPHOTO_THUMB_M.jpg",
        "Ada/.thumbnails/1.jpg",
        "Ada/._1.jpg",
        "Ada/Thumbs.db",
        "__MACOSX/Ada/1.jpg",
        "#recycle/Bob/1.jpg",
        "Previews.lrdata/A/1.jpg",
        ".DS_Store",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    left_out: list[LeftOut] = []
    assert photos_in(tmp_path, left_out) == [tmp_path / "Ada" / "1.jpg"]
    assert {other.why for other in left_out} == {Why.CLUTTER}
    assert [other.path.relative_to(tmp_path).as_posix() for other in left_out] == [
        "#recycle",
        ".DS_Store",
        "Ada/._1.jpg",
        "Ada/.thumbnails",
        "Ada/@eaDir",
        "Ada/Thumbs.db",
        "Previews.lrdata",
        "__MACOSX",
    ]


def test_raw_files_videos_and_links_are_named(tmp_path: Path) -> None:
    for name in ("a.CR2", "b.nef", "c.dng", "d.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "e").symlink_to(tmp_path, target_is_directory=True)
    left_out: list[LeftOut] = []
    assert photos_in(tmp_path, left_out) == []
    whys = [(other.path.name, other.why) for other in left_out]
    assert whys == [
        ("a.CR2", Why.RAW),
        ("b.nef", Why.RAW),
        ("c.dng", Why.RAW),
        ("d.mp4", Why.NO_PHOTO),
        ("e", Why.LINK),
    ]


def test_folder_that_cannot_be_listed_is_named_or_refused(
    tmp_path: Path, make_unlistable: Callable[[Path], Path]
) -> None:
    folder = make_unlistable(tmp_path)
    (tmp_path / "notes.txt").touch()
    left_out: list[LeftOut] = []
    assert photos_in(tmp_path, left_out) == []
    unlistable, others = split_unlistable(left_out)
    assert unlistable == [(folder, "cannot be listed: File name too long")]
    assert [other.path.name for other in others] == ["notes.txt"]
    with pytest.raises(PhotoUnreadable, match="File name too long"):
        photos_in(tmp_path)
