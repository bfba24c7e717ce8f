"""A folder of people: whose photos are where, and what is in it besides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gallery.errors import InvalidName, NoPeople, PhotoUnreadable
from gallery.names import checked_name, printable
from gallery.vision.folder import LeftOut, Why, is_clutter, photos_in


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

    Raises PhotoUnreadable if root is not a folder, NoPeople if there are no folders with photos.
    """
    if not root.is_dir():
        raise PhotoUnreadable(f"{root} is not a folder; give one with a folder for each person")
    photos: dict[str, list[Path]] = {}
    unusable: list[tuple[Path, str]] = []
    left_out = _loose(root)
    for folder in sorted(root.iterdir()):
        if not folder.is_dir() or is_clutter(folder.name):
            continue
        others: list[LeftOut] = []
        try:
            name = checked_name(folder.name)
            found = photos_in(folder, others)
        except InvalidName as error:
            unusable.append((folder, f"{_reason(folder.name, error)}; rename the folder"))
            continue
        except PhotoUnreadable as error:
            unusable.append((folder, f"cannot be listed: {error}"))
            continue
        unlistable = [other for other in others if other.why is Why.UNLISTABLE]
        unusable += [(other.path, f"cannot be listed: {other.error}") for other in unlistable]
        left_out += [other for other in others if other.why is not Why.UNLISTABLE]
        if found:
            photos.setdefault(name, []).extend(found)
        elif not unlistable:
            left_out.append(LeftOut(folder, Why.EMPTY))
    if not photos and not unusable:
        raise NoPeople(
            f"{root} has no people in it; give a folder with one folder per person, named after"
            " the person and with their photos inside"
        )
    return People(photos, tuple(unusable), tuple(left_out))


def _loose(root: Path) -> list[LeftOut]:
    """The files directly in the folder, and clutter."""
    others: list[LeftOut] = []
    photos = photos_in(root, others)
    left_out = [LeftOut(photo, Why.LOOSE) for photo in photos if photo.parent == root]
    for other in others:
        if other.path.parent == root and (other.why is Why.CLUTTER or not other.path.is_dir()):
            left_out.append(other)
    return left_out


def _reason(name: str, error: InvalidName) -> str:
    if printable(name) != name:
        return f"the name '{printable(name)}' is not valid UTF-8"
    return str(error).removesuffix("; use no slashes and no control characters")
