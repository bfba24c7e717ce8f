"""A contact sheet: queries next to their answers, in one PNG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from gallery.types import Box
from gallery.vision.photo import PhotoReader

_COLOURS = {"right": "#1a7f37", "wrong": "#cf222e", "neutral": "#57606a"}


@dataclass(frozen=True)
class Tile:
    """A query and its answer.

    query : the photo's bytes.  caption : shown above it.  answered : the text of the answer.
    box : the queried face, in pixels of the upright photo.
    answer : bytes of the enrolled photo that decided.
    """

    query: bytes
    caption: str
    answered: str
    verdict: Literal["right", "wrong", "neutral"]
    box: Box | None = None
    answer: bytes | None = None


def draw_sheet(
    tiles: Sequence[Tile], title: str, file: Path, reader: PhotoReader, columns: int = 3
) -> None:
    """Save a sheet as PNG. Raises OSError."""
    from matplotlib.figure import Figure  # slow to import

    rows = max(1, math.ceil(len(tiles) / columns))
    figure = Figure(figsize=(4.4 * columns, 2.75 * rows + 0.6), layout="constrained")
    figure.suptitle(title, fontsize=13)
    grid = figure.subfigures(rows, columns, squeeze=False, wspace=0.02, hspace=0.04)
    for i, panel in enumerate(grid.ravel()):
        if i < len(tiles):
            _draw_tile(panel, tiles[i], reader)
    figure.savefig(file, dpi=100)


def _draw_tile(panel: object, tile: Tile, reader: PhotoReader) -> None:
    from matplotlib.figure import SubFigure

    assert isinstance(panel, SubFigure)
    colour = _COLOURS[tile.verdict]
    panel.suptitle(tile.answered, fontsize=10, color=colour, fontweight="bold", wrap=True)
    left, right = panel.subplots(1, 2)
    left.set_title(tile.caption, fontsize=8, color="#57606a")
    _show(left, tile.query, tile.box, reader, colour)
    if tile.answer is None:
        right.text(0.5, 0.5, "no one", ha="center", va="center", fontsize=11, color="#8c959f")
        right.set_axis_off()
    else:
        right.set_title("enrolled", fontsize=8, color="#57606a")
        _show(right, tile.answer, None, reader, colour)


def _show(axes: object, content: bytes, box: Box | None, reader: PhotoReader, colour: str) -> None:
    from matplotlib.axes import Axes
    from matplotlib.patches import Rectangle

    assert isinstance(axes, Axes)
    photo = reader.decode(content, "photo of the contact sheet")
    image = Image.fromarray(photo.pixels)
    image.thumbnail((360, 360))
    axes.imshow(np.asarray(image))
    axes.set_axis_off()
    if box is not None:
        scale = image.width / photo.width
        corner = (box.left * scale, box.top * scale)
        frame = Rectangle(
            corner, box.width * scale, box.height * scale, fill=False, ec=colour, lw=2
        )
        axes.add_patch(frame)
