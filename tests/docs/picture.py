"""Draw the README's picture, data/contact-sheet.png: `python -m tests.docs.picture`.

It shows some of the demo's queries. `gallery demo` draws a sheet of all of them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image

from gallery.demo.packaged import run_packaged_demo, tiles
from gallery.demo.sheet import draw_sheet
from gallery.gallery import Gallery

PICTURE = Path(__file__).parents[2] / "data" / "contact-sheet.png"
_SHOWN = (
    "Collins, not enrolled",
    "Hopper, turned 12°",
    "Hopper, darkened",
    "Collins, cropped",
    "Collins, mirrored",
    "chelsea.png",
    "both, side by side",
    "both, all faces",
)
_WIDTH, _COLOURS = 1000, 128  # keeps the file under 500 kB


def draw_picture(file: Path) -> None:
    """Run the demo and draw some of its queries. Raises OSError."""
    with tempfile.TemporaryDirectory() as folder, Gallery.open(Path(folder, "home")) as gallery:
        copies = Path(folder, "copies")
        copies.mkdir()
        demo = run_packaged_demo(gallery, copies, lambda _done, _total: None)
        shown = [tile for tile in tiles(demo) if tile.caption in _SHOWN]
        draw_sheet(shown, "Query, enrolled photo, answer", file, gallery.pipeline.reader)
    with Image.open(file) as sheet:
        size = (_WIDTH, round(sheet.height * _WIDTH / sheet.width))
        small = sheet.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    small.quantize(_COLOURS).save(file, optimize=True)


if __name__ == "__main__":
    draw_picture(PICTURE)
