"""Encodings of a whole folder of people, kept in the cache folder so that work can be resumed."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gallery.config import ENCODINGS_FOLDER
from gallery.encoders.encoder import fuse
from gallery.encoders.weights import DLIB_RESNET
from gallery.errors import InvalidEncoding, PhotoError, TrainingInterrupted
from gallery.store import encoding_cache
from gallery.store.encoding_cache import Entry
from gallery.store.records import FaceRecord, StoredEncodings
from gallery.training.dataset import PeopleFolder
from gallery.types import Encodings, Float32, Int64, Several
from gallery.vision.detection import VIEWS, align
from gallery.vision.pipeline import FacePipeline

_SAVE_EVERY = 500
_WORTH_A_WORKER = 64
NEAR_IDENTICAL_COSINE = 0.986
"""Of 100 pairs of copies of one photo 99 are at least so alike by the default encoder; of two
photos hardly any."""


@dataclass(frozen=True)
class EncodedPeople:
    """The central face of each photo in which one was found.

    probes, enrolled : Encodings of the same n faces, with a query's and an enrolled face's number
        of views.
    people : int64 (n,), places in `names`.
    photos, sha256 : of each face, the photo's path and its file's hash.
    skipped : photos without a usable face, with the reason.
    near_identical : two photos whose cosine is at least so high are one picture; None where that is
        not known of the encoder, and only files that are the same are.
    """

    probes: Encodings
    enrolled: Encodings
    people: Int64
    names: tuple[str, ...]
    photos: tuple[str, ...]
    sha256: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    near_identical: float | None = NEAR_IDENTICAL_COSINE

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

    def of(self, people: Int64) -> EncodedPeople:
        """Only these people's rows."""
        return self.take(np.flatnonzero(np.isin(self.people, people)))


def enrolled_people(
    stored: StoredEncodings,
    records: Sequence[FaceRecord],
    near_identical: float | None = NEAR_IDENTICAL_COSINE,
) -> EncodedPeople:
    """Those of a gallery. Its photos are not kept, so that each face is its own probe: with the
    views of an enrolled face, and not with a query's.
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


@dataclass(frozen=True)
class Views:
    """How many views are averaged for a probe and for an enrolled face."""

    probe: int
    enrolled: int


def encode_people(
    folder: PeopleFolder,
    eye: FacePipeline,
    views: Views,
    cache: Path,
    progress: Callable[[int], None] = lambda _: None,
    *,
    workers: int = 0,
    make_eye: Callable[[], FacePipeline] | None = None,
    native: bool = False,
) -> EncodedPeople:
    """Encode each photo's central face. A photo is encoded again only when its file changed.

    native : as the network gives them, to learn a projection from, (n, d); else (n, 128).
    cache : folder of the cached encodings; they are of people's faces and may be deleted any time.
    workers : processes to encode with, each with an eye of its own from make_eye; 0: in this one.
    Raises TrainingInterrupted when a worker dies.
    """
    key = f"2 {eye.sees} {views.probe} {views.enrolled} {folder.root.resolve()}"
    file = cache / ENCODINGS_FOLDER / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz"
    kept = encoding_cache.load(file)
    listed = [
        (person, path, _mark(folder.root, path))
        for person, photos in enumerate(folder.people.values())
        for path in photos
    ]
    missing = [(path, mark) for _, path, mark in listed if mark not in kept]
    progress(len(listed) - len(missing))
    paths = [path for path, _ in missing]
    if workers and make_eye is not None and len(missing) >= _WORTH_A_WORKER:
        encoded = _by_workers(paths, views, workers, make_eye)
    else:
        encoded = (_encode(eye, path, views) for path in paths)
    new: dict[str, Entry] = {}
    for fresh, ((_, mark), seen) in enumerate(zip(missing, encoded, strict=True), start=1):
        kept[mark] = new[mark] = seen
        if fresh % _SAVE_EVERY == 0:
            encoding_cache.add(file, new)
            new = {}
        progress(len(listed) - len(missing) + fresh)
    wanted = {mark: kept[mark] for _, _, mark in listed}
    gone = [m for m in kept.keys() - wanted.keys() if not _still(folder.root, m)]
    if missing or gone:  # others of the folder, who were not asked for, stay
        encoding_cache.add(file, new, gone)
    usable = [(person, path, wanted[mark]) for person, path, mark in listed if not wanted[mark][2]]
    half = eye.encoder.network.traits.dimension + 2
    rows = np.array([row for _, _, (row, _, _) in usable], np.float32).reshape(-1, 2 * half)
    sides = _unpacked(rows[:, :half]), _unpacked(rows[:, half:])
    probes, enrolled = sides if native else map(eye.encoder.stored, sides)
    return EncodedPeople(
        probes=probes,
        enrolled=enrolled,
        people=np.array([person for person, _, _ in usable], dtype=np.int64),
        names=tuple(folder.people),
        photos=tuple(str(path) for _, path, _ in usable),
        sha256=tuple(sha256 for _, _, (_, sha256, _) in usable),
        skipped=tuple((str(p), wanted[m][2]) for _, p, m in listed if wanted[m][2]),
        near_identical=near_identical_of(eye),
    )


def near_identical_of(eye: FacePipeline) -> float | None:
    """See EncodedPeople.near_identical."""
    return NEAR_IDENTICAL_COSINE if eye.encoder.name == DLIB_RESNET.name else None


def _encode(eye: FacePipeline, path: Path, views: Views) -> Entry:
    try:
        photo = eye.open(path)
        face = eye.one_face(photo, Several.CENTRAL)
        framed = VIEWS[: max(views.probe, views.enrolled)]
        chips = align(photo, face.landmarks, framed, eye.encoder.template)
        raw = eye.encoder.raw(chips)[None]
        rows = [_packed(fuse(raw[:, :count])) for count in (views.probe, views.enrolled)]
        return np.concatenate(rows), photo.sha256, ""
    except (PhotoError, InvalidEncoding) as error:
        width = 2 * (eye.encoder.network.traits.dimension + 2)
        return np.zeros(width, dtype=np.float32), "", str(error)


def _packed(one: Encodings) -> Float32:
    return np.concatenate([one.vectors[0], one.norms, one.agreement])


def _unpacked(rows: Float32) -> Encodings:
    return Encodings(np.ascontiguousarray(rows[:, :-2]), rows[:, -2], rows[:, -1])


_own: list[tuple[FacePipeline, Views]] = []
"""In a worker process: what it sees with."""


def _start(make_eye: Callable[[], FacePipeline], views: Views) -> None:
    import torch

    torch.set_num_threads(1)  # two processes of one thread beat one of two
    _own.append((make_eye(), views))


def _work(path: Path) -> Entry:
    return _encode(_own[0][0], path, _own[0][1])


def _by_workers(
    paths: list[Path], views: Views, workers: int, make_eye: Callable[[], FacePipeline]
) -> Iterator[Entry]:
    with ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), _start, (make_eye, views)
    ) as pool:
        try:
            yield from pool.map(_work, paths, chunksize=8)
        except BrokenProcessPool as error:
            raise TrainingInterrupted(
                "a worker process ended, perhaps for want of memory; what was encoded is kept:"
                " run it again"
            ) from error


def _mark(root: Path, path: Path) -> str:
    try:
        state = path.stat()
    except OSError:
        return f"{path.relative_to(root)}|unreadable"
    return f"{path.relative_to(root)}|{state.st_size}|{state.st_mtime_ns}"


def _still(root: Path, mark: str) -> bool:
    """Whether the photo is there and as it was."""
    return _mark(root, root / mark.rsplit("|", 2)[0]) == mark
