"""The demonstration on photographs from installed packages: enrol, query, deduplicate."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal

from PIL import Image

from gallery.dedupe.findings import Findings
from gallery.demo.photos import (
    COLLINS,
    HOPPER,
    alterations,
    altered,
    person_photo,
    photos_of_no_one,
)
from gallery.demo.sheet import Tile
from gallery.gallery import Gallery
from gallery.matching.decision import decision_without_face
from gallery.progress import Progress
from gallery.types import Decision, Outcome


@dataclass(frozen=True)
class DemoQuery:
    """A query and its decision.

    photo : its caption.  truth : who is in it.  content : the photo's bytes.
    """

    photo: str
    truth: str
    decision: Decision
    right: bool
    seconds: float
    content: bytes

    @property
    def answered(self) -> str:
        """The name, or the outcome without a match."""
        identity = self.decision.identity
        return identity.name if identity else self.decision.outcome.value.replace("_", " ")


@dataclass(frozen=True)
class PackagedDemoResult:
    """The results. seconds : by step, in order."""

    queries: tuple[DemoQuery, ...]
    duplicates: Findings
    expected_copies: int
    seconds: dict[str, float]

    @property
    def right(self) -> bool:
        """Whether every answer was right."""
        return (
            all(query.right for query in self.queries)
            and [len(group.photos) for group in self.duplicates.copies]
            == [self.expected_copies] * 2
        )


def run_packaged_demo(gallery: Gallery, folder: Path, progress: Progress) -> PackagedDemoResult:
    """Run the demonstration in an empty gallery; write altered copies to the folder.

    Raises PhotoUnreadable if the packages with the photos are not installed.
    """
    people = {name: person_photo(name) for name in (HOPPER, COLLINS)}
    nobody = photos_of_no_one()
    seconds: dict[str, float] = {}
    queries: list[DemoQuery] = []
    total = 2 + len(nobody) + len(people) * len(alterations()) + 3

    def query(photo: str, content: bytes, truth: str, outcome: Outcome) -> None:
        started = perf_counter()
        decision = gallery.query(content)
        seconds_taken = perf_counter() - started
        name = decision.identity.name if decision.identity else None
        right = decision.outcome is outcome and (name == truth or name is None)
        queries.append(DemoQuery(photo, truth, decision, right, seconds_taken, content))
        progress(len(queries), total)

    with _timed(seconds, "load the networks"):
        gallery.pipeline  # noqa: B018
        gallery.scorer  # noqa: B018
    with _timed(seconds, f"enrol {HOPPER}"):
        gallery.enroll(HOPPER, people[HOPPER])
    with _timed(seconds, "ask about a stranger"):
        query("Collins, not enrolled", people[COLLINS].read_bytes(), "a stranger", Outcome.UNKNOWN)
    with _timed(seconds, f"enrol {COLLINS}"):
        gallery.enroll(COLLINS, people[COLLINS])
    with _timed(seconds, "ask about altered photos"):
        for name, photo in people.items():
            for alteration in alterations():
                content = altered(photo, alteration)
                (folder / f"{photo.stem} {alteration.name}.jpg").write_bytes(content)
                query(f"{name.split()[-1]}, {alteration.name}", content, name, Outcome.MATCH)
    with _timed(seconds, "ask about photos of no one"):
        for photo in nobody:
            query(photo.name, photo.read_bytes(), "no one", Outcome.NO_FACE)
    both = _side_by_side(list(people.values()))
    with _timed(seconds, "ask about a photo of both"):
        query("both, side by side", both, "two people", Outcome.SEVERAL_FACES)
        started = perf_counter()
        decisions = {d.identity.name: d for d in gallery.query_all(both) if d.identity}
        seconds_each = (perf_counter() - started) / len(people)
        unknown = decision_without_face(Outcome.UNKNOWN, "not found among all faces")
        for name in people:
            decision, right = decisions.get(name, unknown), name in decisions
            queries.append(DemoQuery("both, all faces", name, decision, right, seconds_each, both))
    for photo in people.values():
        (folder / photo.name).write_bytes(photo.read_bytes())
    with _timed(seconds, "deduplicate a folder of copies"):
        duplicates = gallery.dedupe_folder(folder)
    return PackagedDemoResult(tuple(queries), duplicates, 1 + len(alterations()), seconds)


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    started = perf_counter()
    yield
    seconds[step] = perf_counter() - started


def _side_by_side(photos: list[Path]) -> bytes:
    height = 480
    images = []
    for photo in photos:
        with Image.open(photo) as image:
            width = round(image.width * height / image.height)
            images.append(image.convert("RGB").resize((width, height)))
    both = Image.new("RGB", (sum(i.width for i in images), height))
    left = 0
    for resized in images:
        both.paste(resized, (left, 0))
        left += resized.width
    out = io.BytesIO()
    both.save(out, "JPEG", quality=92)
    return out.getvalue()


def tiles(demo: PackagedDemoResult) -> list[Tile]:
    """The queries as tiles of a contact sheet."""
    return [_tile(query) for query in demo.queries]


def _tile(query: DemoQuery) -> Tile:
    verdict: Literal["right", "wrong"] = "right" if query.right else "wrong"
    decision, decided_by = query.decision, query.decision.decided_by
    probability = ""
    if decided_by is not None and decision.probability is not None:
        probability = f" {decision.probability:.1%}"
    return Tile(
        query=query.content,
        caption=query.photo,
        answered=f"{query.answered}{probability}",
        verdict=verdict,
        box=None if decision.face is None else decision.face.box,
        answer=None if decided_by is None else Path(decided_by.photo).read_bytes(),
    )
