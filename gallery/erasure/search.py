"""What an erased person would be known by in a file's bytes, and the search for it.

Encodings are cut into pieces, so that a half-overwritten one is found too, in every number format
that could hold them; texts are looked for as UTF-8, UTF-16, UTF-32 (NumPy's), and as JSON escapes
them. The search runs in a process of its own: closing a database's file in a process that has it
open in SQLite would let go of SQLite's locks.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gallery.errors import SearchFailed
from gallery.types import Float32

_SHORTEST_NAME, _SHORTEST_TEXT = 5, 8  # bytes of UTF-8
_PIECE = 32
_TEXT_PIECE = 33  # three bytes are four characters of base64
_PICTURE_PLACES = 0.5, 0.7, 0.9  # the beginning of a JPEG is everyone's


class TraceKind(StrEnum):
    """What a trace is a part of."""

    ENCODING = "encoding"
    TEXT = "text"
    PICTURE = "picture"


@dataclass(frozen=True)
class Trace:
    """One thing to look for. number : which encoding, text or picture it is of, as they came."""

    kind: TraceKind
    number: int
    content: bytes


@dataclass(frozen=True)
class Hit:
    """A file in which a trace was found, at a byte."""

    file: Path
    trace: Trace
    at: int


@dataclass(frozen=True)
class Search:
    """What was searched, and what was found: of each thing the first in each file.

    unreadable : files that could not be searched.
    """

    files: int
    bytes: int
    hits: tuple[Hit, ...]
    unreadable: tuple[Path, ...]


def looked_for(names: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Those that are not found by chance in any large file: no short ones, no mere numbers."""
    return [text for text in names if len(text.encode()) >= _SHORTEST_NAME] + [
        text
        for text in texts
        if len(text.encode()) >= _SHORTEST_TEXT and not text.replace("-", "").isdecimal()
    ]


def traces_of(
    encodings: Float32, texts: Sequence[str], pictures: Sequence[bytes]
) -> tuple[Trace, ...]:
    """Of a person's encodings, float32 (n, 128), names, paths, hashes, and thumbnails."""
    found = {
        trace.content: trace
        for trace in (*_of_encodings(encodings), *_of_texts(texts), *_of_pictures(pictures))
    }
    return tuple(found.values())


def _of_encodings(encodings: Float32) -> Iterator[Trace]:
    for number, row in enumerate(encodings):
        single = row.astype("<f4").tobytes()
        # bfloat16 is the upper half of a float32.
        brain = (row.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
        for content in (single, row.astype("<f2").tobytes(), row.astype("<f8").tobytes(), brain):
            for piece in _pieces(content, _PIECE):
                yield Trace(TraceKind.ENCODING, number, piece)
        for piece in _pieces(single, _TEXT_PIECE):
            yield Trace(TraceKind.ENCODING, number, base64.b64encode(piece))


def _pieces(content: bytes, size: int) -> Iterator[bytes]:
    return (content[at : at + size] for at in range(0, len(content) - size + 1, size))


def _of_texts(texts: Sequence[str]) -> Iterator[Trace]:
    for number, text in enumerate(texts):
        for form in {text, unicodedata.normalize("NFD", text)}:
            escaped = json.dumps(form)[1:-1].encode()
            forms = {form.encode(), escaped}
            forms |= {form.encode(coding) for coding in ("utf-16-le", "utf-16-be", "utf-32-le")}
            yield from (Trace(TraceKind.TEXT, number, content) for content in forms)


def _of_pictures(pictures: Sequence[bytes]) -> Iterator[Trace]:
    for number, picture in enumerate(pictures):
        for place in _PICTURE_PLACES:
            at = int(place * len(picture)) // 3 * 3
            yield Trace(TraceKind.PICTURE, number, picture[at : at + _PIECE])
            piece = base64.b64encode(picture[at : at + _TEXT_PIECE])
            yield Trace(TraceKind.PICTURE, number, piece)


def search(folders: Iterable[Path], traces: Sequence[Trace]) -> Search:
    """Read these files, and every file under these folders. Raises SearchFailed."""
    asked = {
        "folders": [str(folder.resolve()) for folder in folders if folder.exists()],
        "wanted": [base64.b64encode(trace.content).decode() for trace in traces],
    }
    ran = subprocess.run(
        [sys.executable, "-P", str(Path(__file__).with_name("scanner.py"))],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        said = ran.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise SearchFailed(
            f"the search for traces ended with status {ran.returncode} ({said[0]}), so that it is"
            " not known whether any are left; run `gallery check --traces ID`"
        )
    told = json.loads(ran.stdout)
    return Search(
        files=told["files"],
        bytes=told["bytes"],
        hits=tuple(Hit(Path(file), traces[which], at) for file, which, at in told["hits"]),
        unreadable=tuple(Path(file) for file in told["unreadable"]),
    )
