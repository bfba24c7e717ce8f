"""The report of a plan: one self-contained HTML page with the faces side by side."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from gallery.dedupe.findings import Findings, FoundFace
from gallery.dedupe.plan.files import plan_json
from gallery.dedupe.plan.model import Plan, PlannedFinding
from gallery.errors import PhotoError
from gallery.progress import Progress, no_progress
from gallery.types import Box, Photo
from gallery.vision.photo import PhotoReader

_SIDE, _MARGIN, _QUALITY = 150, 0.35, 80
_NO_ACTION = " Nothing to decide here: move or delete photo files yourself."
_MOST_FINDINGS, _MOST_MEMBERS = 300, 24

Thumbnails = Callable[[int], bytes | None]
"""Returns the stored thumbnail of an enrolled face, by id, or None."""


@dataclass(frozen=True)
class _Picture:
    """A photo, or a face of it, to show."""

    photo: str
    box: Box | None = None
    face_id: int | None = None
    sha256: str = ""


class Pictures:
    """Small images as data URIs. A photo is decoded once for consecutive faces of it."""

    def __init__(self, reader: PhotoReader, thumbnails: Thumbnails) -> None:
        self._reader = reader
        self._thumbnails = thumbnails
        self._last: tuple[str, Photo | None] = ("", None)

    def uri(self, picture: _Picture) -> str:
        """The picture's data URI; empty if the photo no longer exists or has changed."""
        thumbnail = None if picture.face_id is None else self._thumbnails(picture.face_id)
        if thumbnail is not None:
            return _data_uri(thumbnail)
        photo = self._photo(picture.photo)
        if photo is None or (picture.sha256 and photo.sha256 != picture.sha256):
            return ""
        image = Image.fromarray(photo.pixels)
        if picture.box is not None:
            margin = _MARGIN * picture.box.side
            edges = picture.box.as_list()
            crop = (edges[0] - margin, edges[1] - margin, edges[2] + margin, edges[3] + margin)
            left, top, right, bottom = (round(v / photo.scale) for v in crop)
            image = image.crop((left, top, max(right, left + 1), max(bottom, top + 1)))
        image.thumbnail((_SIDE, _SIDE))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=_QUALITY)
        return _data_uri(file.getvalue())

    def _photo(self, name: str) -> Photo | None:
        if self._last[0] != name:
            try:
                self._last = name, self._reader.read(name)
            except PhotoError:
                self._last = name, None
        return self._last[1]


def report_page(
    findings: Findings,
    plan: Plan,
    folder: Path | None,
    reader: PhotoReader,
    thumbnails: Thumbnails,
    progress: Progress = no_progress,
) -> str:
    """The HTML page of a plan. folder : None for the gallery itself."""
    pictures = Pictures(reader, thumbnails)
    planned = {finding.id: finding for finding in plan.findings}
    sections = _sections(findings, planned, pictures, folder, progress)
    environment = Environment(
        loader=PackageLoader("gallery.dedupe.plan", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        title="The gallery" if folder is None else folder.resolve().name,
        photos=f"{findings.photos:,}",
        faces=f"{findings.faces:,}",
        made=f"{datetime.now():%Y-%m-%d %H:%M}",
        sections=sections,
        skipped=findings.skipped,
        plan=plan_json(plan),
    )


def _sections(
    findings: Findings,
    planned: dict[str, PlannedFinding],
    pictures: Pictures,
    folder: Path | None,
    progress: Progress,
) -> list[dict[str, Any]]:
    short_name = _shortener(folder)
    total = sum(
        min(_MOST_FINDINGS, len(group))
        for group in (findings.misfiled, findings.identities, findings.copies, findings.people)
    )
    done = 0

    def shown(
        finding_id: str, title: str, members: Sequence[tuple[_Picture, str]],
        deciding: Collection[str] = (), choice: bool = False, decidable: bool = folder is None,
    ) -> dict[str, Any]:  # fmt: skip
        nonlocal done
        done += 1
        progress(done, total)
        finding = planned[finding_id]
        return {
            "id": finding.id,
            "title": title,
            "sure": f"{min(finding.probability, 0.999):.1%} sure",
            "why": finding.why,
            "accept": finding.accept,
            "suggested": finding.suggested,
            "decidable": decidable,
            "more": max(0, len(members) - _MOST_MEMBERS),
            "members": [
                {
                    "place": place,
                    "picture": pictures.uri(picture),
                    "name": name,
                    "photo": short_name(picture.photo),
                    "deciding": f"{picture.photo} {picture.box}" in deciding,
                    "choice": choice,
                }
                for place, (picture, name) in enumerate(members[:_MOST_MEMBERS])
            ],
        }

    enrolled = folder is None
    misfiled = [
        shown(
            f"m{i}",
            f"Filed under {w.identity}, looks like {w.suggested or 'someone else'}",
            [(_face(w.face), w.identity), (_face(w.nearest), w.suggested or w.identity)],
        )
        for i, w in enumerate(findings.misfiled[:_MOST_FINDINGS], start=1)
    ]
    identities = [
        shown(
            f"i{i}",
            " and ".join(s.names),
            [(_face(f), n) for f, n in zip(s.deciding, s.names, strict=True)],
        )
        for i, s in enumerate(findings.identities[:_MOST_FINDINGS], start=1)
    ]
    copies = [
        shown(
            f"c{i}",
            f"{len(c.photos)} copies",
            [(_face(f), f.name) for f in c.faces] or [(_Picture(p), "") for p in c.photos],
            [f"{p} None" for p in c.deciding],
        )
        for i, c in enumerate(findings.copies[:_MOST_FINDINGS], start=1)
    ]
    people = [
        shown(
            f"p-{p.id}",
            f"{len(p.faces)} faces of one person",
            [(_face(f), "") for f in p.faces],
            [f"{f.photo} {f.box}" for f in p.deciding],
            choice=True,
            decidable=True,
        )
        for p in findings.people[:_MOST_FINDINGS]
    ]
    return [
        _section("misfiled", "Under the wrong name?", len(findings.misfiled), misfiled,
                 "Left: the photo. Right: the photo it is most similar to."
                 + ("" if enrolled else _NO_ACTION),
                 "Move it there", "It is right"),
        _section("identities", "Two names, one person?", len(findings.identities), identities,
                 "The most similar photos of two names."
                 + (" Accepting keeps the first name." if enrolled else _NO_ACTION),
                 "One person", "Two people"),
        _section("copies", "Copies", len(findings.copies), copies,
                 "The same picture several times. Outlined: the least certain link."
                 + (" Accepting keeps only the first in the gallery." if enrolled else _NO_ACTION),
                 "Keep only the first", "Keep all"),
        _section("people", "One person", len(findings.people), people,
                 "The largest groups first. Outlined: the least certain face, and the one it is"
                 " most similar to. Accepting keeps the group together for good.",
                 "One person", "Not one person"),
    ]  # fmt: skip


def _section(
    kind: str, title: str, total: int, shown: list[dict[str, Any]], why: str,
    yes: str, no: str,
) -> dict[str, Any]:  # fmt: skip
    return {
        "kind": kind, "title": title, "total": total, "findings": shown, "why": why,
        "yes": yes, "no": no,
    }  # fmt: skip


def _face(face: FoundFace) -> _Picture:
    return _Picture(face.photo, face.box, face.face_id, face.key.split(" ", 1)[0])


def _shortener(folder: Path | None) -> Callable[[str], str]:
    def short_name(photo: str) -> str:
        path = Path(photo)
        if folder is not None and path.is_relative_to(folder):
            return str(path.relative_to(folder))
        return path.name

    return short_name


def _data_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
