"""A folder of photos: what are copies, which faces are one person, who is under a wrong name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gallery.dedupe.constraints import Constraints
from gallery.dedupe.copies import CopyGroup, copy_groups
from gallery.dedupe.findings import (
    Copies,
    Findings,
    FoundFace,
    Misfiled,
    Person,
    SameIdentities,
)
from gallery.dedupe.grouping import Group, same_person_groups
from gallery.dedupe.joining import near_groups
from gallery.dedupe.look import Look
from gallery.dedupe.misfiled import said, wrong_names
from gallery.dedupe.precision import DEFAULT_PRECISION
from gallery.dedupe.reading import Readers, listed, read_all
from gallery.errors import NoPhotos
from gallery.judge import Judge, own_adjustment
from gallery.operating_point import OperatingPoint, operating_point
from gallery.photo import photos_in
from gallery.seeing import Eye
from gallery.store import seen
from gallery.store.database import Database
from gallery.store.decided import NotOne, pairs_in
from gallery.store.seen import FaceDecision, SeenPhoto
from gallery.store.told import face_key
from gallery.types import Box, Encodings, Int64

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is, and how much there is."""
_LEAST_FOLDERS, _ALIKE_INSIDE, _AT_HOME = 2, 0.6, 0.8
_KEY = 16


@dataclass(frozen=True)
class Wanted:
    """What a user may ask of a folder.

    precision : the wanted share of right pairs.  people : whether the folders right inside are
    people by name; None: see for yourself.
    """

    precision: float = DEFAULT_PRECISION
    people: bool | None = None


@dataclass(frozen=True)
class _Seen:
    """A folder as it was seen. owners : int64 (f,), of each face its photo's row."""

    root: Path
    paths: list[str]
    photos: list[SeenPhoto]
    owners: Int64
    encodings: Encodings
    skipped: list[tuple[str, str]]

    def face(self, row: int) -> FoundFace:
        photo = int(self.owners[row])
        place = row - int(np.searchsorted(self.owners, photo))
        box = Box(*(round(float(v), 1) for v in self.photos[photo].boxes[place]))
        return FoundFace(self.paths[photo], box, face_key(self.photos[photo].sha256, box))


def dedupe_folder(
    folder: Path,
    eye: Eye,
    judge: Judge,
    database: Database,
    *,
    views: int,
    wanted: Wanted,
    readers: Readers | None = None,
    progress: Progress = lambda _what, _done, _all: None,
) -> Findings:
    """Raises PhotoUnreadable when the folder cannot be listed, NoPhotos when it has none."""
    seen_folder = _see(folder, eye, database, views, readers, progress)
    encodings, owners = seen_folder.encodings, seen_folder.owners
    with database.reading() as session:
        decided = seen.decisions(session)
    not_one = NotOne(decided)
    constraints, confirmed = _constraints(seen_folder, pairs_in(decided))
    count = len(encodings)
    grouping = same_person_groups(
        encodings,
        judge,
        precision=wanted.precision,
        constraints=constraints,
        progress=lambda done: progress("comparing faces", done, count),
    )

    def look(row: int) -> Look:
        with database.reading() as session:
            (found,) = seen.photos(session, [seen_folder.photos[row].mark])
        return Look.of(found.look)

    copies = copy_groups(
        seen_folder.photos,
        owners.tolist(),
        grouping.edges,
        look,
        lambda done, whole: progress("comparing photos", done, whole),
    )
    names = _names(seen_folder)
    copied = _copied(copies, names)
    as_people = wanted.people
    if as_people is None:
        as_people = _are_people(seen_folder, names, grouping.groups)
    wrong: list[Misfiled] = []
    same: list[SameIdentities] = []
    if as_people:
        wrong, same = _by_name(seen_folder, names, judge, copied)
    return Findings(
        photos=len(seen_folder.photos),
        faces=count,
        copies=tuple(
            Copies(
                tuple(seen_folder.paths[i] for i in group.photos),
                group.probability,
                (seen_folder.paths[group.deciding[0]], seen_folder.paths[group.deciding[1]]),
                group.why,
            )
            for group in copies
        ),
        people=tuple(
            person
            for person in (_person(group, seen_folder, confirmed) for group in grouping.groups)
            if not not_one.within([face.key for face in person.faces])
        ),
        identities=tuple(same),
        misfiled=tuple(wrong),
        skipped=tuple(seen_folder.skipped),
        folders_are_people=bool(as_people),
    )


def _see(
    folder: Path,
    eye: Eye,
    database: Database,
    views: int,
    readers: Readers | None,
    progress: Progress,
) -> _Seen:
    skipped: list[tuple[str, str]] = []
    paths = photos_in(folder, skipped)
    if not paths:
        raise NoPhotos(f"{folder} has no photos in it, nor in the folders below; name another one")
    listing, links = listed(paths, eye, views)
    skipped += links
    read_all(
        listing,
        database,
        eye,
        views,
        readers,
        lambda done, whole: progress("reading photos", done, whole),
    )
    path_of = {one.mark: str(one.path) for one in listing}
    names: list[str] = []
    photos: list[SeenPhoto] = []
    vectors, norms, agreement, owners = [], [], [], []
    with database.reading() as session:
        for photo in seen.photos(session, [one.mark for one in listing]):
            if photo.reason:
                skipped.append((path_of[photo.mark], photo.reason))
                continue
            vectors.append(photo.encodings.vectors)
            norms.append(photo.encodings.norms)
            agreement.append(photo.encodings.agreement)
            owners += [len(photos)] * len(photo.encodings)
            names.append(path_of[photo.mark])
            photos.append(seen.without_look(photo))
    parts = [Encodings(*part) for part in zip(vectors, norms, agreement, strict=True)]
    everyone = Encodings.joined(parts)
    skipped.sort()
    return _Seen(folder, names, photos, np.array(owners, dtype=np.int64), everyone, skipped)


def _constraints(
    folder: _Seen, decided: Sequence[FaceDecision]
) -> tuple[Constraints, dict[str, str]]:
    """What the user decided, as rows; and the group that each confirmed face is in, by key."""
    if not decided:
        return Constraints(photos=folder.owners), {}
    wanted = {key for one in decided for key in (one.first, one.second)}
    row_of: dict[str, int] = {}
    hashes = {key.split(" ", 1)[0] for key in wanted}
    for row, photo in enumerate(folder.owners.tolist()):
        if folder.photos[photo].sha256 in hashes:
            row_of.setdefault(folder.face(row).key, row)
    apart: set[tuple[int, int]] = set()
    together: set[tuple[int, int]] = set()
    confirmed: dict[str, str] = {}
    for one in decided:
        if one.same:
            confirmed[one.first] = confirmed[one.second] = one.person
        if one.first in row_of and one.second in row_of and one.first != one.second:
            pair = row_of[one.first], row_of[one.second]
            (together if one.same else apart).add((min(pair), max(pair)))
    return Constraints(folder.owners, frozenset(apart), frozenset(together)), confirmed


def _person(group: Group, folder: _Seen, confirmed: dict[str, str]) -> Person:
    faces = tuple(folder.face(row) for row in group.rows)
    known = [confirmed[face.key] for face in faces if face.key in confirmed]
    # A group that the user confirmed keeps its id, whatever is added to it.
    name = max(set(known), key=known.count) if known else group_id([face.key for face in faces])
    return Person(
        id=name,
        faces=faces,
        probability=group.probability,
        deciding=(folder.face(group.deciding[0]), folder.face(group.deciding[1])),
        why=group.why,
        confirmed=bool(known),
    )


def group_id(keys: Sequence[str]) -> str:
    """The id of a group that nobody has confirmed yet: of one of its faces."""
    return hashlib.sha256(min(keys).encode()).hexdigest()[:_KEY]


def _names(folder: _Seen) -> list[str | None]:
    """Of each photo the folder right inside the root that it lies right inside of."""
    found: list[str | None] = []
    for path in folder.paths:
        parts = Path(path).relative_to(folder.root).parts
        found.append(parts[0] if len(parts) == 2 else None)
    return found


def _are_people(folder: _Seen, names: Sequence[str | None], groups: Sequence[Group]) -> bool:
    """Whether the folders are people: most photos of a folder show one person, who is in no other.

    Folders of events hold several people each, and the same ones again and again.
    """
    inside: dict[str, int] = {}
    for name in names:
        if name is None:
            return False  # a folder of people has no photos beside them
        inside[name] = inside.get(name, 0) + 1
    several = {name for name, photos in inside.items() if photos > 1}
    if len(inside) < _LEAST_FOLDERS or not several:
        return False
    at_home = grouped = 0
    largest: dict[str, int] = {}
    for group in groups:
        photos = {int(folder.owners[row]) for row in group.rows}
        counts: dict[str, int] = {}
        for photo in photos:
            name = names[photo]
            assert name is not None
            counts[name] = counts.get(name, 0) + 1
        at_home += max(counts.values())
        grouped += len(photos)
        for name, number in counts.items():
            largest[name] = max(largest.get(name, 0), number)
    alike = sum(largest.get(name, 0) for name in several) / sum(inside[n] for n in several)
    return grouped > 0 and at_home / grouped >= _AT_HOME and alike >= _ALIKE_INSIDE


def _by_name(
    folder: _Seen, names: Sequence[str | None], judge: Judge, copied: set[int]
) -> tuple[list[Misfiled], list[SameIdentities]]:
    """Photos under a wrong name, and names of one person. Of a photo of several faces the one that
    is most like the others of its folder counts.

    copied : photos that are left out, since copies would vouch for each other.
    """
    people = sorted({name for name in names if name is not None})
    number = {name: i for i, name in enumerate(people)}
    rows, owners = [], []
    for photo, some in enumerate(_faces_of(folder)):
        name = names[photo]
        if name is not None and len(some) and photo not in copied:
            rows.append(_main_face(photo, some, folder, names))
            owners.append(number[name])
    kept, whose = np.array(rows, dtype=np.int64), np.array(owners, dtype=np.int64)
    if not len(kept):
        return [], []
    encodings = folder.encodings.take(kept)
    point = point_for(judge, whose, encodings)
    wrong = wrong_names(whose, encodings, judge, point)
    misfiled = [
        Misfiled(
            face=folder.face(int(kept[one.row])),
            identity=people[one.owner],
            suggested=None if one.suggested is None else people[one.suggested],
            probability=one.probability,
            nearest=folder.face(int(kept[one.nearest])),
            why=said(one.suggested is not None, people[one.owner]),
        )
        for one in wrong
    ]
    right = np.setdiff1d(np.arange(len(kept)), [one.row for one in wrong])
    present = np.unique(whose[right])
    groups = [right[whose[right] == owner] for owner in present]
    same = []
    for (i, j), score in near_groups(encodings, groups, judge, point).items():
        a, b = closest(encodings, groups[i], groups[j])
        same.append(
            SameIdentities(
                names=(people[present[i]], people[present[j]]),
                ids=(),
                probability=float(
                    point.probabilities(np.array([score + point.bias], np.float32))[0]
                ),
                deciding=(folder.face(int(kept[a])), folder.face(int(kept[b]))),
                why="their faces match on average",
            )
        )
    return misfiled, sorted(same, key=lambda s: -s.probability)


def _copied(copies: Sequence[CopyGroup], names: Sequence[str | None]) -> set[int]:
    """Photos of which the same folder has another copy before them."""
    found: set[int] = set()
    for group in copies:
        there: set[str | None] = set()
        for row in group.photos:
            if names[row] in there:
                found.add(row)
            there.add(names[row])
    return found


def point_for(judge: Judge, owners: Int64, encodings: Encodings) -> OperatingPoint:
    """The operating point of a query to these people."""
    return operating_point(
        judge.head.marks.calibration,
        len(np.unique(owners)),
        rate=judge.rate,
        adjustment=own_adjustment(judge.head, owners, encodings),
    )


def closest(encodings: Encodings, rows: Int64, others: Int64) -> tuple[int, int]:
    """The pair of rows, one of each, that is most alike."""
    cosines = encodings.vectors[rows] @ encodings.vectors[others].T
    a, b = np.unravel_index(int(cosines.argmax()), cosines.shape)
    return int(rows[a]), int(others[b])


def _faces_of(folder: _Seen) -> list[Int64]:
    ends = np.searchsorted(folder.owners, np.arange(len(folder.photos) + 1))
    return [np.arange(ends[i], ends[i + 1]) for i in range(len(folder.photos))]


def _main_face(photo: int, faces: Int64, folder: _Seen, names: Sequence[str | None]) -> int:
    if len(faces) == 1:
        return int(faces[0])
    others = [
        row
        for row, owner in enumerate(folder.owners.tolist())
        if owner != photo and names[owner] == names[photo]
    ]
    if not others:
        return int(faces[0])  # the largest
    cosines = folder.encodings.vectors[faces] @ folder.encodings.vectors[others].T
    best = np.sort(cosines, axis=1)[:, -max(1, len(others) // 2) :].mean(axis=1)
    return int(faces[int(best.argmax())])
