"""The demonstration on a folder of people: who is found, misnamed or lost, who matches wrongly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from scipy.stats import binomtest

from gallery.demo.sheet import Tile
from gallery.errors import NoPeople, PhotoError
from gallery.gallery import Gallery
from gallery.names import checked_name
from gallery.progress import Progress
from gallery.training.dataset import PeopleFolder, people_in
from gallery.types import Decision, EnrolOutcome, Outcome, Several

_EVERY_NTH_IS_A_STRANGER = 5


@dataclass(frozen=True)
class DemoQuery:
    """A query.

    known : whether the person was enrolled.  decision : None if the photo is unusable.
    """

    person: str
    known: bool
    photo: Path
    decision: Decision | None

    @property
    def outcome(self) -> str:
        """One of found, misnamed, ambiguous, unknown, no_face, unusable, ..."""
        if self.decision is None:
            return "unusable"
        if self.decision.identity is None:
            return self.decision.outcome.value
        is_right = self.decision.identity.name == checked_name(self.person)
        return "found" if is_right else "misnamed"


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
class FolderDemoResult:
    """The results. origins : the photo of each enrolled face, by id.  seconds : by step."""

    folder: PeopleFolder
    enrolled_photos: int
    unusable_photos: int
    queries: tuple[DemoQuery, ...]
    origins: dict[int, Path]
    seconds: dict[str, float]

    def share(self, outcomes: tuple[str, ...], *, known: bool) -> Share:
        """The share of known people, or of strangers, with one of these outcomes."""
        queries = [query for query in self.queries if query.known is known]
        return Share(sum(query.outcome in outcomes for query in queries), len(queries))

    def worst(self) -> list[DemoQuery]:
        """Strangers who matched and known people who were misnamed or lost, worst first."""
        ranks = {"misnamed": 0, Outcome.AMBIGUOUS.value: 1, Outcome.UNKNOWN.value: 2}
        wrong = [
            query
            for query in self.queries
            if query.outcome in ranks and (query.known or query.outcome != Outcome.UNKNOWN.value)
        ]

        def severity(query: DemoQuery) -> tuple[int, float]:
            decision = query.decision
            probability = 0.0 if decision is None else decision.probability or 0.0
            # A person whom the head clearly rejected comes before one it almost accepted.
            is_unknown = query.outcome == Outcome.UNKNOWN.value
            return ranks[query.outcome], probability if is_unknown else -probability

        return sorted(wrong, key=severity)


def run_folder_demo(
    gallery: Gallery,
    root: Path,
    limit: int | None,
    seed: int,
    progress: Progress,
) -> FolderDemoResult:
    """Enrol and query the people of a folder in an empty gallery.

    A folder with a split.csv contributes only its test people.

    limit : use this many people, chosen at random.  seed : for the choice.
    Raises PhotoUnreadable or NoPeople.
    """
    folder = _limited(people_in(root, "test"), limit, seed)
    several = sorted(name for name, photos in folder.people.items() if len(photos) > 1)
    strangers = set(several[_EVERY_NTH_IS_A_STRANGER - 1 :: _EVERY_NTH_IS_A_STRANGER])
    known = [name for name in several if name not in strangers]
    if not known:
        raise NoPeople(f"{root} has nobody to enrol: no person has two photos; add photos")
    started = perf_counter()
    photos = [(name, photo) for name in known for photo in folder.people[name][:-1]]
    total = len(photos) + len(folder.people)
    outcomes: list[EnrolOutcome] = []
    enrolled: set[str] = set()
    origins: dict[int, Path] = {}
    for name, photo in photos:
        # force: resemblance between people is measured here, so it must not prevent enrolment.
        result = gallery.enroll(name, photo, several=Several.CENTRAL, force=True)
        outcomes.append(result.outcome)
        if result.face_id is not None:
            enrolled.add(name)
            origins[result.face_id] = photo
        progress(len(outcomes), total)
    queried = perf_counter()
    queries: list[DemoQuery] = []
    for name, person_photos in folder.people.items():
        photo = person_photos[-1]
        queries.append(DemoQuery(name, name in enrolled, photo, _query(gallery, photo)))
        progress(len(photos) + len(queries), total)
    ended = perf_counter()
    return FolderDemoResult(
        folder=folder,
        enrolled_photos=outcomes.count(EnrolOutcome.ENROLLED),
        unusable_photos=sum(o in (EnrolOutcome.REFUSED, EnrolOutcome.ERROR) for o in outcomes),
        queries=tuple(queries),
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


def _query(gallery: Gallery, photo: Path) -> Decision | None:
    try:
        return gallery.query(photo, several=Several.CENTRAL)
    except PhotoError:
        return None


def mistake_tiles(demo: FolderDemoResult, limit: int = 12) -> list[Tile]:
    """The worst mistakes, each query next to the nearest enrolled photo."""
    return [_tile(query, demo.origins) for query in demo.worst()[:limit]]


def _tile(query: DemoQuery, origins: dict[int, Path]) -> Tile:
    decision = query.decision
    assert decision is not None
    nearest = decision.candidates[0] if decision.candidates else None
    if decision.outcome is Outcome.AMBIGUOUS:
        answered = "ambiguous"
    else:
        answered = "unknown" if decision.identity is None else decision.identity.name
    if nearest is not None:
        answered += f"\nnearest: {nearest.identity.name} {nearest.probability:.1%}"
    return Tile(
        query=query.photo.read_bytes(),
        caption=f"{query.person} ({'enrolled' if query.known else 'stranger'})",
        answered=answered,
        verdict="wrong" if query.outcome != Outcome.UNKNOWN.value else "neutral",
        box=None if decision.face is None else decision.face.box,
        answer=None if nearest is None else origins[nearest.face_id].read_bytes(),
    )
