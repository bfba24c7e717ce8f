"""Cached encodings of a folder's photos: one file per folder, one entry per photo.

The files may be deleted at any time. An erasure deletes the person's entries.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from ahocorasick_rs import BytesAhoCorasick
from filelock import FileLock

from gallery.types import Float32
from indexer.whole_file import atomic_write

Entry = tuple[Float32, str, str]
"""The photo's encodings as one row, its SHA-256, and the reason if there are none."""


def load(file: Path) -> dict[str, Entry]:
    """Return the entries by mark (path, size and time); none if the file is missing or invalid."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            marks, rows = arrays["marks"].tolist(), arrays["rows"]
            hashes, reasons = arrays["sha256"].tolist(), arrays["reasons"].tolist()
            return {m: (r, h, w) for m, r, h, w in zip(marks, rows, hashes, reasons, strict=True)}
    except (OSError, ValueError, KeyError, BadZipFile):
        return {}


def add(file: Path, entries: Mapping[str, Entry], deleted: Collection[str] = ()) -> None:
    """Add entries beside those that other processes added meanwhile; delete those in `deleted`."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _lock(file):
        combined = {**load(file), **entries}
        _write(file, {mark: entry for mark, entry in combined.items() if mark not in deleted})


def erase(file: Path, groups: Sequence[Collection[bytes]]) -> list[int]:
    """Delete every entry that contains any of these bytes; return how many, for each group.

    Raises OSError.
    """
    search = BytesAhoCorasick([content for group in groups for content in group])
    group_of = [number for number, group in enumerate(groups) for _ in group]
    counts = [0] * len(groups)
    with _lock(file):
        before = load(file)
        remaining = {}
        for mark, entry in before.items():
            found = search.find_matches_as_indexes(_bytes(mark, entry), overlapping=True)
            for number in {group_of[pattern] for pattern, _, _ in found}:
                counts[number] += 1
            if not found:
                remaining[mark] = entry
        if not remaining:  # no entries left, or not a valid file
            file.unlink(missing_ok=True)
        elif len(remaining) < len(before):
            _write(file, remaining)
    return counts


def _lock(file: Path) -> FileLock:
    return FileLock(file.with_name(f"{file.name}.lock"), mode=0o600)


def _bytes(mark: str, entry: Entry) -> bytes:
    row, sha256, reason = entry
    texts = "\n".join((mark, sha256, reason)).encode("utf-8", "surrogatepass")
    return texts + b"\n" + row.astype("<f4").tobytes()


def _write(file: Path, entries: Mapping[str, Entry]) -> None:
    with atomic_write(file) as out:
        np.savez(
            out,
            marks=np.array(list(entries)),
            rows=np.array([row for row, _, _ in entries.values()], dtype=np.float32),
            sha256=np.array([sha256 for _, sha256, _ in entries.values()]),
            reasons=np.array([reason for _, _, reason in entries.values()]),
        )
