"""The report of a plan: one HTML page that needs nothing beside it, faces side by side."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from gallery.dedupe.findings import Findings, FoundFace
from gallery.dedupe.plan.files import as_json
from gallery.dedupe.plan.model import Plan, Planned
from gallery.errors import PhotoError
from gallery.types import Box, Photo
from gallery.vision.photo import PhotoReader

_SIDE, _MARGIN, _QUALITY = 150, 0.35, 80
_YOURS = " There is nothing to decide here: photo files are yours to move or remove."
_MOST_FINDINGS, _MOST_MEMBERS = 300, 24

Kept = Callable[[int], bytes | None]
"""The thumbnail of an enrolled face, if the gallery keeps it."""


@dataclass(frozen=True)
class _Picture:
    """What is to be shown: a photo, or a face of it."""

    photo: str
    box: Box | None = None
    face_id: int | None = None
    sha256: str = ""


class Pictures:
    """Small pictures as data URIs. A photo is decoded once for all its faces in a row."""

    def __init__(self, reader: PhotoReader, kept: Kept) -> None:
        self._reader = reader
        self._kept = kept
        self._last: tuple[str, Photo | None] = ("", None)

    def of(self, wanted: _Picture) -> str:
        """Empty when the photo is no longer there, or is another one now."""
        kept = None if wanted.face_id is None else self._kept(wanted.face_id)
        if kept is not None:
            return _uri(kept)
        photo = self._photo(wanted.photo)
        if photo is None or (wanted.sha256 and photo.sha256 != wanted.sha256):
            return ""
        image = Image.fromarray(photo.pixels)
        if wanted.box is not None:
            more = _MARGIN * wanted.box.side
            edges = wanted.box.as_list()
            grown = (edges[0] - more, edges[1] - more, edges[2] + more, edges[3] + more)
            left, top, right, bottom = (round(v / photo.scale) for v in grown)
            image = image.crop((left, top, max(right, left + 1), max(bottom, top + 1)))
        image.thumbnail((_SIDE, _SIDE))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=_QUALITY)
        return _uri(file.getvalue())

    def _photo(self, name: str) -> Photo | None:
        if self._last[0] != name:
            try:
                self._last = name, self._reader.read(name)
            except PhotoError:
                self._last = name, None
        return self._last[1]


def page(
    found: Findings,
    plan: Plan,
    folder: Path | None,
    reader: PhotoReader,
    kept: Kept,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> str:
    """The page. folder : None for the gallery itself."""
    pictures = Pictures(reader, kept)
    planned = {one.id: one for one in plan.findings}
    sections = _sections(found, planned, pictures, folder, progress)
    environment = Environment(
        loader=PackageLoader("gallery.dedupe.plan", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        title="The gallery" if folder is None else folder.resolve().name,
        photos=f"{found.photos:,}",
        faces=f"{found.faces:,}",
        made=f"{datetime.now():%Y-%m-%d %H:%M}",
        sections=sections,
        skipped=found.skipped,
        plan=as_json(plan),
    )


def _sections(
    found: Findings,
    planned: dict[str, Planned],
    pictures: Pictures,
    folder: Path | None,
    progress: Callable[[int, int], None],
) -> list[dict[str, Any]]:
    short = _shortener(folder)
    whole = sum(
        min(_MOST_FINDINGS, len(part))
        for part in (found.misfiled, found.identities, found.copies, found.people)
    )
    done = 0

    def shown(
        finding: str, title: str, members: Iterable[tuple[_Picture, str]], decided: Iterable[str],
        choice: bool, decidable: bool,
    ) -> dict[str, Any]:  # fmt: skip
        nonlocal done
        done += 1
        progress(done, whole)
        one, links, every = planned[finding], set(decided), list(members)
        return {
            "id": one.id,
            "title": title,
            "sure": f"{min(one.probability, 0.999):.1%} sure",
            "why": one.why,
            "accept": one.accept,
            "suggested": one.suggested,
            "decidable": decidable,
            "more": max(0, len(every) - _MOST_MEMBERS),
            "members": [
                {
                    "place": place,
                    "picture": pictures.of(picture),
                    "name": name,
                    "said": short(picture.photo),
                    "decided": f"{picture.photo} {picture.box}" in links,
                    "choice": choice,
                }
                for place, (picture, name) in enumerate(every[:_MOST_MEMBERS])
            ],
        }

    enrolled = folder is None
    misfiled = [
        shown(
            f"m{i}",
            f"{w.identity}? Rather {w.suggested}" if w.suggested else f"{w.identity}?",
            [(_face(w.face), w.identity), (_face(w.nearest), w.suggested or w.identity)],
            (),
            False,
            enrolled,
        )
        for i, w in enumerate(found.misfiled[:_MOST_FINDINGS], start=1)
    ]
    identities = [
        shown(
            f"i{i}",
            " and ".join(s.names),
            [(_face(f), n) for f, n in zip(s.deciding, s.names, strict=True)],
            (),
            False,
            enrolled,
        )
        for i, s in enumerate(found.identities[:_MOST_FINDINGS], start=1)
    ]
    copies = [
        shown(
            f"c{i}",
            f"{len(c.photos)} copies",
            [(_face(f), f.name) for f in c.faces] or [(_Picture(p), "") for p in c.photos],
            [f"{p} None" for p in c.deciding],
            False,
            enrolled,
        )
        for i, c in enumerate(found.copies[:_MOST_FINDINGS], start=1)
    ]
    people = [
        shown(
            f"p-{p.id}",
            f"{len(p.faces)} faces of one person",
            [(_face(f), "") for f in p.faces],
            [f"{f.photo} {f.box}" for f in p.deciding],
            True,
            True,
        )
        for p in found.people[:_MOST_FINDINGS]
    ]
    return [
        _section("misfiled", "Under the wrong name?", found.misfiled, misfiled,
                 "On the left the photo; on the right the photo that it is most like."
                 + ("" if enrolled else _YOURS),
                 "Put it there", "It is right"),
        _section("identities", "Two names, one person?", found.identities, identities,
                 "The most alike photos of two names."
                 + (" Accepting keeps the first name." if enrolled else _YOURS),
                 "One person", "Two people"),
        _section("copies", "Copies", found.copies, copies,
                 "The same picture, again. Outlined: the link that is least sure."
                 + (" Accepting keeps the first in the gallery." if enrolled else _YOURS),
                 "Keep the first alone", "Keep all"),
        _section("people", "One person", found.people, people,
                 "The largest groups first. Outlined: the face that is least sure, and the one it"
                 " is most like. Accepting keeps the group together for ever.",
                 "One person", "Not one person"),
    ]  # fmt: skip


def _section(
    kind: str, title: str, every: tuple[Any, ...], findings: list[dict[str, Any]], why: str,
    yes: str, no: str,
) -> dict[str, Any]:  # fmt: skip
    return {
        "kind": kind, "title": title, "total": len(every), "findings": findings, "why": why,
        "yes": yes, "no": no,
    }  # fmt: skip


def _face(face: FoundFace) -> _Picture:
    return _Picture(face.photo, face.box, face.face_id, face.key.split(" ", 1)[0])


def _shortener(folder: Path | None) -> Callable[[str], str]:
    def short(photo: str) -> str:
        path = Path(photo)
        if folder is not None and path.is_relative_to(folder):
            return str(path.relative_to(folder))
        return path.name

    return short


def _uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
