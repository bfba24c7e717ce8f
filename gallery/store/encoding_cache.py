"""Encodings of a folder's photos in the cache folder: one file a folder, an entry a photo.

They may be deleted at any time; entries of somebody who is erased are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from ahocorasick_rs import BytesAhoCorasick
from filelock import FileLock

from gallery.types import Float32
from indexer.whole_file import written_whole

Entry = tuple[Float32, str, str]
"""The photo's encodings as one row, its file's hash, and the reason why there are none."""


def load(file: Path) -> dict[str, Entry]:
    """The entries by their marks (path, size and time); none of what is no such file."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            marks, rows = arrays["marks"].tolist(), arrays["rows"]
            hashes, reasons = arrays["sha256"].tolist(), arrays["reasons"].tolist()
            return {m: (r, h, w) for m, r, h, w in zip(marks, rows, hashes, reasons, strict=True)}
    except (OSError, ValueError, KeyError, BadZipFile):
        return {}


def add(file: Path, entries: Mapping[str, Entry], gone: Collection[str] = ()) -> None:
    """Keep entries beside those that other processes have kept meanwhile; drop those of `gone`."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(file):
        kept = {**load(file), **entries}
        _write(file, {mark: entry for mark, entry in kept.items() if mark not in gone})


def erase(file: Path, contents: Sequence[bytes]) -> int:
    """Drop every entry that has any of these; how many. Raises OSError."""
    wanted = BytesAhoCorasick(contents)
    with _alone(file):
        before = load(file)
        kept = {
            mark: entry
            for mark, entry in before.items()
            if not wanted.find_matches_as_indexes(_bytes(mark, entry))
        }
        if not kept:  # none is left, or it is no file of ours
            file.unlink(missing_ok=True)
        elif len(kept) < len(before):
            _write(file, kept)
    return len(before) - len(kept)


def _alone(file: Path) -> FileLock:
    return FileLock(file.with_name(f"{file.name}.lock"), mode=0o600)


def _bytes(mark: str, entry: Entry) -> bytes:
    row, sha256, reason = entry
    texts = "\n".join((mark, sha256, reason)).encode("utf-8", "surrogatepass")
    return texts + b"\n" + row.astype("<f4").tobytes()


def _write(file: Path, kept: Mapping[str, Entry]) -> None:
    with written_whole(file) as out:
        np.savez(
            out,
            marks=np.array(list(kept)),
            rows=np.array([row for row, _, _ in kept.values()], dtype=np.float32),
            sha256=np.array([sha256 for _, sha256, _ in kept.values()]),
            reasons=np.array([reason for _, _, reason in kept.values()]),
        )
