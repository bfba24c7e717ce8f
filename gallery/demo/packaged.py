"""The main job on two photographs that installed packages carry: enrol, query, deduplicate."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal

from PIL import Image

from gallery.dedupe.findings import Findings
from gallery.demo.photos import (
    COLLINS,
    HOPPER,
    Alteration,
    alterations,
    altered,
    person_photo,
    photos_of_no_one,
)
from gallery.demo.sheet import Tile
from gallery.gallery import Gallery
from gallery.matching.decision import without_face
from gallery.types import Decision, Outcome


@dataclass(frozen=True)
class Asked:
    """One question, its answer, and whether the answer was right. seconds : it took."""

    photo: str
    truth: str
    decision: Decision
    right: bool
    seconds: float
    content: bytes

    @property
    def answered(self) -> str:
        """The name, or which kind of none."""
        identity = self.decision.identity
        return identity.name if identity else self.decision.outcome.value.replace("_", " ")


@dataclass(frozen=True)
class EmbeddedDemo:
    """What happened. seconds : by step, in order."""

    asked: tuple[Asked, ...]
    duplicates: Findings
    expected_copies: int
    seconds: dict[str, float]

    @property
    def right(self) -> bool:
        """Whether every answer was."""
        return (
            all(a.right for a in self.asked)
            and [len(group.photos) for group in self.duplicates.copies]
            == [self.expected_copies] * 2
        )


def run_embedded_demo(
    gallery: Gallery, folder: Path, progress: Callable[[int, int], None]
) -> EmbeddedDemo:
    """Run it in an empty gallery; `folder` takes the altered copies.

    Raises PhotoUnreadable when the packages that carry the photos are not installed.
    """
    people = {name: person_photo(name) for name in (HOPPER, COLLINS)}
    nobody = photos_of_no_one()
    seconds: dict[str, float] = {}
    asked: list[Asked] = []
    total = 2 + len(nobody) + len(people) * len(alterations()) + 3

    def ask(photo: str, content: bytes, truth: str, outcome: Outcome) -> None:
        started = perf_counter()
        decision = gallery.query(content)
        took = perf_counter() - started
        named = decision.identity.name if decision.identity else None
        right = decision.outcome is outcome and (named == truth or named is None)
        asked.append(Asked(photo, truth, decision, right, took, content))
        progress(len(asked), total)

    with _timed(seconds, "load the networks"):
        gallery.pipeline  # noqa: B018
        gallery.scorer  # noqa: B018
    with _timed(seconds, f"enrol {HOPPER}"):
        gallery.enroll(HOPPER, people[HOPPER])
    with _timed(seconds, "ask about a stranger"):
        ask("Collins, not enrolled", people[COLLINS].read_bytes(), "a stranger", Outcome.UNKNOWN)
    with _timed(seconds, f"enrol {COLLINS}"):
        gallery.enroll(COLLINS, people[COLLINS])
    with _timed(seconds, "ask about altered photos"):
        for name, photo in people.items():
            for alteration in alterations():
                content = altered(photo, alteration)
                _keep(folder, photo, alteration, content)
                ask(f"{name.split()[-1]}, {alteration.name}", content, name, Outcome.MATCH)
    with _timed(seconds, "ask about photos of no one"):
        for photo in nobody:
            ask(photo.name, photo.read_bytes(), "no one", Outcome.NO_FACE)
    both = _side_by_side(list(people.values()))
    with _timed(seconds, "ask about a photo of both"):
        ask("both, side by side", both, "two people", Outcome.SEVERAL_FACES)
        started = perf_counter()
        found = {d.identity.name: d for d in gallery.query_all(both) if d.identity}
        took = (perf_counter() - started) / len(people)
        for name in people:
            lost = without_face(Outcome.UNKNOWN, "not found among all faces")
            asked.append(
                Asked("both, all faces", name, found.get(name, lost), name in found, took, both)
            )
    for photo in people.values():
        (folder / photo.name).write_bytes(photo.read_bytes())
    with _timed(seconds, "deduplicate a folder of copies"):
        duplicates = gallery.dedupe_folder(folder)
    return EmbeddedDemo(tuple(asked), duplicates, 1 + len(alterations()), seconds)


class _timed:
    def __init__(self, seconds: dict[str, float], step: str) -> None:
        self._seconds, self._step = seconds, step

    def __enter__(self) -> None:
        self._started = perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds[self._step] = perf_counter() - self._started


def _keep(folder: Path, photo: Path, alteration: Alteration, content: bytes) -> None:
    (folder / f"{photo.stem} {alteration.name}.jpg").write_bytes(content)


def _side_by_side(photos: list[Path]) -> bytes:
    height = 480
    images = []
    for photo in photos:
        with Image.open(photo) as image:
            width = round(image.width * height / image.height)
            images.append(image.convert("RGB").resize((width, height)))
    both = Image.new("RGB", (sum(i.width for i in images), height))
    left = 0
    for one in images:
        both.paste(one, (left, 0))
        left += one.width
    out = io.BytesIO()
    both.save(out, "JPEG", quality=92)
    return out.getvalue()


def tiles(demo: EmbeddedDemo) -> list[Tile]:
    """The questions as tiles of a contact sheet."""
    return [_tile(asked) for asked in demo.asked]


def _tile(asked: Asked) -> Tile:
    verdict: Literal["right", "wrong"] = "right" if asked.right else "wrong"
    decided_by, face = asked.decision.decided_by, asked.decision.face
    sure = f" {asked.decision.probability:.1%}" if decided_by and asked.decision.probability else ""
    return Tile(
        query=asked.content,
        asked=asked.photo,
        answered=f"{asked.answered}{sure}",
        verdict=verdict,
        box=face.box if face else None,
        answer=None if decided_by is None else Path(decided_by.photo).read_bytes(),
    )
