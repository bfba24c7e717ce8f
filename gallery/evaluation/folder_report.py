"""The figures of a folder as one HTML page that needs nothing beside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from gallery.errors import PhotoError
from gallery.evaluation.folder import FolderFigures
from gallery.evaluation.plots import figures_of
from gallery.training.cleaning import Conflicts
from gallery.training.encode import EncodedPeople
from gallery.types import Several
from gallery.vision.pipeline import FacePipeline

_SIDE = 180
_MARGIN = 0.35


def page(
    root: Path,
    figures: FolderFigures,
    everyone: EncodedPeople,
    conflicts: Conflicts,
    made_of: dict[str, Any],
    eye: FacePipeline,
    rate: float,
) -> str:
    """The page. made_of : encoder, head_sha256 and seed."""
    known: dict[str, str] = {}

    def thumbnail(photo: str) -> str:
        if photo not in known:
            known[photo] = _thumbnail(photo, eye)
        return known[photo]

    rows = figures.promise["galleries"]
    environment = Environment(
        loader=PackageLoader("gallery.evaluation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    deciders = figures.comparison["deciders"]
    return environment.get_template("folder_report.html").render(
        folder=root.resolve().name,
        people=len(set(everyone.people.tolist())),
        photos=len(everyone),
        skipped=everyone.skipped,
        two_names=conflicts.two_names,
        copies=conflicts.copies,
        key=min(rows, key=lambda r: (abs(r["promised"] - rate), -r["gallery"])),
        galleries=rows,
        calibration=figures.promise["calibration"],
        counts=figures.counts,
        someone_else=figures.someone_else,
        unlike=figures.unlike,
        alike=figures.alike,
        deciders=deciders,
        figures=[name for name in next(iter(deciders.values())) if name != "said"],
        gallery=figures.comparison["gallery"],
        plots=[_svg(figure) for _, figure in figures_of(figures.scored)],
        thumbnail=thumbnail,
        short=_shortener(root),
        percent=lambda value: f"{100 * value:.1f} %",
        **made_of,
    )


def _shortener(root: Path) -> Callable[[str], str]:
    def short(photo: str) -> str:
        path = Path(photo)
        return str(path.relative_to(root)) if path.is_relative_to(root) else photo

    return short


def _svg(figure: Any) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg")
    text = file.getvalue()
    return text[text.index("<svg") :]


def _thumbnail(photo: str, eye: FacePipeline) -> str:
    """The photo's central face as a data URI; nothing when the photo is no longer there."""
    try:
        opened = eye.open(photo)
        box = eye.one_face(opened, Several.CENTRAL).box
    except PhotoError:
        return "data:,"
    more = _MARGIN * box.side
    edges = (box.left - more, box.top - more, box.right + more, box.bottom + more)
    left, top, right, bottom = (round(v / opened.scale) for v in edges)
    face = Image.fromarray(opened.pixels).crop((left, top, right, bottom))
    face.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    face.save(file, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
