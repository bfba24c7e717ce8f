"""Where the files are that ship with the product."""

from __future__ import annotations

from pathlib import Path

from gallery.errors import HeadUnusable

HEAD_FILE, CARD_FILE, PLOT_FILE = "head.safetensors", "head.json", "head-training.png"
"""What training leaves behind, in `data/` and in a gallery's home: head, model card, plot."""

_PACKAGED = Path(__file__).parent / "data"
_CHECKOUT = Path(__file__).parent.parent / "data"


def shipped_file(name: str) -> Path:
    """A file of `data/`: inside the installed package, else in the checkout this runs from.

    Raises HeadUnusable when it is in neither, which means the installation is broken.
    """
    for folder in (_PACKAGED, _CHECKOUT):
        if (folder / name).is_file():
            return folder / name
    raise HeadUnusable(f"{name} is missing from the installation; install face-gallery again")
