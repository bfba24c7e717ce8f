"""The photos under a folder, and what is left out of them, and why."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gallery.errors import PhotoUnreadable

SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
        ".png",
        ".webp",
        ".avif",
        ".heic",
        ".heif",
        ".hif",
        ".tif",
        ".tiff",
        ".bmp",
        ".dib",
        ".gif",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
    ]
)
"""Files that count as photos in a folder; a file named by the user is opened in any case."""

_RAW = frozenset(
    [".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".kdc", ".mrw", ".nef", ".nrw"]
) | frozenset([".orf", ".pef", ".raf", ".raw", ".rw2", ".sr2", ".srw", ".x3f"])
_CLUTTER = frozenset(
    ["@eadir", "#recycle", "$recycle.bin", "system volume information", "__macosx"]
) | frozenset(["thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "picasa.ini"])
_CLUTTER_ENDS = (".lrdata",)  # previews of Lightroom
_CLUTTER_STARTS = (".", "@__thumb")

_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*")
_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif")


class Why(StrEnum):
    """Why a file under a folder is not among its photos."""

    CLUTTER = "clutter"  # hidden, or what a file server, a system or another program keeps
    RAW = "raw"
    NO_PHOTO = "no_photo"
    LINK = "link"  # to a folder
    UNLISTABLE = "unlistable"
    LOOSE = "loose"  # outside the folders of people
    DEEPER = "deeper"  # in a folder inside a person's folder
    EMPTY = "empty"  # the folder of a person without photos


@dataclass(frozen=True)
class LeftOut:
    """A file that is not among the photos, or a folder that was not opened.

    error : what the system says of a folder that cannot be listed.
    """

    path: Path
    why: Why
    error: str = ""


def is_clutter(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or kept by a server or another program."""
    folded = name.lower()
    return (
        folded in _CLUTTER or folded.startswith(_CLUTTER_STARTS) or folded.endswith(_CLUTTER_ENDS)
    )


def photos_in(folder: Path, left_out: list[LeftOut] | None = None) -> list[Path]:
    """The photos under `folder`, sorted: by suffix, or without one by their first bytes.

    Clutter is not opened. Links to files are followed, links to folders under `folder` are not.
    left_out : receives every other file, and each folder that is not opened.
    Raises PhotoUnreadable when `folder` is not a folder or cannot be listed; without `left_out`,
    also when a subfolder cannot be listed.
    """
    if not folder.is_dir():
        raise PhotoUnreadable(f"{folder} is not a folder")
    photos: list[Path] = []
    others: list[LeftOut] = []

    def refuse(error: OSError) -> None:
        if left_out is None or Path(error.filename) == folder:
            raise PhotoUnreadable(f"{error.filename}: {error.strerror}") from error
        others.append(LeftOut(Path(error.filename), Why.UNLISTABLE, error=str(error.strerror)))

    for root, folders, names in os.walk(folder, onerror=refuse):
        for name in folders:
            path = Path(root, name)
            if is_clutter(name):
                others.append(LeftOut(path, Why.CLUTTER))
            elif os.path.islink(path):
                others.append(LeftOut(path, Why.LINK))
        folders[:] = sorted(name for name in folders if not is_clutter(name))
        for name in names:
            path = Path(root, name)
            why = why_left_out(path)
            if why is None:
                photos.append(path)
            else:
                others.append(LeftOut(path, why))
    if left_out is not None:
        left_out += sorted(others, key=lambda other: other.path)
    return sorted(photos)


def split_unlistable(
    left_out: Iterable[LeftOut],
) -> tuple[list[tuple[Path, str]], list[LeftOut]]:
    """Return (folder, reason) of those that cannot be listed, a problem; and all others."""
    unlistable: list[tuple[Path, str]] = []
    others: list[LeftOut] = []
    for other in left_out:
        if other.why is Why.UNLISTABLE:
            unlistable.append((other.path, f"cannot be listed: {other.error}"))
        else:
            others.append(other)
    return unlistable, others


def why_left_out(path: Path) -> Why | None:
    """Why this file is no photo, by its name and, without a suffix, its first bytes; else None."""
    suffix = path.suffix.lower()
    if is_clutter(path.name):
        return Why.CLUTTER
    if suffix in SUFFIXES:
        return None
    if suffix in _RAW:
        return Why.RAW
    return None if not suffix and _begins_as_photo(path) else Why.NO_PHOTO


def _begins_as_photo(path: Path) -> bool:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for a writer
            return False
        with open(path, "rb") as file:
            start = file.read(12)
    except OSError:
        return False
    is_webp = start[:4] == b"RIFF" and start[8:] == b"WEBP"
    is_heif = start[4:8] == b"ftyp" and start[8:] in _BRANDS
    return is_webp or is_heif or start.startswith(_STARTS)
