"""Read a folder's photos once: faces, encodings and image hashes, stored as soon as they are known.

An interrupted scan resumes: a stored photo is not read again while its file is unchanged. A photo
that cannot be used, or that hangs or ends the process that reads it, is skipped with a reason.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from gallery.dedupe.findings import FoundFace
from gallery.dedupe.image_similarity import grey_jpeg, perceptual_hashes
from gallery.errors import FolderForgotten, NoPhotos, PhotoError
from gallery.progress import Progress, no_progress
from gallery.store import audit, photo_cache
from gallery.store.database import Database
from gallery.store.decisions import face_key
from gallery.store.photo_cache import CachedPhoto
from gallery.types import Box, Encodings, Int64
from gallery.vision.folder import LeftOut, photos_in, split_unlistable
from gallery.vision.pipeline import FacePipeline
from gallery.vision.workers import LostPhoto, Workers, map_photos

_STORE_EVERY = 32


@dataclass(frozen=True)
class ListedPhoto:
    """A photo of the folder, and its cache key when it was listed."""

    path: Path
    mark: str


@dataclass(frozen=True)
class FolderScan:
    """The usable photos of a folder and their f faces.

    paths, photos : of each photo.  owners : int64 (f,), rising: each face's photo, by row.
    encodings : of the f faces.  skipped : (photo, reason).
    left_out : files that are no photos, and folders that were not opened.
    """

    root: Path
    paths: list[str]
    photos: list[CachedPhoto]
    owners: Int64
    encodings: Encodings
    skipped: list[tuple[str, str]]
    left_out: tuple[LeftOut, ...] = ()

    def rows_of(self, photo: int) -> Int64:
        """The rows of a photo's faces, the largest face first."""
        first, last = np.searchsorted(self.owners, [photo, photo + 1])
        return np.arange(first, last)

    def face(self, row: int) -> FoundFace:
        photo = int(self.owners[row])
        box_values = self.photos[photo].boxes[row - self.rows_of(photo)[0]]
        box = Box(*(round(float(value), 1) for value in box_values))
        return FoundFace(self.paths[photo], box, face_key(self.photos[photo].sha256, box))


def scan_folder(
    folder: Path,
    pipeline: FacePipeline,
    database: Database,
    *,
    views: int,
    workers: Workers | None,
    progress: Progress,
) -> FolderScan:
    """Read the photos that are not stored yet, and load them all.

    progress : called with photos done and photos in all.
    Raises PhotoUnreadable when the folder cannot be listed, NoPhotos when it has none.
    """
    others: list[LeftOut] = []
    paths = photos_in(folder, others)
    if not paths:
        raise NoPhotos(f"{folder} and its subfolders contain no photos; name another folder")
    photos, duplicates = list_photos(paths, pipeline, views)
    unlistable, others = split_unlistable(others)
    skipped = [(str(path), f"{path} {reason}") for path, reason in unlistable]
    read_photos(photos, database, pipeline, views, workers, progress)
    scan = _load(folder, photos, database, skipped + duplicates)
    if len(scan.photos) + len(scan.skipped) < len(paths):
        raise scan_erased()
    return replace(scan, left_out=tuple(others))


def scan_erased() -> FolderForgotten:
    """The error for a scan that was erased while it was used."""
    return FolderForgotten(
        "someone was erased from the gallery during the scan, which also erases everything read"
        " from folders; run it again"
    )


def list_photos(
    paths: Sequence[Path], pipeline: FacePipeline, views: int
) -> tuple[list[ListedPhoto], list[tuple[str, str]]]:
    """The photos by path, and (photo, reason) of symbolic links to one of them."""
    photos: list[ListedPhoto] = []
    skipped: list[tuple[str, str]] = []
    inodes: set[tuple[int, int]] = set()
    # Regular files first, so that of a file and a link to it the link is skipped.
    for path in sorted(paths, key=lambda path: (path.is_symlink(), path)):
        is_link = path.is_symlink()
        try:
            state = path.stat()
        except OSError as error:
            if is_link:
                skipped.append((str(path), f"{path} cannot be read: {error.strerror}"))
                continue
        else:
            inode = state.st_dev, state.st_ino
            if is_link and inode in inodes:
                skipped.append((str(path), f"{path} is a link to another photo of the folder"))
                continue
            inodes.add(inode)
        photos.append(ListedPhoto(path, _mark(path, pipeline, views)))
    return sorted(photos, key=lambda photo: photo.path), skipped


def _mark(path: Path, pipeline: FacePipeline, views: int) -> str:
    """A cache key of the photo's path, inode, size and time, and of how it is encoded; hex."""
    try:
        state = path.stat()
        version = f"{state.st_size} {state.st_mtime_ns} {state.st_ino}"
    except OSError:
        version = "unreadable"
    # The encoder's own hash too: its projection is part of what is stored.
    settings = f"{pipeline.fingerprint} {pipeline.encoder.weights_sha256} {views}"
    key = f"6 {settings} {os.path.abspath(path)} {version}"
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()


def read_photos(
    photos: Sequence[ListedPhoto],
    database: Database,
    pipeline: FacePipeline,
    views: int,
    workers: Workers | None,
    progress: Progress = no_progress,
) -> None:
    """Read the photos that are not stored yet, and store them.

    progress : called with photos done and photos in all; an exception it raises stops the scan.
    Raises FolderForgotten when someone is erased meanwhile: nothing that was read before may be
    stored after the receipt.
    """
    with database.reading() as session:
        newest_entry, _ = audit.erasure_since(session, None)
        stored = photo_cache.usable_marks(session, [photo.mark for photo in photos])
    missing = [photo for photo in photos if photo.mark not in stored]
    done = len(photos) - len(missing)
    progress(done, len(photos))
    batch: list[CachedPhoto] = []
    try:
        for photo in _results(missing, pipeline, views, workers):
            batch.append(photo)
            done += 1
            if len(batch) >= _STORE_EVERY:
                _store(database, batch, newest_entry)
                batch = []
            progress(done, len(photos))
    finally:
        if batch:
            _store(database, batch, newest_entry)


def _results(
    photos: Sequence[ListedPhoto], pipeline: FacePipeline, views: int, workers: Workers | None
) -> Iterator[CachedPhoto]:
    for photo, result in map_photos(partial(read_photo, views=views), photos, pipeline, workers):
        if isinstance(result, LostPhoto):
            yield photo_cache.unusable_photo(photo.mark, f"{photo.path} {result.reason}")
        else:
            yield result


def _store(database: Database, photos: list[CachedPhoto], newest_entry: int) -> None:
    """newest_entry : of the audit trail, when the reading began."""
    with database.writing() as session:
        _, has_erasure = audit.erasure_since(session, newest_entry)
        if has_erasure:
            raise scan_erased()
        photo_cache.save(session, photos)


def read_photo(pipeline: FacePipeline, listed_photo: ListedPhoto, views: int) -> CachedPhoto:
    """The faces, encodings and hashes of one photo. A photo at fault never raises: it is returned
    as unusable, with the reason.
    """
    path, mark = listed_photo.path, listed_photo.mark
    try:
        photo = pipeline.open(path)
        faces = pipeline.faces(photo)
        encodings = pipeline.encode(photo, faces, views)
        grey = grey_jpeg(photo)
    except PhotoError as error:
        return photo_cache.unusable_photo(mark, str(error))
    if _mark(path, pipeline, views) != mark:
        return photo_cache.unusable_photo(mark, f"{path} changed while it was read; run it again")
    landmarks = [face.landmarks for face in faces]
    return CachedPhoto(
        mark=mark,
        sha256=photo.sha256,
        width=photo.width,
        height=photo.height,
        preview=grey,
        hashes=perceptual_hashes(grey),
        boxes=np.array([face.box.as_list() for face in faces], np.float32).reshape(-1, 4),
        landmarks=np.array(landmarks, np.float32).reshape(-1, 5, 2),
        probabilities=np.array([face.probability for face in faces], np.float32),
        sharpness=np.array([face.sharpness for face in faces], np.float32),
        encodings=encodings,
        taken=photo.taken,
        note=photo.note[:1000],
    )


def _load(
    folder: Path,
    listing: Sequence[ListedPhoto],
    database: Database,
    skipped: Sequence[tuple[str, str]],
) -> FolderScan:
    """What is stored of the photos, without their grey images, which would fill the memory."""
    path_of = {photo.mark: str(photo.path) for photo in listing}
    paths: list[str] = []
    photos: list[CachedPhoto] = []
    unusable: list[tuple[str, str]] = []
    with database.reading() as session:
        for photo in photo_cache.photos(session, list(path_of)):
            path = path_of[photo.mark]
            if photo.reason:
                unusable.append((path, photo.reason))
            else:
                paths.append(path)
                photos.append(photo_cache.without_preview(photo))
    return FolderScan(
        root=folder,
        paths=paths,
        photos=photos,
        owners=np.array(
            [row for row, photo in enumerate(photos) for _ in range(len(photo.encodings))],
            dtype=np.int64,
        ),
        encodings=Encodings.joined([photo.encodings for photo in photos]),
        skipped=sorted([*skipped, *unusable]),
    )
