"""The byte patterns a person leaves in files, and the search for them.

Encodings are cut into pieces, so that a partly overwritten one is found too, in every number format
that could store them. Texts are searched for as UTF-8, UTF-16, UTF-32 (NumPy) and JSON escapes, and
SHA-256s also as their bytes. The search runs in a separate process: closing a database file in a
process that has it open in SQLite would release SQLite's locks.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gallery.batching import batched
from gallery.config import NETWORKS_FOLDER
from gallery.errors import SearchFailed
from gallery.types import Float32

_MIN_NAME_BYTES, _MIN_TEXT_BYTES = 5, 8  # of UTF-8
_PIECE = 32
_BASE64_PIECE = 33  # three bytes are four characters of base64
_PICTURE_OFFSETS = 0.5, 0.7, 0.9  # relative; all JPEGs begin alike
_PATTERNS_PER_SEARCH = 400_000  # of 5,000 encodings; they take 0.3 GB


class TraceKind(StrEnum):
    """What a trace is part of."""

    ENCODING = "encoding"
    TEXT = "text"
    PICTURE = "picture"


@dataclass(frozen=True)
class Trace:
    """A byte pattern to search for. number : index of its encoding, text or picture."""

    kind: TraceKind
    number: int
    content: bytes


@dataclass(frozen=True)
class Hit:
    """A trace that was found. at : offset in the file, in bytes."""

    file: Path
    trace: Trace
    at: int


@dataclass(frozen=True)
class SearchResult:
    """What was searched and found.

    hits : the first of each trace in each file.  unreadable : files that could not be searched.
    """

    files: int
    bytes: int
    hits: tuple[Hit, ...]
    unreadable: tuple[Path, ...]


def searchable_texts(names: Sequence[str], texts: Sequence[str]) -> list[str]:
    """The texts that do not occur in any large file by chance: not too short, not only a number."""
    return [text for text in names if len(text.encode()) >= _MIN_NAME_BYTES] + [
        text
        for text in texts
        if len(text.encode()) >= _MIN_TEXT_BYTES and not text.replace("-", "").isdecimal()
    ]


@dataclass(frozen=True)
class Traces:
    """What faces and people leave in files; iterated over, the patterns, made one after another.

    encodings : float32 (n, 128).  texts : names, paths and hashes.  pictures : JPEG files.
    """

    encodings: Float32
    texts: Sequence[str]
    pictures: Sequence[bytes]

    def __iter__(self) -> Iterator[Trace]:
        yield from _of_encodings(self.encodings)
        yield from _of_texts(self.texts)
        yield from _of_pictures(self.pictures)


def _of_encodings(encodings: Float32) -> Iterator[Trace]:
    seen: set[bytes] = set()  # a photo may be enrolled under many names
    for number, row in enumerate(encodings):
        single = row.astype("<f4").tobytes()
        if single in seen:
            continue
        seen.add(single)
        # bfloat16 is the upper half of a float32.
        bfloat16 = (row.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
        for content in (single, row.astype("<f2").tobytes(), row.astype("<f8").tobytes(), bfloat16):
            for piece in _pieces(content, _PIECE):
                yield Trace(TraceKind.ENCODING, number, piece)
        for piece in _pieces(single, _BASE64_PIECE):
            yield Trace(TraceKind.ENCODING, number, base64.b64encode(piece))


def _pieces(content: bytes, size: int) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content) - size + 1, size))


def _of_texts(texts: Sequence[str]) -> Iterator[Trace]:
    for number, text in enumerate(texts):
        for form in {text, unicodedata.normalize("NFD", text)}:
            escaped = json.dumps(form)[1:-1].encode()
            forms = {form.encode(), escaped}
            forms |= {form.encode(coding) for coding in ("utf-16-le", "utf-16-be", "utf-32-le")}
            if re.fullmatch("[0-9a-f]{64}", form):
                forms.add(bytes.fromhex(form))
            yield from (Trace(TraceKind.TEXT, number, content) for content in forms)


def _of_pictures(pictures: Sequence[bytes]) -> Iterator[Trace]:
    for number, picture in enumerate(pictures):
        for offset in _PICTURE_OFFSETS:
            start = int(offset * len(picture)) // 3 * 3
            yield Trace(TraceKind.PICTURE, number, picture[start : start + _PIECE])
            piece = base64.b64encode(picture[start : start + _BASE64_PIECE])
            yield Trace(TraceKind.PICTURE, number, piece)


def searched_folders(home: Path, cache: Path) -> list[Path]:
    """The home, and of the cache everything but the exported networks, which show nobody."""
    cached = sorted(cache.iterdir()) if cache.is_dir() else []
    return [home, *(path for path in cached if path.name != NETWORKS_FOLDER)]


def search(
    folders: Iterable[Path], traces: Iterable[Trace], *, unused: bool = False
) -> SearchResult:
    """Search every file under these folders; a folder may also be a file. Raises SearchFailed.

    unused : they are SQLite files, of which only the bytes that belong to no row are searched.
    The files are read once for each `_PATTERNS_PER_SEARCH` patterns.
    """
    paths = [folder.resolve() for folder in folders if folder.exists()]
    batches = batched(traces, _PATTERNS_PER_SEARCH)
    result = _search_for(paths, next(batches, []), unused)
    for batch in batches:
        found = _search_for(paths, batch, unused)
        unreadable = dict.fromkeys((*result.unreadable, *found.unreadable))
        hits = (*result.hits, *found.hits)
        result = SearchResult(found.files, found.bytes, hits, tuple(unreadable))
    return result


def _search_for(paths: Sequence[Path], traces: Sequence[Trace], unused: bool) -> SearchResult:
    traces = list({trace.content: trace for trace in traces}.values())
    request = {
        "unused": unused,
        "folders": [str(path) for path in paths],
        "patterns": [base64.b64encode(trace.content).decode() for trace in traces],
    }
    scanner = subprocess.run(
        [sys.executable, "-P", str(Path(__file__).with_name("scanner.py"))],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
    )
    if scanner.returncode:
        last_line = (scanner.stderr.strip().splitlines() or ["no error message"])[-1]
        raise SearchFailed(
            f"the search for traces failed with status {scanner.returncode} ({last_line}), so"
            " traces may remain; run `gallery check --traces ID`"
        )
    answer = json.loads(scanner.stdout)
    return SearchResult(
        files=answer["files"],
        bytes=answer["bytes"],
        hits=tuple(
            Hit(Path(file), traces[pattern], offset) for file, pattern, offset in answer["hits"]
        ),
        unreadable=tuple(map(Path, answer["unreadable"])),
    )
