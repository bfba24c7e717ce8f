"""Which folders are people, and what is beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gallery.enrolment.people import people_under
from gallery.vision import folder as folders
from gallery.vision.folder import LeftOut, Why


def test_link_to_a_folder_is_a_person_directly_inside_only(tmp_path: Path) -> None:
    elsewhere, root = tmp_path / "elsewhere", tmp_path / "people"
    for folder in (elsewhere, root / "Ada"):
        folder.mkdir(parents=True)
        (folder / "1.jpg").touch()
    (root / "Bob").symlink_to(elsewhere, target_is_directory=True)
    (root / "all").symlink_to(root, target_is_directory=True)
    (root / "Ada" / "more").symlink_to(elsewhere, target_is_directory=True)
    people = people_under(root)
    assert people.photos == {"Ada": [root / "Ada" / "1.jpg"], "Bob": [root / "Bob" / "1.jpg"]}
    assert people.left_out == (
        LeftOut(root / "Ada" / "more", Why.LINK),
        LeftOut(root / "all", Why.LINK),
    )


def test_each_file_is_opened_once_at_most(
    tmp_path: Path, hopper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("loose", "Ada/1", "Ada/2", ".snapshots/old/Ada/1"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(hopper.read_bytes())
    opened: list[Path] = []
    original = folders._begins_as_photo

    def recorded(path: Path) -> bool:
        opened.append(path.relative_to(tmp_path))
        return original(path)

    monkeypatch.setattr(folders, original.__name__, recorded)
    people = people_under(tmp_path)
    assert sorted(map(str, opened)) == ["Ada/1", "Ada/2", "loose"]
    assert [(other.path.name, other.why) for other in people.left_out] == [
        (".snapshots", Why.CLUTTER),
        ("loose", Why.LOOSE),
    ]


def test_folder_that_cannot_be_listed_is_unusable(
    tmp_path: Path, make_unlistable: Callable[[Path], Path]
) -> None:
    (tmp_path / "Ada").mkdir()
    folder = make_unlistable(tmp_path / "Ada")
    people = people_under(tmp_path)
    assert people.unusable == ((folder, "cannot be listed: File name too long"),)
    assert people.left_out == ()
