"""Subfolders that are people by name: photos in the wrong one, and two names for one person."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gallery.dedupe.clustering.cluster import Cluster
from gallery.dedupe.clustering.merge import matching_pairs
from gallery.dedupe.duplicate_photos import CopyGroup
from gallery.dedupe.findings import Misfiled, SameIdentities
from gallery.dedupe.mislabelled import mislabelled_reason, wrong_names
from gallery.dedupe.scan import FolderScan
from gallery.matching.gallery_margins import gallery_impostors
from gallery.matching.operating_point import OperatingPoint, operating_point
from gallery.matching.scorer import Scorer
from gallery.types import Encodings, Int64

_LEAST_FOLDERS = 2
_MOST_LOOSE, _MOST_ASTRAY, _MOST_OF_OTHERS = 0.2, 0.2, 0.4
"""Shares of the photos: outside the subfolders; in another subfolder than most of their cluster;
not of their subfolder's largest cluster."""


def subfolder_names(scan: FolderScan) -> list[str | None]:
    """For each photo, the subfolder of the root that it is in, at any depth, or None."""
    parts_of = [Path(path).relative_to(scan.root).parts for path in scan.paths]
    return [parts[0] if len(parts) > 1 else None for parts in parts_of]


def are_people(scan: FolderScan, names: Sequence[str | None], clusters: Sequence[Cluster]) -> bool:
    """Whether each subfolder is one person: most of its photos show one, who is in no other.

    Folders of events hold several people each, and the same people again and again.
    """
    photos_of = Counter(name for name in names if name is not None)
    several = [name for name, photos in photos_of.items() if photos > 1]
    if len(photos_of) < _LEAST_FOLDERS or not several:
        return False
    clustered = astray = 0
    largest: Counter[str | None] = Counter()
    for cluster in clusters:
        photos = {int(scan.owners[row]) for row in cluster.rows}
        counts = Counter(name for name in (names[photo] for photo in photos) if name is not None)
        clustered += counts.total()
        astray += counts.total() - max(counts.values(), default=0)
        largest |= counts  # the larger count of each
    of_several = sum(photos_of[name] for name in several)
    of_others = of_several - sum(largest[name] for name in several)
    loose = len(names) - photos_of.total()
    one_at_most = astray <= 1 and of_others <= 1  # the wrong name that is to be found
    return (
        clustered > 0
        and loose <= _MOST_LOOSE * len(names)
        and (
            one_at_most
            or (astray <= _MOST_ASTRAY * clustered and of_others <= _MOST_OF_OTHERS * of_several)
        )
    )


def mislabelled_findings(
    scan: FolderScan,
    names: Sequence[str | None],
    scorer: Scorer,
    copies: Sequence[CopyGroup],
) -> tuple[tuple[Misfiled, ...], tuple[SameIdentities, ...]]:
    """Photos in the wrong subfolder, and pairs of subfolders that are one person.

    Of a photo with several faces, only the one most like the rest of its subfolder counts. Copies
    within a subfolder count once, or they would vouch for each other.
    """
    people = sorted({name for name in names if name is not None})
    rows, owners = _labelled_faces(scan, names, people, _repeated(copies, names))
    if not len(rows):
        return (), ()
    encodings = scan.encodings.take(rows)
    wrong = wrong_names(owners, encodings, scorer, point_among(scorer, owners, encodings))
    misfiled = tuple(
        Misfiled(
            face=scan.face(int(rows[finding.row])),
            identity=people[finding.owner],
            suggested=None if finding.suggested is None else people[finding.suggested],
            probability=finding.probability,
            nearest=scan.face(int(rows[finding.nearest])),
            why=mislabelled_reason(finding.suggested is not None, people[finding.owner]),
        )
        for finding in wrong
    )
    right = np.setdiff1d(np.arange(len(rows)), [finding.row for finding in wrong])
    present = np.unique(owners[right])
    groups = [right[owners[right] == owner] for owner in present]
    # Without an adjustment to these people: two names of one person make them seem more alike.
    point = scorer.operating_point_for(len(present))
    same = [
        SameIdentities(
            names=(people[present[pair.groups[0]]], people[present[pair.groups[1]]]),
            ids=(),
            probability=pair.probability,
            deciding=(
                scan.face(int(rows[pair.deciding[0]])),
                scan.face(int(rows[pair.deciding[1]])),
            ),
        )
        for pair in matching_pairs(encodings, groups, scorer, point)
    ]
    return misfiled, tuple(sorted(same, key=lambda finding: -finding.probability))


def _labelled_faces(
    scan: FolderScan, names: Sequence[str | None], people: Sequence[str], excluded: set[int]
) -> tuple[Int64, Int64]:
    """The main face of each photo in a subfolder: its row, and the index of its name in `people`.

    excluded : photos to leave out.
    """
    rows_of: defaultdict[str | None, list[int]] = defaultdict(list)
    for row, photo in enumerate(scan.owners.tolist()):
        rows_of[names[photo]].append(row)
    folder_faces = {name: np.array(rows, dtype=np.int64) for name, rows in rows_of.items()}
    index_of = {name: i for i, name in enumerate(people)}
    main_faces, owners = [], []
    for photo, name in enumerate(names):
        faces = scan.rows_of(photo)
        if name is not None and len(faces) and photo not in excluded:
            main_faces.append(_main_face(faces, folder_faces[name], scan.encodings))
            owners.append(index_of[name])
    return np.array(main_faces, dtype=np.int64), np.array(owners, dtype=np.int64)


def _main_face(faces: Int64, folder_faces: Int64, encodings: Encodings) -> int:
    """Of a photo's faces, the one most like the other faces of its subfolder."""
    if len(faces) == 1:
        return int(faces[0])
    others = np.setdiff1d(folder_faces, faces)
    if not len(others):
        return int(faces[0])  # the largest
    cosines = encodings.vectors[faces] @ encodings.vectors[others].T
    best = np.sort(cosines, axis=1)[:, -max(1, len(others) // 2) :].mean(axis=1)
    return int(faces[int(best.argmax())])


def _repeated(copies: Sequence[CopyGroup], names: Sequence[str | None]) -> set[int]:
    """Photos that have an earlier copy in the same subfolder."""
    repeated: set[int] = set()
    for group in copies:
        seen: set[str | None] = set()
        for photo in group.photos:
            if names[photo] in seen:
                repeated.add(photo)
            seen.add(names[photo])
    return repeated


def point_among(scorer: Scorer, owners: Int64, encodings: Encodings) -> OperatingPoint:
    """The operating point of a query against these people."""
    return operating_point(
        scorer.head.metadata.calibration,
        len(np.unique(owners)),
        fpir=scorer.fpir,
        impostors=gallery_impostors(scorer.head, owners, encodings).for_pairs(),
    )
