"""What a command that reads a folder says at its end of the files that it did not look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gallery.cli.output import count, err, on_one_line, out, say
from gallery.vision.folder import LeftOut, Why

_MOST_NAMED = 5
_NOUNS = {
    Why.CLUTTER: (
        "hidden file or folder, or one of another program",
        "hidden files or folders, or those of other programs",
    ),
    Why.RAW: ("raw file; export it as JPEG", "raw files; export them as JPEG"),
    Why.NO_PHOTO: ("file that is not a photo", "files that are not photos"),
    Why.LINK: ("link to a folder", "links to folders"),
    Why.UNLISTABLE: ("folder that cannot be listed", "folders that cannot be listed"),
    Why.LOOSE: ("photo outside the folders of people", "photos outside the folders of people"),
    Why.DEEPER: (
        "photo in a folder inside a person's folder",
        "photos in folders inside people's folders",
    ),
    Why.EMPTY: ("folder without photos", "folders without photos"),
}


def say_left_out_of_people(
    folder: Path, *, with_loose: bool = False, as_json: bool = False
) -> None:
    """Print what a command that measures or learns from a folder of people did not look at.

    with_loose : it reads the photos outside the folders of people, too.
    """
    from gallery.training.dataset import left_out_of

    say_left_out(left_out_of(folder, with_loose=with_loose), as_json=as_json)


def say_left_out(left_out: Sequence[LeftOut], *, as_json: bool = False) -> None:
    """Print one line for each reason: how many, and the first of them.

    as_json : on stderr, because JSON is on stdout.
    """
    for why, nouns in _NOUNS.items():
        of_kind = [other for other in left_out if other.why is why]
        if not of_kind:
            continue
        names = ", ".join(on_one_line(str(other.path)) for other in of_kind[:_MOST_NAMED])
        more = len(of_kind) - _MOST_NAMED
        names += f" and {more} more" if more > 0 else ""
        style = "dim" if why in (Why.CLUTTER, Why.NO_PHOTO) else "yellow"
        say(
            f"not read: {count(len(of_kind), *nouns)} ({names})",
            style,
            err if as_json else out,
        )
