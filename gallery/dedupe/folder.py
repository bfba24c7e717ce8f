"""A folder of photos: what are copies, which faces are one person, who is under a wrong name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product
from pathlib import Path

import numpy as np

from gallery.dedupe.clustering.cluster import Group, same_person_groups
from gallery.dedupe.clustering.constraints import Constraints
from gallery.dedupe.clustering.merge import near_groups
from gallery.dedupe.clustering.operating_point import DEFAULT_PRECISION
from gallery.dedupe.duplicate_photos import CopyGroup, copy_groups
from gallery.dedupe.findings import (
    Copies,
    Findings,
    FoundFace,
    Misfiled,
    Person,
    SameIdentities,
)
from gallery.dedupe.image_similarity import Look
from gallery.dedupe.mislabelled import said, wrong_names
from gallery.dedupe.scan import Readers, listed, read_all
from gallery.errors import FolderForgotten, NoPhotos
from gallery.matching.operating_point import OperatingPoint, operating_point
from gallery.matching.scorer import Scorer, own_adjustment
from gallery.store import photo_cache
from gallery.store.database import Database
from gallery.store.decisions import NOT_ONE, Sets, face_key, pairs_in
from gallery.store.photo_cache import FaceDecision, SeenPhoto
from gallery.types import Box, Encodings, Int64
from gallery.vision.photo import photos_in
from gallery.vision.pipeline import FacePipeline

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is, and how much there is."""
_LEAST_FOLDERS, _ALIKE_INSIDE, _AT_HOME = 2, 0.6, 0.8
_KEY = 16
_LOOKS = 1_024


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
    eye: FacePipeline,
    judge: Scorer,
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
        decided = photo_cache.decisions(session)
    not_one = Sets(decided, NOT_ONE)
    constraints, confirmed = _constraints(seen_folder, pairs_in(decided))
    count = len(encodings)
    grouping = same_person_groups(
        encodings,
        judge,
        precision=wanted.precision,
        constraints=constraints,
        progress=lambda done: progress("comparing faces", done, count),
    )

    @lru_cache(_LOOKS)
    def look(row: int) -> Look:
        with database.reading() as session:
            for found in photo_cache.photos(session, [seen_folder.photos[row].mark]):
                return Look.of(found.look)
        raise _erased_meanwhile()

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
            for person in _people(grouping.groups, seen_folder, confirmed)
            if not not_one.within([face.key for face in person.faces])
        ),
        identities=tuple(same),
        misfiled=tuple(wrong),
        skipped=tuple(seen_folder.skipped),
        folders_are_people=bool(as_people),
        folders=len(set(names) - {None}),
    )


def _see(
    folder: Path,
    eye: FacePipeline,
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
        for photo in photo_cache.photos(session, [one.mark for one in listing]):
            if photo.reason:
                skipped.append((path_of[photo.mark], photo.reason))
                continue
            vectors.append(photo.encodings.vectors)
            norms.append(photo.encodings.norms)
            agreement.append(photo.encodings.agreement)
            owners += [len(photos)] * len(photo.encodings)
            names.append(path_of[photo.mark])
            photos.append(photo_cache.without_look(photo))
    if len(photos) + len(skipped) < len(paths):
        raise _erased_meanwhile()
    parts = [Encodings(*part) for part in zip(vectors, norms, agreement, strict=True)]
    everyone = Encodings.joined(parts)
    skipped.sort()
    return _Seen(folder, names, photos, np.array(owners, dtype=np.int64), everyone, skipped)


def _erased_meanwhile() -> FolderForgotten:
    return FolderForgotten(
        "someone was erased from the gallery meanwhile, and with them all that was seen in folders;"
        " run it again"
    )


def _constraints(
    folder: _Seen, decided: Sequence[FaceDecision]
) -> tuple[Constraints, dict[str, str]]:
    """What the user decided, as rows; and the group that each confirmed face is in, by key."""
    if not decided:
        return Constraints(photos=folder.owners), {}
    wanted = {key for one in decided for key in (one.first, one.second)}
    hashes = {key.split(" ", 1)[0] for key in wanted}
    rows_of: dict[str, list[int]] = {}  # several, where a file is there twice
    for row, photo in enumerate(folder.owners.tolist()):
        if folder.photos[photo].sha256 in hashes:
            rows_of.setdefault(folder.face(row).key, []).append(row)
    apart: set[tuple[int, int]] = set()
    confirmed: dict[str, str] = {}
    for one in decided:
        if one.same:
            confirmed[one.first] = confirmed[one.second] = one.person
        else:
            pairs = product(rows_of.get(one.first, ()), rows_of.get(one.second, ()))
            apart |= {(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]}
    # Those of a group are tied to each other, whichever of its photos are not here.
    members: dict[str, list[int]] = {}
    for key, person in confirmed.items():
        members.setdefault(person, []).extend(rows_of.get(key, ()))
    together = {pair for rows in members.values() for pair in pairwise(sorted(rows))}
    return Constraints(folder.owners, frozenset(apart), frozenset(together)), confirmed


def _people(
    groups: Sequence[Group], folder: _Seen, confirmed: dict[str, str]
) -> tuple[Person, ...]:
    """With ids that stay when photos are added. A group that holds faces which the user confirmed
    keeps their id; it is confirmed when all of its faces are.
    """
    found: list[Person] = []
    taken = set(confirmed.values())
    given: set[str] = set()
    for group in groups:
        faces = tuple(folder.face(row) for row in group.rows)
        keys = [face.key for face in faces]
        known = sorted(confirmed[key] for key in keys if key in confirmed)
        name = max(known, key=known.count) if known else group_id(keys, taken)
        if name in given:  # its faces are in two groups, told apart since
            name = group_id(keys, taken | given)
        given.add(name)
        found.append(
            Person(
                id=name,
                faces=faces,
                probability=group.probability,
                deciding=(folder.face(group.deciding[0]), folder.face(group.deciding[1])),
                why=group.why,
                confirmed=len(known) == len(faces) and len(set(known)) == 1,
            )
        )
    return tuple(found)


def group_id(keys: Sequence[str], taken: Collection[str] = ()) -> str:
    """The id of a group that nobody has confirmed yet: of one of its faces. taken : by others."""
    names = (hashlib.sha256(key.encode()).hexdigest()[:_KEY] for key in sorted(keys))
    return next(name for name in names if name not in taken)


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
    folder: _Seen, names: Sequence[str | None], judge: Scorer, copied: set[int]
) -> tuple[list[Misfiled], list[SameIdentities]]:
    """Photos under a wrong name, and names of one person. Of a photo of several faces the one that
    is most like the others of its folder counts.

    copied : photos that are left out, since copies would vouch for each other.
    """
    people = sorted({name for name in names if name is not None})
    number = {name: i for i, name in enumerate(people)}
    rows, owners = [], []
    inside = _by_folder(folder, names)
    for photo, some in enumerate(_faces_of(folder)):
        name = names[photo]
        if name is not None and len(some) and photo not in copied:
            rows.append(_main_face(some, inside[name], folder))
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
    # Of people of whom nothing is known: names that are one person make these seem more alike.
    point = judge.point_of(len(present))
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


def point_for(judge: Scorer, owners: Int64, encodings: Encodings) -> OperatingPoint:
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


def _by_folder(folder: _Seen, names: Sequence[str | None]) -> dict[str, Int64]:
    """The faces' rows of each folder right inside."""
    found: dict[str, list[int]] = {}
    for row, owner in enumerate(folder.owners.tolist()):
        name = names[owner]
        if name is not None:
            found.setdefault(name, []).append(row)
    return {name: np.array(rows, dtype=np.int64) for name, rows in found.items()}


def _main_face(faces: Int64, rows: Int64, folder: _Seen) -> int:
    """Of a photo's faces. rows : all faces of the folder right inside that the photo lies in."""
    if len(faces) == 1:
        return int(faces[0])
    others = np.setdiff1d(rows, faces)
    if not len(others):
        return int(faces[0])  # the largest
    cosines = folder.encodings.vectors[faces] @ folder.encodings.vectors[others].T
    best = np.sort(cosines, axis=1)[:, -max(1, len(others) // 2) :].mean(axis=1)
    return int(faces[int(best.argmax())])
