"""The main job on the user's own folder of people: who is found, misnamed, lost; who is let in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from scipy.stats import binomtest

from gallery.demo.sheet import Tile
from gallery.errors import NoPeople, PhotoError
from gallery.gallery import Gallery
from gallery.names import checked_name
from gallery.training.dataset import PeopleFolder, people_in
from gallery.types import Decision, EnrolOutcome, Outcome, Several

_EVERY_NTH_IS_A_STRANGER = 5


@dataclass(frozen=True)
class Asked:
    """One query. known : whether the person was enrolled. decision : None for an unusable photo."""

    person: str
    known: bool
    photo: Path
    decision: Decision | None

    @property
    def outcome(self) -> str:
        """What became of it, in the words of the report."""
        if self.decision is None:
            return "unusable"
        if self.decision.identity is None:
            return self.decision.outcome.value
        right = self.decision.identity.name == checked_name(self.person)
        return "found" if right else "misnamed"


@dataclass(frozen=True)
class Share:
    """A share of queries, with its 95 % Wilson interval."""

    count: int
    of: int

    @property
    def value(self) -> float:
        return self.count / self.of if self.of else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        if not self.of:
            return 0.0, 1.0
        interval = binomtest(self.count, self.of).proportion_ci(method="wilson")
        return float(interval.low), float(interval.high)


@dataclass(frozen=True)
class OwnDemo:
    """What happened. origins : the photo of each enrolled face. seconds : by step."""

    folder: PeopleFolder
    enrolled_photos: int
    unusable_photos: int
    asked: tuple[Asked, ...]
    origins: dict[int, Path]
    seconds: dict[str, float]

    def share(self, outcomes: tuple[str, ...], *, known: bool) -> Share:
        """How many of the known, or of the strangers, ended so."""
        those = [a for a in self.asked if a.known is known]
        return Share(sum(a.outcome in outcomes for a in those), len(those))

    def worst(self) -> list[Asked]:
        """Strangers who were let in and known people who were misnamed or lost, worst first."""
        grave = {"misnamed": 0, Outcome.AMBIGUOUS.value: 1, Outcome.UNKNOWN.value: 2}
        wrong = [a for a in self.asked if a.outcome in grave and (a.known or grave[a.outcome] < 2)]

        def gravity(a: Asked) -> tuple[int, float]:
            sure = 0.0 if a.decision is None else a.decision.probability or 0.0
            # A lost person the head was surest against comes before one it almost accepted.
            return grave[a.outcome], sure if a.outcome == Outcome.UNKNOWN.value else -sure

        return sorted(wrong, key=gravity)


def run_own_demo(
    gallery: Gallery,
    root: Path,
    limit: int | None,
    seed: int,
    progress: Callable[[int, int], None],
) -> OwnDemo:
    """Enrol and query in an empty gallery.

    limit : take this many people, drawn with the seed. Of a folder with a split.csv only its test
    people are taken. Raises PhotoUnreadable or NoPeople.
    """
    folder = _limited(people_in(root, "test"), limit, seed)
    several = sorted(name for name, photos in folder.people.items() if len(photos) > 1)
    strangers = set(several[_EVERY_NTH_IS_A_STRANGER - 1 :: _EVERY_NTH_IS_A_STRANGER])
    known = [name for name in several if name not in strangers]
    if not known:
        raise NoPeople(f"{root} has no one to enrol: nobody has two photos; add photos")
    started = perf_counter()
    photos = [(name, photo) for name in known for photo in folder.people[name][:-1]]
    total = len(photos) + len(folder.people)
    outcomes: list[EnrolOutcome] = []
    enrolled: set[str] = set()
    origins: dict[int, Path] = {}
    for name, photo in photos:
        # Whom it resembles is what is measured here, so it must not stop anyone from enrolling.
        result = gallery.enroll(name, photo, several=Several.CENTRAL, force=True)
        outcomes.append(result.outcome)
        if result.face_id is not None:
            enrolled.add(name)
            origins[result.face_id] = photo
        progress(len(outcomes), total)
    queried = perf_counter()
    asked: list[Asked] = []
    for name, some in folder.people.items():
        asked.append(Asked(name, name in enrolled, some[-1], _ask(gallery, some[-1])))
        progress(len(photos) + len(asked), total)
    ended = perf_counter()
    return OwnDemo(
        folder=folder,
        enrolled_photos=outcomes.count(EnrolOutcome.ENROLLED),
        unusable_photos=sum(o in (EnrolOutcome.REFUSED, EnrolOutcome.ERROR) for o in outcomes),
        asked=tuple(asked),
        origins=origins,
        seconds={
            f"enrol {len(photos)} photos": queried - started,
            f"ask about {len(folder.people)} photos": ended - queried,
        },
    )


def _limited(folder: PeopleFolder, limit: int | None, seed: int) -> PeopleFolder:
    if limit is None or limit >= len(folder.people):
        return folder
    drawn = np.random.default_rng(seed).choice(sorted(folder.people), limit, replace=False)
    return PeopleFolder(
        folder.root, {name: folder.people[name] for name in sorted(drawn.tolist())}, folder.part
    )


def _ask(gallery: Gallery, photo: Path) -> Decision | None:
    try:
        return gallery.query(photo, several=Several.CENTRAL)
    except PhotoError:
        return None


def mistake_tiles(demo: OwnDemo, most: int = 12) -> list[Tile]:
    """The worst mistakes, each query beside the enrolled photo that misled."""
    return [_tile(asked, demo.origins) for asked in demo.worst()[:most]]


def _tile(asked: Asked, origins: dict[int, Path]) -> Tile:
    decision = asked.decision
    assert decision is not None
    nearest = decision.candidates[0] if decision.candidates else None
    said = "unknown" if decision.identity is None else decision.identity.name
    if decision.outcome is Outcome.AMBIGUOUS:
        said = "ambiguous"
    sure = (
        "" if nearest is None else f"\nnearest: {nearest.identity.name} {nearest.probability:.1%}"
    )
    return Tile(
        query=asked.photo.read_bytes(),
        asked=f"{asked.person} ({'enrolled' if asked.known else 'stranger'})",
        answered=f"{said}{sure}",
        verdict="wrong" if asked.outcome != Outcome.UNKNOWN.value else "neutral",
        box=None if decision.face is None else decision.face.box,
        answer=None if nearest is None else origins[nearest.face_id].read_bytes(),
    )
