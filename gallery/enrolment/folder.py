"""Enrol a folder of people: list it, read every photo, judge them together, enrol them."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from gallery.dedupe.scan import list_photos, read_photos, scan_erased
from gallery.enrolment.enroller import EnrolOptions, refused_for_name
from gallery.enrolment.judgement import NamedPhoto, is_mostly, judge, of_several_people
from gallery.enrolment.naming import NamedFolder, named_folders
from gallery.enrolment.new_face import ReadPhoto
from gallery.enrolment.people import people_under
from gallery.errors import NameAmbiguous, NoPeople, PhotoError
from gallery.matching.scorer import Scorer
from gallery.names import printable
from gallery.progress import Progress, StepProgress, no_step_progress
from gallery.store import encoders, faces, identities, photo_cache
from gallery.store.database import Database
from gallery.store.photo_cache import CachedPhoto
from gallery.types import Encodings, Enrolment, EnrolOutcome, Refusal
from gallery.vision.folder import LeftOut
from gallery.vision.pipeline import FacePipeline
from gallery.vision.workers import Workers

_MOST_NAMED = 3

Enroll = Callable[[str, Path, ReadPhoto | None], Enrolment]
"""enroll(name, photo, read): enrol one photo, with its faces if they are known."""


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
    Raises PhotoUnreadable, NoPeople (also if most folders show several people, unless forced),
    FolderForgotten if someone is erased while photos are read,
    EncoderChanged, and what `enroll` raises. A folder whose name no identity can have is an
    outcome, as is a problem with a photo.
    """
    people = people_under(root)
    if left_out is not None:
        left_out += people.left_out
    for unusable, reason in people.unusable:
        yield Enrolment(str(unusable), EnrolOutcome.ERROR, None, None, reason)
    folders = named_folders(database, people.photos, new=options.new)
    enrolled = _already_enrolled(
        database, pipeline, folders, partial(progress, "looking for enrolled photos")
    )
    usable = [folder for folder in folders if folder.problem is None]
    paths = [path for folder in usable for path in folder.photos if path not in enrolled]
    read = _read(paths, database, pipeline, views, workers, partial(progress, "reading photos"))
    known = _enrolled(database, pipeline, {folder.name for folder in folders})
    folders = [
        _checked(called, folder, read, known, scorer, options)
        if folder.is_former and enrolled.isdisjoint(folder.photos)
        else folder
        for called, folder in zip(people.photos, folders, strict=True)
    ]
    photos = [
        NamedPhoto(folder.name, path, read[path])
        for folder in folders
        for path in folder.photos
        if path in read
    ]
    mixed = of_several_people(photos, scorer, options.several)
    if mixed and not options.force:
        raise NoPeople(
            f"{root} seems not to have one folder for each person: {', '.join(mixed[:_MOST_NAMED])}"
            f" {'shows' if len(mixed) == 1 else 'show'} several; give the folder whose folders are"
            " people, or use force"
        )
    judgement = judge(photos, known, scorer, options.several)
    done, total = 0, sum(len(folder.photos) for folder in folders)
    for folder in folders:
        for path in folder.photos:
            suggested = judgement.misfiled.get(path)
            if folder.problem is not None:
                outcome = refused_for_name(str(path), folder.problem)
            elif path in read and read[path].reason:
                outcome = _unusable(path, read[path])
            elif suggested is not None and not options.force:
                outcome = _held_back(database, path, read[path], folder.name, suggested)
            else:
                photo = _known(path, read.get(path), judgement.faces.get(path), pipeline)
                outcome = _enrolled_as(enroll, folder, path, photo)
            yield outcome
            done += 1
            progress("enrolling", done, total)


def _already_enrolled(
    database: Database, pipeline: FacePipeline, folders: Sequence[NamedFolder], progress: Progress
) -> set[Path]:
    """The photos whose files are enrolled under their names, so that they need not be read."""
    with database.reading() as session:
        hashes = {
            record.name: faces.photo_hashes(session, record.id)
            for record in (identities.find(session, name) for name in {f.name for f in folders})
            if record is not None
        }
    paths = [(path, folder.name) for folder in folders for path in folder.photos]
    paths = [(path, name) for path, name in paths if hashes.get(name)]
    enrolled = set()
    for done, (path, name) in enumerate(paths, start=1):
        with contextlib.suppress(PhotoError):  # reading it says why
            if hashlib.sha256(pipeline.content(path)).hexdigest() in hashes[name]:
                enrolled.add(path)
        progress(done, len(paths))
    return enrolled


def _read(
    paths: Sequence[Path],
    database: Database,
    pipeline: FacePipeline,
    views: int,
    workers: Workers | None,
    progress: Progress,
) -> dict[Path, CachedPhoto]:
    """The faces of each photo. A link has those of the photo that it leads to."""
    listed, skipped = list_photos(paths, pipeline, views)
    read_photos(listed, database, pipeline, views, workers, progress)
    path_of = {photo.mark: photo.path for photo in listed}
    with database.reading() as session:
        stored = photo_cache.photos(session, list(path_of))
        read = {path_of[p.mark]: photo_cache.without_preview(p) for p in stored}
    if len(read) < len(listed):
        raise scan_erased()
    by_target = {path.resolve(): photo for path, photo in read.items()}
    for link, _ in skipped:
        target = by_target.get(Path(link).resolve())
        if target is not None:
            read[Path(link)] = target
    return read


def _enrolled(
    database: Database, pipeline: FacePipeline, people: Collection[str]
) -> dict[str, Encodings]:
    """The faces that the gallery has of these people, by name. Raises EncoderChanged."""
    with database.reading() as session:
        encoders.check_in_use(session, pipeline.encoder.weights_sha256)
        records = [identities.find(session, name) for name in people]
        names = {record.id: record.name for record in records if record is not None}
        stored = faces.encodings_of(session, names)
    rows_of = {i: np.flatnonzero(stored.identity_ids == i) for i in names}
    return {names[i]: stored.encodings.take(rows) for i, rows in rows_of.items() if len(rows)}


def _checked(
    called: str,
    folder: NamedFolder,
    read: dict[Path, CachedPhoto],
    known: dict[str, Encodings],
    scorer: Scorer,
    options: EnrolOptions,
) -> NamedFolder:
    """The folder of a former name, or of somebody else of that name if its photos show another."""
    photos = [read[path] for path in folder.photos if path in read]
    shown = known.get(folder.name, Encodings.none())
    if is_mostly(photos, shown, scorer, options.several):
        return folder
    return NamedFolder(called, folder.photos)


def _held_back(
    database: Database, path: Path, photo: CachedPhoto, name: str, suggested: str
) -> Enrolment:
    """The outcome of a photo that looks like somebody else than its folder's person."""
    with database.reading() as session:
        record = identities.find(session, suggested)
        face_id = None if record is None else faces.face_id_of(session, record.id, photo.sha256)
    if record is not None and face_id is not None:  # it was moved there
        reason = f"this photo is already enrolled, as {suggested}"
        return Enrolment(str(path), EnrolOutcome.ALREADY, record.ref, face_id, reason)
    reason = (
        f"it looks like {suggested}, not {name}: move it to that folder, or use force to enrol it"
        f" as {name} anyway"
    )
    return Enrolment(str(path), EnrolOutcome.REFUSED, None, None, reason, Refusal.MISFILED)


def _unusable(path: Path, photo: CachedPhoto) -> Enrolment:
    reason = photo.reason.removeprefix(printable(str(path))).lstrip(": ")
    return Enrolment(str(path), EnrolOutcome.ERROR, None, None, reason)


def _known(
    path: Path, photo: CachedPhoto | None, own: int | None, pipeline: FacePipeline
) -> ReadPhoto | None:
    if photo is None:
        return None
    found = tuple(photo.face(i) for i in range(len(photo.boxes)))
    return ReadPhoto(
        photo=photo.as_photo(str(path), pipeline.reader.working_side),
        sha256=photo.sha256,
        picture_hash=photo.hashes[0].tobytes().hex(),
        encoder=pipeline.encoder.weights_sha256,
        faces=found,
        encodings=photo.encodings,
        own=own,
    )


def _enrolled_as(
    enroll: Enroll, folder: NamedFolder, path: Path, photo: ReadPhoto | None
) -> Enrolment:
    try:
        enrolment = enroll(folder.name, path, photo)
    except NameAmbiguous as error:  # of a name that came meanwhile
        return refused_for_name(str(path), error)
    return replace(enrolment, notes=(folder.note,)) if folder.note else enrolment
