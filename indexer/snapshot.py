"""Save and load an engine's bytes: written at once or not at all, and checked when read.

The file is one line of JSON (form, engine, dimension, length and SHA-256 of the payload, and the
caller's marks), a newline, and the payload.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from indexer.errors import SnapshotUnusable

_FORM = "vector-index-1"
_LONGEST_HEADER = 64 * 1024


@dataclass(frozen=True)
class Snapshot:
    """What a file held: the engine that can read the payload, and the caller's marks."""

    engine: str
    dimension: int
    marks: dict[str, str]
    payload: bytes


def write_snapshot(
    file: Path, engine: str, dimension: int, payload: bytes, marks: Mapping[str, str]
) -> None:
    """Write beside the file, flush to the disk, and rename over it.

    Raises OSError when the disk refuses; the file before it is then untouched.
    """
    header = {
        "form": _FORM,
        "engine": engine,
        "dimension": dimension,
        "length": len(payload),
        "sha256": hashlib.sha256(payload).hexdigest(),
        "marks": dict(marks),
    }
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=file.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(json.dumps(header).encode() + b"\n")
            out.write(payload)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, file)
    finally:
        Path(temporary).unlink(missing_ok=True)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_snapshot(file: Path) -> Snapshot:
    """Read and check a file. Raises SnapshotUnusable with what is wrong."""
    try:
        with open(file, "rb") as opened:
            line = opened.readline(_LONGEST_HEADER)
            payload = opened.read()
    except OSError as error:
        raise SnapshotUnusable(f"{file} cannot be read: {error.strerror}") from error
    try:
        header = json.loads(line)
        form, engine, dimension = header["form"], header["engine"], int(header["dimension"])
        length, sha256, marks = int(header["length"]), header["sha256"], dict(header["marks"])
    except (ValueError, KeyError, TypeError) as error:
        raise SnapshotUnusable(f"{file} is not a saved index") from error
    if form != _FORM:
        raise SnapshotUnusable(f"{file} has form {form!r}, expected {_FORM!r}")
    if len(payload) != length:
        raise SnapshotUnusable(f"{file} has {len(payload)} bytes of payload, expected {length}")
    if hashlib.sha256(payload).hexdigest() != sha256:
        raise SnapshotUnusable(f"{file} was altered: its SHA-256 is another one")
    return Snapshot(engine, dimension, marks, payload)
