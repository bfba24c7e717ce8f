"""The folder report: one self-contained HTML page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from gallery.errors import PhotoError
from gallery.evaluation.folder import FolderFigures
from gallery.evaluation.plots import figures_of
from gallery.training.cleaning import DuplicatePhotos
from gallery.training.encode import EncodedPeople
from gallery.types import Several
from gallery.vision.crops import thumbnail
from gallery.vision.pipeline import FacePipeline


def page(
    root: Path,
    figures: FolderFigures,
    everyone: EncodedPeople,
    duplicates: DuplicatePhotos,
    provenance: dict[str, Any],
    pipeline: FacePipeline,
    rate: float,
) -> str:
    """Render the page.

    figures : of `everyone` without `duplicates`.  provenance : encoder, head_sha256 and seed.
    rate : the promised FPIR whose row is shown at the top.
    """

    @cache
    def data_uri(photo: str) -> str:
        return _thumbnail(photo, pipeline)

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
        across_people=duplicates.across_people,
        within_person=duplicates.within_person,
        key=min(rows, key=lambda r: (abs(r["promised"] - rate), -r["gallery"])),
        galleries=rows,
        groups=figures.promise.get("groups"),
        calibration=figures.promise["calibration"],
        counts=figures.counts,
        someone_else=figures.someone_else,
        unlike=figures.unlike,
        alike=figures.alike,
        deciders=deciders,
        figures=[name for name in next(iter(deciders.values())) if name != "said"],
        gallery=figures.comparison["gallery"],
        plots=[_svg(figure) for _, figure in figures_of(figures.scored)],
        thumbnail=data_uri,
        short=_shortener(root),
        percent=lambda value: f"{100 * value:.1f} %",
        **provenance,
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


def _thumbnail(photo: str, pipeline: FacePipeline) -> str:
    """The photo's central face as a data URI; an empty one if the photo cannot be read."""
    try:
        opened = pipeline.open(photo)
        face = pipeline.one_face(opened, Several.CENTRAL)
    except PhotoError:
        return "data:,"
    return "data:image/jpeg;base64," + base64.b64encode(thumbnail(opened, face)).decode()
