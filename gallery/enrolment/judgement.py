"""Which face of each photo is the person's, and which photos lie in another person's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gallery.dedupe.mislabelled import wrong_names
from gallery.dedupe.people_folders import point_among
from gallery.matching.lookalikes import is_unlike
from gallery.matching.scorer import Scorer
from gallery.store.photo_cache import CachedPhoto
from gallery.types import Encodings, Several

_LEAST_TELLING, _MOST_COMPARED, _LEAST_ALIKE = 6, 60, 1 / 3
"""Photos of a folder from which it can be told that it is not one person; how many are compared;
and the share of their pairs that then must be alike."""


@dataclass(frozen=True)
class NamedPhoto:
    """A photo that was read, and the person whose folder it is in."""

    name: str
    path: Path
    photo: CachedPhoto


@dataclass(frozen=True)
class Judgement:
    """faces : the face to enrol of each photo, as its row; a photo that shows none, or several of
    which none is known to be the person's, is absent.
    misfiled : whom the photo looks like, for each that looks like someone else.
    """

    faces: dict[Path, int]
    misfiled: dict[Path, str]


def judge(
    photos: Sequence[NamedPhoto],
    enrolled: Mapping[str, Encodings],
    scorer: Scorer,
    several: Several = Several.REFUSE,
) -> Judgement:
    """Judge all photos together.

    enrolled : the faces that the gallery has of these people, by name.
    several : LARGEST takes the largest face of each photo. Otherwise, of several faces, that is
    taken which the person's other photos show, if exactly one does.
    """
    single = [named for named in photos if _is_of_one(named.photo, several)]
    misfiled = _misfiled(single, enrolled, scorer)
    faces = {named.path: 0 for named in single}
    shown: dict[str, list[Encodings]] = {name: [rows] for name, rows in enrolled.items()}
    for named in single:
        if named.path not in misfiled:
            shown.setdefault(named.name, []).append(named.photo.encodings.row(0))
    for named in photos:
        if named.path not in faces and len(named.photo.boxes) > 1:
            others = Encodings.joined(shown.get(named.name, []))
            rows = _alike(named.photo.encodings, others, scorer)
            if len(rows) == 1:
                faces[named.path] = rows[0]
    return Judgement(faces, misfiled)


def is_mostly(
    photos: Sequence[CachedPhoto], shown: Encodings, scorer: Scorer, several: Several
) -> bool:
    """Whether half or more of the photos that show one face show the person of these faces.

    several : LARGEST takes the largest face of each photo.  True if no photo tells.
    """
    telling = [photo.encodings.row(0) for photo in photos if _is_of_one(photo, several)]
    return 2 * len(_alike(Encodings.joined(telling), shown, scorer)) >= len(telling)


def of_several_people(photos: Sequence[NamedPhoto], scorer: Scorer, several: Several) -> list[str]:
    """Return the names of folders that show several people, if most folders do; else none.

    Then they are not people: the folder above them, or an album, was given by mistake.
    """
    rows: dict[str, dict[str, Encodings]] = {}
    for named in photos:
        if _is_of_one(named.photo, several):
            rows.setdefault(named.name, {})[named.photo.sha256] = named.photo.encodings.row(0)
    point = scorer.operating_point_for(1)
    telling, mixed = 0, []
    for name, faces in rows.items():
        if len(faces) < _LEAST_TELLING:
            continue
        telling += 1
        some = Encodings.joined(list(faces.values())[:_MOST_COMPARED])
        first, second = np.triu_indices(len(some), 1)
        margins = scorer.margins(some, first.astype(np.int64), second.astype(np.int64), point)
        if (margins > 0).mean() < _LEAST_ALIKE:
            mixed.append(name)
    return mixed if 2 * len(mixed) > telling else []


def _is_of_one(photo: CachedPhoto, several: Several) -> bool:
    """Whether it is plain which face of a photo is the person's."""
    return len(photo.boxes) == 1 or (several is Several.LARGEST and len(photo.boxes) > 1)


def _misfiled(
    photos: Sequence[NamedPhoto], enrolled: Mapping[str, Encodings], scorer: Scorer
) -> dict[Path, str]:
    """Whom each photo looks like, of those that look like someone else than their folder's name.

    Copies of a file in one folder count once, or they would vouch for each other.
    """
    names = sorted({named.name for named in photos} | enrolled.keys())
    index_of = {name: i for i, name in enumerate(names)}
    distinct: dict[tuple[str, str], NamedPhoto] = {}
    for named in photos:
        distinct.setdefault((named.name, named.photo.sha256), named)
    if not distinct:
        return {}
    owners = [index_of[name] for name, _ in distinct]
    rows = [named.photo.encodings.row(0) for named in distinct.values()]
    for name, stored in enrolled.items():
        owners += [index_of[name]] * len(stored)
        rows.append(stored)
    owner_array, encodings = np.array(owners, dtype=np.int64), Encodings.joined(rows)
    point = point_among(scorer, owner_array, encodings)
    keys = list(distinct)
    suggested = {
        keys[finding.row]: names[finding.suggested]
        for finding in wrong_names(owner_array, encodings, scorer, point)
        if finding.row < len(keys) and finding.suggested is not None
    }
    return {
        named.path: suggested[named.name, named.photo.sha256]
        for named in photos
        if (named.name, named.photo.sha256) in suggested
    }


def _alike(faces: Encodings, others: Encodings, scorer: Scorer) -> list[int]:
    """The rows of the faces that match the others."""
    if not len(others):
        return []
    return [i for i in range(len(faces)) if not is_unlike(scorer, faces.row(i), others)]
