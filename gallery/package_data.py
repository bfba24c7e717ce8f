"""Where the files are that ship with the product."""

from __future__ import annotations

import re
from pathlib import Path

from gallery.errors import HeadUnusable

HEAD_FILE, CARD_FILE, PLOT_FILE = "head.safetensors", "head.json", "head-training.png"
"""What training leaves behind, in `data/` and in a gallery's home: head, model card, plot."""

_PACKAGED = Path(__file__).parent / "data"
_CHECKOUT = Path(__file__).parent.parent / "data"


def own_cards(home: Path) -> list[Path]:
    """The model cards of the heads in a gallery's home, one an encoder."""
    return sorted(home.glob("head*.json"))


def is_head_part(name: str) -> bool:
    """Whether a file of a gallery's home is a part of a head: itself, its card or its plot."""
    return (
        re.fullmatch(r"head(-[a-z0-9-]+)?(\.safetensors|\.json|-training\.png)", name) is not None
    )


def shipped_file(name: str) -> Path:
    """A file of `data/`: inside the installed package, else in the checkout this runs from.

    Raises HeadUnusable when it is in neither, which means the installation is broken.
    """
    for folder in (_PACKAGED, _CHECKOUT):
        if (folder / name).is_file():
            return folder / name
    raise HeadUnusable(f"{name} is missing from the installation; install face-gallery again")
