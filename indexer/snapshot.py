"""Save and load an engine's bytes: written atomically, and checked when read.

The file is the SHA-256 of all that follows (hexadecimal), a newline, one line of JSON (form,
engine, dimension, length of the payload, and the caller's metadata under "marks"), and the payload.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from indexer.errors import SnapshotUnusable
from indexer.whole_file import atomic_write

_FORM = "vector-index-1"
_MAX_HEADER = 64 * 1024


@dataclass(frozen=True)
class Snapshot:
    """A file's content: the payload, the engine that can read it, and the caller's metadata."""

    engine: str
    dimension: int
    metadata: dict[str, str]
    payload: bytes


def write_snapshot(
    file: Path, engine: str, dimension: int, payload: bytes, metadata: Mapping[str, str]
) -> None:
    """Write a snapshot, atomically.

    Raises OSError; an existing file is then left as it was.
    """
    header = {
        "form": _FORM,
        "engine": engine,
        "dimension": dimension,
        "length": len(payload),
        "marks": dict(metadata),
    }
    line = json.dumps(header).encode() + b"\n"
    with atomic_write(file) as out:
        out.write(_seal(line, payload) + b"\n" + line)
        out.write(payload)


def read_snapshot(file: Path) -> Snapshot:
    """Read and check a file. Raises SnapshotUnusable with the reason."""
    try:
        with open(file, "rb") as opened:
            seal = opened.readline(_MAX_HEADER)
            line = opened.readline(_MAX_HEADER)
            payload = opened.read()
    except OSError as error:
        raise SnapshotUnusable(f"{file} cannot be read: {error.strerror}") from error
    if seal != _seal(line, payload) + b"\n":
        raise SnapshotUnusable(f"{file} is not a saved index, or was truncated or altered")
    try:
        header = json.loads(line)
        form, engine, dimension = header["form"], header["engine"], int(header["dimension"])
        length, metadata = int(header["length"]), dict(header["marks"])
    except (ValueError, KeyError, TypeError) as error:
        raise SnapshotUnusable(f"{file} is not a saved index") from error
    if form != _FORM:
        raise SnapshotUnusable(f"{file} has form {form!r}, expected {_FORM!r}")
    if len(payload) != length:
        raise SnapshotUnusable(f"{file} has {len(payload)} bytes of payload, expected {length}")
    return Snapshot(engine, dimension, metadata, payload)


def _seal(line: bytes, payload: bytes) -> bytes:
    digest = hashlib.sha256(line)
    digest.update(payload)
    return digest.hexdigest().encode()
