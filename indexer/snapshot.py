"""Save and load an engine's bytes: written atomically, and checked before they are used.

The file is one line of JSON (form, engine, dimension, the engine's own details, and the caller's
metadata under "marks"), the payload, and the SHA-256 of both as 64 hexadecimal digits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from indexer.errors import SnapshotUnusable
from indexer.whole_file import atomic_write

_FORM = "vector-index-2"
_MAX_HEADER = 64 * 1024
_DIGEST = 64
_BLOCK = 2**20


@dataclass(frozen=True)
class Snapshot:
    """A file that is open and was checked.

    payload : for the engine to read, from its start to its end.
    """

    engine: str
    dimension: int
    details: dict[str, Any]
    metadata: dict[str, str]
    payload: BinaryIO


def write_snapshot(
    file: Path,
    engine: str,
    dimension: int,
    write: Callable[[BinaryIO], None],
    metadata: Mapping[str, str],
    details: Mapping[str, Any],
) -> None:
    """Write a snapshot, atomically.

    write : called with a file that it writes the payload to.
    Raises OSError; an existing file is then left as it was.
    """
    header = {
        "form": _FORM,
        "engine": engine,
        "dimension": dimension,
        "details": dict(details),
        "marks": dict(metadata),
    }
    with atomic_write(file) as out:
        sealed = _Sealed(out)
        sealed.write(json.dumps(header).encode() + b"\n")
        try:
            write(sealed)  # type: ignore[arg-type]
        except Exception:
            if sealed.error is not None:  # the engine may have made something else of it
                raise sealed.error from None
            raise
        out.write(sealed.digest())


@contextmanager
def opened_snapshot(file: Path) -> Iterator[Snapshot]:
    """Open a file that is whole and unaltered. Raises SnapshotUnusable with the reason."""
    try:
        with open(file, "rb") as opened:
            payload = _checked(file, opened)
            header = opened.readline(_MAX_HEADER)
            snapshot = _snapshot(file, header, _Payload(opened, payload - len(header)))
            yield snapshot
            if snapshot.payload.read(1):
                raise SnapshotUnusable(f"{file} has more than its engine reads")
    except OSError as error:
        raise SnapshotUnusable(f"{file} cannot be read: {error.strerror}") from error


def _checked(file: Path, opened: BinaryIO) -> int:
    """Check the digest; return how many bytes come before it."""
    length = opened.seek(0, 2) - _DIGEST
    opened.seek(0)
    digest, left = hashlib.sha256(), max(0, length)
    while left:
        block = opened.read(min(left, _BLOCK))
        if not block:
            break
        digest.update(block)
        left -= len(block)
    if length <= 0 or opened.read() != digest.hexdigest().encode():
        raise SnapshotUnusable(f"{file} is not a saved index, or was truncated or altered")
    opened.seek(0)
    return length


def _snapshot(file: Path, line: bytes, payload: _Payload) -> Snapshot:
    try:
        header = json.loads(line)
        form, engine, dimension = header["form"], header["engine"], int(header["dimension"])
        details, metadata = dict(header["details"]), dict(header["marks"])
    except (ValueError, KeyError, TypeError) as error:
        raise SnapshotUnusable(f"{file} is not a saved index") from error
    if form != _FORM:
        raise SnapshotUnusable(f"{file} has form {form!r}, expected {_FORM!r}")
    return Snapshot(engine, dimension, details, metadata, payload)  # type: ignore[arg-type]


class _Payload:
    """The part of a file that an engine reads."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self._file = file
        self._left = length

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        content = self._file.read(wanted)
        self._left -= len(content)
        return content


class _Sealed:
    """A file that keeps the digest of what is written to it, and the error if that fails."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, content: bytes) -> int:
        self._digest.update(content)
        try:
            return self._file.write(content)
        except OSError as error:
            self.error = error
            raise

    def digest(self) -> bytes:
        return self._digest.hexdigest().encode()
