"""Encodings of a folder of people, cached so that interrupted work can be resumed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from gallery.config import ENCODINGS_FOLDER
from gallery.encoders.encoder import fuse
from gallery.encoders.protocol import Views
from gallery.errors import InvalidEncoding, PhotoError, TrainingInterrupted
from gallery.store import encoding_cache
from gallery.store.encoding_cache import Entry
from gallery.store.records import FaceRecord, StoredEncodings
from gallery.training.dataset import PeopleFolder
from gallery.types import Encodings, Float32, Int64, Several
from gallery.vision.detection import VIEWS, align
from gallery.vision.pipeline import FacePipeline
from gallery.vision.workers import LostPhoto, Workers, map_photos

_SAVE_EVERY = 500
_DETECTION = "detection 4"
"""In place of the SHA-256 of a photo that was skipped. One that an earlier detection skipped is
read anew; the encodings of faces that it found have stayed the same."""


@dataclass(frozen=True)
class EncodedPeople:
    """The central face of each photo that has one.

    probes, enrolled : Encodings of the same n faces, with the number of views of a query and of an
        enrolled face.
    people : int64 (n,), indices into `names`.
    photos, sha256 : for each face, the photo's path and the SHA-256 of its file.
    skipped : (photo, reason) of photos without a usable face.
    near_identical : see Traits; without it only identical files count as one picture.
    """

    probes: Encodings
    enrolled: Encodings
    people: Int64
    names: tuple[str, ...]
    photos: tuple[str, ...]
    sha256: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    near_identical: float | None = None

    def __len__(self) -> int:
        return len(self.people)

    def take(self, rows: Int64) -> EncodedPeople:
        """Only these rows."""
        return EncodedPeople(
            self.probes.take(rows),
            self.enrolled.take(rows),
            self.people[rows],
            self.names,
            tuple(self.photos[i] for i in rows.tolist()),
            tuple(self.sha256[i] for i in rows.tolist()),
            (),
            self.near_identical,
        )

    def for_people(self, people: Int64) -> EncodedPeople:
        """Only the rows of these people."""
        return self.take(np.flatnonzero(np.isin(self.people, people)))


def enrolled_people(
    stored: StoredEncodings,
    records: Sequence[FaceRecord],
    near_identical: float | None,
) -> EncodedPeople:
    """The people of a gallery. Its photos are not stored, so each face is its own probe, with the
    views of an enrolled face instead of a query's.
    """
    by_id = {record.id: record for record in records}
    faces = [by_id[i] for i in stored.face_ids.tolist()]
    names = {face.identity.id: face.identity.name for face in faces}
    ids = sorted(names)
    return EncodedPeople(
        probes=stored.encodings,
        enrolled=stored.encodings,
        people=np.searchsorted(ids, stored.identity_ids).astype(np.int64),
        names=tuple(names[i] for i in ids),
        photos=tuple(face.photo for face in faces),
        sha256=tuple(face.photo_sha256 for face in faces),
        skipped=(),
        near_identical=near_identical,
    )


def encode_people(
    folder: PeopleFolder,
    pipeline: FacePipeline,
    views: Views,
    cache: Path,
    progress: Callable[[int], None] = lambda _: None,
    *,
    workers: Workers | None = None,
    native: bool = False,
) -> EncodedPeople:
    """Encode the central face of each photo. A cached photo is encoded again only if its file
    changed.

    cache : folder of the cached encodings. They are biometric data and may be deleted any time.
    workers : processes that read photos; None: this one.
    native : return the network's own encodings, (n, d), to fit a projection on; else (n, 128).
    Raises TrainingInterrupted when a photo hangs or ends the worker process that reads it.
    """
    key = f"2 {pipeline.fingerprint} {views.probe} {views.enrolled} {folder.root.resolve()}"
    file = cache / ENCODINGS_FOLDER / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz"
    cached = {
        mark: entry
        for mark, entry in encoding_cache.load(file).items()
        if not entry[2] or entry[1] == _DETECTION
    }
    photos = [
        (person, path, _mark(folder.root, path))
        for person, paths in enumerate(folder.people.values())
        for path in paths
    ]
    missing = [(path, mark) for _, path, mark in photos if mark not in cached]
    progress(len(photos) - len(missing))
    new: dict[str, Entry] = {}
    results = map_photos(partial(_encode, views=views), missing, pipeline, workers)
    for count, ((path, mark), entry) in enumerate(results, start=1):
        if isinstance(entry, LostPhoto):
            encoding_cache.add(file, new)
            raise TrainingInterrupted(
                f"{path} {entry.reason}; finished encodings are kept: run it again, or remove that"
                " photo"
            )
        cached[mark] = new[mark] = entry
        if count % _SAVE_EVERY == 0:
            encoding_cache.add(file, new)
            new = {}
        progress(len(photos) - len(missing) + count)
    entries = {mark: cached[mark] for _, _, mark in photos}
    stale = [m for m in cached.keys() - entries.keys() if not _is_unchanged(folder.root, m)]
    if missing or stale:  # entries of the folder's other people stay
        encoding_cache.add(file, new, stale)
    usable = [
        (person, path, entries[mark]) for person, path, mark in photos if not entries[mark][2]
    ]
    width = pipeline.encoder.network.traits.dimension + 2
    rows = np.array([row for _, _, (row, _, _) in usable], np.float32).reshape(-1, 2 * width)
    sides = _unpacked(rows[:, :width]), _unpacked(rows[:, width:])
    probes, enrolled = sides if native else map(pipeline.encoder.to_stored, sides)
    return EncodedPeople(
        probes=probes,
        enrolled=enrolled,
        people=np.array([person for person, _, _ in usable], dtype=np.int64),
        names=tuple(folder.people),
        photos=tuple(str(path) for _, path, _ in usable),
        sha256=tuple(sha256 for _, _, (_, sha256, _) in usable),
        skipped=tuple((str(p), entries[m][2]) for _, p, m in photos if entries[m][2]),
        near_identical=pipeline.encoder.network.traits.near_identical,
    )


def _encode(pipeline: FacePipeline, photo_mark: tuple[Path, str], views: Views) -> Entry:
    try:
        photo = pipeline.open(photo_mark[0])
        face = pipeline.one_face(photo, Several.CENTRAL)
        most_views = VIEWS[: max(views.probe, views.enrolled)]
        chips = align(photo, face.landmarks, most_views, pipeline.encoder.template)
        raw = pipeline.encoder.raw(chips)[None]
        rows = [_packed(fuse(raw[:, :count])) for count in (views.probe, views.enrolled)]
        return np.concatenate(rows), photo.sha256, ""
    except (PhotoError, InvalidEncoding) as error:
        width = 2 * (pipeline.encoder.network.traits.dimension + 2)
        return np.zeros(width, dtype=np.float32), _DETECTION, str(error)


def _packed(encoding: Encodings) -> Float32:
    return np.concatenate([encoding.vectors[0], encoding.norms, encoding.agreement])


def _unpacked(rows: Float32) -> Encodings:
    return Encodings(np.ascontiguousarray(rows[:, :-2]), rows[:, -2], rows[:, -1])


def _mark(root: Path, path: Path) -> str:
    """A cache key: the photo's path, size and modification time."""
    try:
        state = path.stat()
    except OSError:
        return f"{path.relative_to(root)}|unreadable"
    return f"{path.relative_to(root)}|{state.st_size}|{state.st_mtime_ns}"


def _is_unchanged(root: Path, mark: str) -> bool:
    return _mark(root, root / mark.rsplit("|", 2)[0]) == mark
