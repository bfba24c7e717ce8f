"""Enrol a folder of people: list it, read every photo, judge them together, enrol them."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from gallery.dedupe.scan import list_photos, read_photos
from gallery.enrolment.enroller import EncodedFace, EnrolOptions, refused_for_name
from gallery.enrolment.judgement import Judgement, NamedPhoto, is_mostly, judge
from gallery.enrolment.people import people_under
from gallery.errors import NameAmbiguous, PhotoError
from gallery.matching.scorer import Scorer
from gallery.names import folded
from gallery.progress import StepProgress, no_step_progress
from gallery.store import faces, identities, photo_cache, recalled
from gallery.store.database import Database
from gallery.store.photo_cache import CachedPhoto
from gallery.types import Encodings, Enrolment, EnrolOutcome, Refusal
from gallery.vision.folder import LeftOut
from gallery.vision.pipeline import FacePipeline
from gallery.vision.workers import Workers

Enroll = Callable[[str, Path, EncodedFace | None], Enrolment]
"""enroll(name, photo, encoded): enrol one photo, with the face to take if it is known."""


def enroll_folder(
    root: Path,
    enroll: Enroll,
    pipeline: FacePipeline,
    scorer: Scorer,
    database: Database,
    options: EnrolOptions,
    *,
    views: int,
    workers: Workers | None = None,
    progress: StepProgress = no_step_progress,
    left_out: list[LeftOut] | None = None,
) -> Iterator[Enrolment]:
    """Enrol everyone in a folder of people; yield the outcome of each photo, in order.

    What was read is kept, so that a second run goes on where the first was interrupted. Nobody is
    enrolled before all photos are judged: one in another person's folder is held back, and keeps
    nobody out.
    options : those that `enroll` has.  views : averaged per enrolled face.
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
    now = _names_now(database, people.photos)
    person_of = {name: _near_name(database, now[name], options) for name in people.photos}
    if not options.new:
        _unite_near_names(person_of)
    persons = {path: person_of[name] for name, paths in people.photos.items() for path in paths}
    enrolled = _already_enrolled(persons, pipeline, database)
    listed, _ = list_photos([path for path in persons if path not in enrolled], pipeline, views)
    read_photos(listed, database, pipeline, views, workers, partial(progress, "reading photos"))
    with database.reading() as session:
        marks = {photo.mark: photo.path for photo in listed}
        read = {marks[photo.mark]: photo for photo in photo_cache.photos(session, list(marks))}
    known = _enrolled(database, set(persons.values()))
    for former, paths in people.photos.items():
        if now[former] != former and enrolled.isdisjoint(paths):
            photos = [read[path] for path in paths if path in read]
            if not is_mostly(photos, known.get(now[former], Encodings.none()), scorer):
                now[former] = former  # somebody else of that name
                persons |= dict.fromkeys(paths, former)
    named = [NamedPhoto(persons[path], path, photo) for path, photo in read.items()]
    judgement = judge(named, known, scorer, options.several)
    done = 0
    for folder_name, paths in people.photos.items():
        for path in paths:
            photo = read.get(path)
            outcome = None
            if not (options.force or options.distinct):
                outcome = _held_back(persons[path], path, judgement)
            if outcome is None and photo is not None:
                outcome = _unusable(path, photo)
            if outcome is None:
                encoded = _encoded(photo, judgement.faces.get(path), pipeline)
                outcome = _enrolled_as(enroll, folder_name, now[folder_name], path, encoded)
            yield outcome
            done += 1
            progress("enrolling", done, len(persons))


def _enrolled_as(
    enroll: Enroll, folder_name: str, name: str, path: Path, encoded: EncodedFace | None
) -> Enrolment:
    try:
        enrolment = enroll(name, path, encoded)
    except NameAmbiguous as error:
        return refused_for_name(str(path), error)
    if name == folder_name:
        return enrolment
    note = f"{folder_name!r} is a former name of {name!r}"
    return replace(enrolment, notes=(note, *enrolment.notes))


def _names_now(database: Database, names: Collection[str]) -> dict[str, str]:
    """The name that an identity has now, by each name that it has or once had; else that name."""
    with database.reading() as session:
        name_of = {record.id: record.name for record in identities.list_all(session)}
        free = set(names) - set(name_of.values())
        former = recalled.holders(session, free)
    return {name: name_of[former[name]] if name in former else name for name in names}


def _near_name(database: Database, name: str, options: EnrolOptions) -> str:
    """The exact name of the person that a name means; itself if that is nobody, or not clear."""
    if options.new:
        return name
    with database.reading() as session, contextlib.suppress(NameAmbiguous):
        record = identities.meant(session, name)
        return name if record is None else record.name
    return name


def _unite_near_names(person_of: dict[str, str]) -> None:
    """Let folders with near names be one person's: that of the first."""
    first: dict[str, str] = {}
    for name, person in person_of.items():
        person_of[name] = first.setdefault(folded(person), person)


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
