"""A folder of people: whose photos are where, and what is in it besides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gallery.errors import InvalidName, NoPeople, PhotoUnreadable
from gallery.names import checked_name, printable
from gallery.vision.folder import (
    LeftOut,
    Why,
    is_clutter,
    photos_in,
    split_unlistable,
    why_left_out,
)


@dataclass(frozen=True)
class People:
    """photos : of each person, by name, sorted: those at any depth under the person's folder.
    unusable : (folder, reason) of folders that are no person, or cannot be listed.
    left_out : everything else.
    """

    photos: dict[str, list[Path]]
    unusable: tuple[tuple[Path, str], ...]
    left_out: tuple[LeftOut, ...]


def people_under(root: Path) -> People:
    """List the people of a folder: each folder directly inside is one, by name.

    A link to a folder counts as one too, directly inside `root` only.
    Raises PhotoUnreadable if root is not a folder or cannot be listed, NoPeople if there are no
    folders with photos.
    """
    check_root(root)
    photos: dict[str, list[Path]] = {}
    unusable: list[tuple[Path, str]] = []
    left_out: list[LeftOut] = []
    whole = root.resolve()
    for entry in _entries(root):
        if is_clutter(entry.name):
            left_out.append(LeftOut(entry, Why.CLUTTER))
            continue
        if not entry.is_dir():
            left_out.append(LeftOut(entry, why_left_out(entry) or Why.LOOSE))
            continue
        if whole.is_relative_to(entry.resolve()):  # a link back to the whole folder
            left_out.append(LeftOut(entry, Why.LINK))
            continue
        others: list[LeftOut] = []
        try:
            name = checked_name(entry.name)
            found = photos_in(entry, others)
        except InvalidName as error:
            unusable.append((entry, f"{_reason(entry.name, error)}; rename the folder"))
            continue
        except PhotoUnreadable as error:
            unusable.append((entry, f"cannot be listed: {error}"))
            continue
        unlistable, others = split_unlistable(others)
        unusable += unlistable
        left_out += others
        if found:
            photos.setdefault(name, []).extend(found)
        elif not unlistable:
            left_out.append(LeftOut(entry, Why.EMPTY))
    if not photos and not unusable:
        raise NoPeople(
            f"{root} has no people in it; give a folder with one folder per person, named after"
            " the person and with their photos inside"
        )
    return People(photos, tuple(unusable), tuple(left_out))


def check_root(root: Path) -> None:
    """Raise PhotoUnreadable if this is not a folder."""
    if not root.is_dir():
        raise PhotoUnreadable(f"{root} is not a folder; give one with a folder for each person")


def _entries(root: Path) -> list[Path]:
    try:
        return sorted(root.iterdir())
    except OSError as error:
        raise PhotoUnreadable(f"{root} cannot be listed: {error.strerror}") from error


def _reason(name: str, error: InvalidName) -> str:
    if printable(name) != name:
        return f"the name '{printable(name)}' is not valid UTF-8"
    return str(error).removesuffix("; use no slashes and no control characters")
