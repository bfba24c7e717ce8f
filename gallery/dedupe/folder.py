"""Deduplicate a folder of photos: scan, compare photos and faces, cluster, list the findings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from gallery.dedupe.clustering.cluster import same_person_clusters
from gallery.dedupe.clustering.operating_point import DEFAULT_PRECISION
from gallery.dedupe.duplicate_photos import CopyGroup, copy_groups
from gallery.dedupe.findings import Copies, Findings
from gallery.dedupe.image_similarity import GreyImage
from gallery.dedupe.people import UserDecisions, people_findings
from gallery.dedupe.people_folders import are_people, mislabelled_findings, subfolder_names
from gallery.dedupe.scan import FolderScan, scan_erased, scan_folder
from gallery.matching.scorer import Scorer
from gallery.progress import StepProgress, no_step_progress
from gallery.store import photo_cache
from gallery.store.database import Database
from gallery.vision.pipeline import FacePipeline
from gallery.vision.workers import Workers

_CACHED_IMAGES = 1_024


@dataclass(frozen=True)
class FolderOptions:
    """precision : the wanted share of correct pairs among faces put in one cluster.
    people : whether each subfolder is one person, by name; None: decide by their photos.
    """

    precision: float = DEFAULT_PRECISION
    people: bool | None = None


def dedupe_folder(
    folder: Path,
    pipeline: FacePipeline,
    scorer: Scorer,
    database: Database,
    *,
    views: int,
    options: FolderOptions,
    workers: Workers | None = None,
    progress: StepProgress = no_step_progress,
) -> Findings:
    """Find copies, faces of one person, and, where subfolders are people, photos in the wrong one.

    views : averaged per face.  workers : processes that read photos; None: this one.
    Raises PhotoUnreadable when the folder cannot be listed, NoPhotos when it has none,
    FolderForgotten when someone is erased from the gallery meanwhile.
    """
    scan = scan_folder(
        folder,
        pipeline,
        database,
        views=views,
        workers=workers,
        progress=partial(progress, "reading photos"),
    )
    decisions = UserDecisions.on(scan, database)
    clustering = same_person_clusters(
        scan.encodings,
        scorer,
        precision=options.precision,
        constraints=decisions.constraints,
        progress=lambda done: progress("comparing faces", done, len(scan.encodings)),
    )
    copies = copy_groups(
        scan.photos,
        scan.owners.tolist(),
        clustering.edges,
        _grey_images(scan, database),
        partial(progress, "comparing photos"),
    )
    names = subfolder_names(scan)
    if options.people is None:
        folders_are_people = are_people(scan, names, clustering.clusters)
    else:
        folders_are_people = options.people
    misfiled, same_identities = (
        mislabelled_findings(scan, names, scorer, copies) if folders_are_people else ((), ())
    )
    return Findings(
        photos=len(scan.photos),
        faces=len(scan.encodings),
        copies=tuple(_copies_finding(group, scan) for group in copies),
        people=people_findings(clustering.clusters, scan, decisions),
        identities=same_identities,
        misfiled=misfiled,
        skipped=tuple(scan.skipped),
        folders_are_people=folders_are_people,
        folders=len(set(names) - {None}),
        left_out=scan.left_out,
    )


def _grey_images(scan: FolderScan, database: Database) -> Callable[[int], GreyImage]:
    """A function from a photo's row to its grey image; the last ones are cached."""

    @lru_cache(_CACHED_IMAGES)
    def grey_image(row: int) -> GreyImage:
        with database.reading() as session:
            for photo in photo_cache.photos(session, [scan.photos[row].mark]):
                return GreyImage.from_jpeg(photo.preview)
        raise scan_erased()

    return grey_image


def _copies_finding(group: CopyGroup, scan: FolderScan) -> Copies:
    first, second = group.deciding
    return Copies(
        tuple(scan.paths[row] for row in group.photos),
        group.probability,
        (scan.paths[first], scan.paths[second]),
        group.why,
    )
