"""Encodings of a whole folder of people, kept in the cache folder so that work can be resumed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from gallery.errors import PhotoError
from gallery.learning.people import PeopleFolder
from gallery.seeing import Eye
from gallery.types import DIMENSION, Float32, Int64, Several
from indexer.whole_file import written_whole

_SAVE_EVERY = 500


@dataclass(frozen=True)
class EncodedPeople:
    """One encoding a photo in which a face was found.

    vectors : float32 (n, 128), unit length.  people : int64 (n,), places in `names`.
    skipped : photos without a usable face, with the reason.
    """

    vectors: Float32
    people: Int64
    names: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]

    def of(self, people: Int64) -> EncodedPeople:
        """Only these people's rows."""
        rows = np.isin(self.people, people)
        return EncodedPeople(self.vectors[rows], self.people[rows], self.names, ())


def encode_people(
    folder: PeopleFolder,
    eye: Eye,
    views: int,
    cache: Path,
    progress: Callable[[int], None] = lambda _: None,
) -> EncodedPeople:
    """Encode each photo's central face. A photo is encoded again only when its file changed.

    cache : folder of the cached encodings; they are of people's faces and may be deleted any time.
    """
    key = f"{eye.sees} {views} {folder.root.resolve()}"
    file = cache / "encodings" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz"
    kept = _load(file)
    seen: _Kept = {}
    vectors: list[Float32] = []
    people: list[int] = []
    skipped: list[tuple[str, str]] = []
    done = fresh = 0
    for person, photos in enumerate(folder.people.values()):
        for path in photos:
            mark = _mark(folder.root, path)
            if mark in kept:
                seen[mark] = kept[mark]
            else:
                seen[mark] = kept[mark] = _encode(eye, path, views)
                fresh += 1
                if fresh % _SAVE_EVERY == 0:
                    _save(file, kept)
            vector, reason = seen[mark]
            if reason:
                skipped.append((str(path), reason))
            else:
                vectors.append(vector)
                people.append(person)
            done += 1
            progress(done)
    if seen.keys() != kept.keys() or fresh % _SAVE_EVERY:
        _save(file, seen)  # without photos that are gone
    return EncodedPeople(
        vectors=np.array(vectors, dtype=np.float32).reshape(-1, DIMENSION),
        people=np.array(people, dtype=np.int64),
        names=tuple(folder.people),
        skipped=tuple(skipped),
    )


_Kept = dict[str, tuple[Float32, str]]
_NOTHING = np.zeros(DIMENSION, dtype=np.float32)


def _encode(eye: Eye, path: Path, views: int) -> tuple[Float32, str]:
    try:
        photo = eye.open(path)
        face = eye.one_face(photo, Several.CENTRAL)
        return eye.encode(photo, [face], views).vectors[0], ""
    except PhotoError as error:
        return _NOTHING, str(error)


def _mark(root: Path, path: Path) -> str:
    try:
        state = path.stat()
    except OSError:
        return f"{path.relative_to(root)}|unreadable"
    return f"{path.relative_to(root)}|{state.st_size}|{state.st_mtime_ns}"


def _load(file: Path) -> _Kept:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            columns = (arrays["marks"].tolist(), arrays["vectors"], arrays["reasons"].tolist())
            return {m: (v, r) for m, v, r in zip(*columns, strict=True)}
    except (OSError, ValueError, KeyError, BadZipFile):
        return {}


def _save(file: Path, kept: _Kept) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with written_whole(file) as out:
        np.savez(
            out,
            marks=np.array(list(kept)),
            vectors=np.array([v for v, _ in kept.values()], dtype=np.float32),
            reasons=np.array([r for _, r in kept.values()]),
        )
