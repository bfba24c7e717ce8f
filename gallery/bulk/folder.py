"""Enrol a folder of people: list it, read every photo, judge them together, enrol them."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from gallery.bulk.judgement import Judgement, NamedPhoto, is_mostly, judge
from gallery.bulk.people import people_under
from gallery.dedupe.scan import list_photos, read_photos
from gallery.enroll import EncodedFace
from gallery.errors import PhotoError
from gallery.matching.scorer import Scorer
from gallery.progress import StepProgress, no_step_progress
from gallery.store import faces, identities, photo_cache, recalled
from gallery.store.database import Database
from gallery.store.photo_cache import CachedPhoto
from gallery.types import Encodings, Enrolment, EnrolOutcome, Refusal, Several
from gallery.vision.folder import LeftOut
from gallery.vision.pipeline import FacePipeline
from gallery.vision.workers import Workers

Enroll = Callable[[str, Path, EncodedFace | None], Enrolment]
"""enroll(name, photo, encoded): Gallery.enroll, with the face to take if it is known."""


def enroll_folder(
    root: Path,
    enroll: Enroll,
    pipeline: FacePipeline,
    scorer: Scorer,
    database: Database,
    *,
    views: int,
    several: Several = Several.REFUSE,
    force: bool = False,
    workers: Workers | None = None,
    progress: StepProgress = no_step_progress,
    left_out: list[LeftOut] | None = None,
) -> Iterator[Enrolment]:
    """Enrol everyone in a folder of people; yield the outcome of each photo, in order.

    What was read is kept, so that a second run goes on where the first was interrupted. Nobody is
    enrolled before all photos are judged: one in another person's folder is held back, and keeps
    nobody out.
    several, force : as `enroll` has them.  views : averaged per enrolled face.
    workers : processes that read photos; None: this one.
    left_out : receives the files that were not looked at.
    Raises PhotoUnreadable, NoPeople, and what `enroll` raises. A folder whose name no identity can
    have is an outcome, as is a problem with a photo.
    """
    people = people_under(root)
    if left_out is not None:
        left_out += people.left_out
    for folder, reason in people.unusable:
        yield Enrolment(str(folder), EnrolOutcome.ERROR, None, None, reason)
    present = _present_names(database, people.photos)
    names = {path: present[name] for name, paths in people.photos.items() for path in paths}
    enrolled = _already_enrolled(names, pipeline, database)
    listed, _ = list_photos([path for path in names if path not in enrolled], pipeline, views)
    read_photos(listed, database, pipeline, views, workers, partial(progress, "reading photos"))
    with database.reading() as session:
        marks = {photo.mark: photo.path for photo in listed}
        read = {marks[photo.mark]: photo for photo in photo_cache.photos(session, list(marks))}
    known = _enrolled(database, set(names.values()))
    for former, paths in people.photos.items():
        name = present[former]
        if former != name and enrolled.isdisjoint(paths):
            photos = [read[path] for path in paths if path in read]
            if not is_mostly(photos, known.get(name, Encodings.none()), scorer):
                names |= dict.fromkeys(paths, former)  # somebody else of that name
    named = [NamedPhoto(names[path], path, photo) for path, photo in read.items()]
    judgement = judge(named, known, scorer, several)
    for done, (path, name) in enumerate(names.items(), start=1):
        photo = read.get(path)
        outcome = None if force else _held_back(name, path, judgement)
        if outcome is None and photo is not None:
            outcome = _unusable(path, photo)
        if outcome is None:
            outcome = enroll(name, path, _encoded(photo, judgement.faces.get(path), pipeline))
        yield outcome
        progress("enrolling", done, len(names))


def _present_names(database: Database, names: Collection[str]) -> dict[str, str]:
    """The name that an identity has now, by each name that it has or once had; else that name."""
    with database.reading() as session:
        name_of = {record.id: record.name for record in identities.list_all(session)}
        free = set(names) - set(name_of.values())
        former = recalled.holders(session, free)
    return {name: name_of[former[name]] if name in former else name for name in names}


def _already_enrolled(
    names: Mapping[Path, str], pipeline: FacePipeline, database: Database
) -> set[Path]:
    """The photos whose files are enrolled under their names, so that they need not be read."""
    with database.reading() as session:
        ids = {record.name: record.id for record in identities.list_all(session)}
        enrolled = set()
        for path, name in names.items():
            if name in ids:
                with contextlib.suppress(PhotoError):  # reading it says why
                    sha256 = hashlib.sha256(pipeline.content(path)).hexdigest()
                    if faces.face_id_of(session, ids[name], sha256) is not None:
                        enrolled.add(path)
    return enrolled


def _enrolled(database: Database, people: Collection[str]) -> dict[str, Encodings]:
    """The faces that the gallery has of these people, by name."""
    with database.reading() as session:
        ids = {
            record.id: record.name
            for record in identities.list_all(session)
            if record.name in people
        }
        stored = faces.encodings_of(session, ids)
    return {
        ids[identity_id]: stored.encodings.take(np.flatnonzero(stored.identity_ids == identity_id))
        for identity_id in np.unique(stored.identity_ids).tolist()
    }


def _held_back(name: str, path: Path, judgement: Judgement) -> Enrolment | None:
    suggested = judgement.misfiled.get(path)
    if suggested is None:
        return None
    reason = (
        f"it looks like {suggested}, not {name}: move it to that folder, or use force to enrol it"
        f" as {name} anyway"
    )
    return Enrolment(str(path), EnrolOutcome.REFUSED, None, None, reason, Refusal.MISFILED)


def _unusable(path: Path, photo: CachedPhoto) -> Enrolment | None:
    if not photo.reason:
        return None
    reason = photo.reason.removeprefix(str(path)).lstrip(": ")
    return Enrolment(str(path), EnrolOutcome.ERROR, None, None, reason)


def _encoded(
    photo: CachedPhoto | None, row: int | None, pipeline: FacePipeline
) -> EncodedFace | None:
    if photo is None or row is None:
        return None
    encoder = pipeline.encoder.weights_sha256
    encoding = photo.encodings.row(row)
    return EncodedFace(photo.sha256, encoder, photo.face(row), encoding, len(photo.boxes))
