"""A folder of photos: which are copies, and which faces are the same person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gallery.alike import face_graph
from gallery.dedupe.copies import CopyPair, PhotoPrint, copy_pairs, print_of
from gallery.dedupe.grouping import same_person_groups
from gallery.errors import PhotoError
from gallery.judge import Judge
from gallery.photo import photos_in
from gallery.seeing import Eye
from gallery.types import Box, Encodings


@dataclass(frozen=True)
class CopyGroup:
    """Photos that are copies of one another. similarity : of the least alike pair found."""

    photos: tuple[str, ...]
    similarity: float
    why: str


@dataclass(frozen=True)
class FoundFace:
    """One face of one photo of the folder."""

    photo: str
    box: Box


@dataclass(frozen=True)
class PersonGroup:
    """Faces of one person. probability : that the loosest of them belongs."""

    faces: tuple[FoundFace, ...]
    probability: float


@dataclass(frozen=True)
class FolderReport:
    """What was found. skipped : (photo, reason) of what could not be read."""

    photos: int
    faces: int
    copies: tuple[CopyGroup, ...]
    people: tuple[PersonGroup, ...]
    skipped: tuple[tuple[str, str], ...]


def dedupe_folder(
    folder: Path,
    eye: Eye,
    judge: Judge,
    *,
    views: int,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> FolderReport:
    """Read every photo under a folder. Raises PhotoUnreadable when it cannot be listed.

    progress : called with photos done and photos in all.
    """
    paths = photos_in(folder)
    read: list[str] = []
    prints: list[PhotoPrint] = []
    faces: list[FoundFace] = []
    encoded: list[Encodings] = []
    skipped: list[tuple[str, str]] = []
    for done, path in enumerate(paths, start=1):
        try:
            photo = eye.open(path)
            found = eye.faces(photo)
            encodings = eye.encode(photo, found, views)
        except PhotoError as error:
            skipped.append((str(path), str(error)))
        else:
            rows = tuple(range(len(faces), len(faces) + len(found)))
            read.append(str(path))
            prints.append(print_of(photo, rows))
            faces += [FoundFace(str(path), face.box) for face in found]
            encoded.append(encodings)
        progress(done, len(paths))
    everyone = Encodings.joined(encoded)
    edges = face_graph(everyone)
    people = same_person_groups(everyone, edges, judge)
    return FolderReport(
        photos=len(read),
        faces=len(faces),
        copies=_groups(copy_pairs(prints, edges), read),
        people=tuple(
            PersonGroup(tuple(faces[row] for row in group.rows), group.probability)
            for group in people
        ),
        skipped=tuple(skipped),
    )


def _groups(pairs: list[CopyPair], names: list[str]) -> tuple[CopyGroup, ...]:
    if not pairs:
        return ()
    first, second = (
        np.array(side) for side in zip(*((p.first, p.second) for p in pairs), strict=True)
    )
    graph = coo_array((np.ones(len(pairs)), (first, second)), shape=(len(names), len(names)))
    _, labels = connected_components(graph, directed=False)
    inside: dict[int, list[CopyPair]] = {}
    for pair in pairs:
        inside.setdefault(int(labels[pair.first]), []).append(pair)
    groups = [
        CopyGroup(
            photos=tuple(names[i] for i in np.flatnonzero(labels == label)),
            similarity=min(p.similarity for p in some),
            why=", ".join(sorted({p.why for p in some})),
        )
        for label, some in inside.items()
    ]
    return tuple(sorted(groups, key=lambda g: (-len(g.photos), -g.similarity, g.photos)))
