"""Where the files of `data/` are: they ship with the product."""

from __future__ import annotations

import re
from pathlib import Path

from gallery.errors import HeadUnusable

HEAD_FILE, CARD_FILE, PLOT_FILE = "head.safetensors", "head.json", "head-training.png"
"""The files that training writes, in `data/ENCODER/` and in a gallery's home: head, model card,
plot."""

_PACKAGED = Path(__file__).parent / "data"
_CHECKOUT = Path(__file__).parent.parent / "data"


def own_cards(home: Path) -> list[Path]:
    """List the model cards of the heads in a gallery's home, one per encoder."""
    return sorted(home.glob("head*.json"))


def is_head_part(name: str) -> bool:
    """Return whether a file of a gallery's home belongs to a head: the head, its card, its plot."""
    return (
        re.fullmatch(r"head(-[a-z0-9-]+)?(\.safetensors|\.json|-training\.png)", name) is not None
    )


def shipped_file(name: str) -> Path:
    """Return the path of a file of `data/`, in the installed package or in the checkout.

    Raises HeadUnusable if it is in neither: the installation is broken.
    """
    for folder in (_PACKAGED, _CHECKOUT):
        if (folder / name).is_file():
            return folder / name
    raise HeadUnusable(f"{name} is missing from the installation; install face-gallery again")
