"""A program that searches files for byte strings: JSON request on stdin, JSON answer on stdout.

gallery.erasure.search starts it. It imports nothing from the gallery.
"""

from __future__ import annotations

import base64
import json
import os
import stat
import sys
from collections.abc import Iterator, Sequence

from ahocorasick_rs import BytesAhoCorasick

_BLOCK = 16 * 2**20


def main() -> None:
    """Request: folders, patterns (base64). Answer: files, bytes, hits, unreadable.

    A hit is (file, index of the pattern, offset), the first of each pattern in each file.
    """
    request = json.load(sys.stdin)
    patterns = [base64.b64decode(text) for text in request["patterns"]]
    automaton = BytesAhoCorasick(patterns)
    overlap = max(map(len, patterns), default=1) - 1
    file_count = byte_count = 0
    hits: list[tuple[str, int, int]] = []
    unreadable: list[str] = []
    for path in _files(request["folders"], unreadable):
        try:
            size, offsets = _search(path, automaton, overlap)
        except OSError:
            if os.path.lexists(path):  # otherwise it was removed during the search
                unreadable.append(path)
            continue
        file_count, byte_count = file_count + 1, byte_count + size
        hits += [(path, pattern, offset) for pattern, offset in sorted(offsets.items())]
    answer = {"files": file_count, "bytes": byte_count, "hits": hits, "unreadable": unreadable}
    json.dump(answer, sys.stdout)


def _files(folders: Sequence[str], unreadable: list[str]) -> Iterator[str]:
    """Each file once, even if one folder is inside another. Does not follow links in folders."""
    seen: set[str] = set()
    for folder in folders:
        paths = [folder] if os.path.isfile(folder) else _below(folder, unreadable)
        for path in paths:
            if path not in seen:
                seen.add(path)
                yield path


def _below(folder: str, unreadable: list[str]) -> Iterator[str]:
    for root, _, names in os.walk(folder, onerror=lambda e: unreadable.append(str(e.filename))):
        for name in names:
            yield os.path.join(root, name)


def _search(path: str, automaton: BytesAhoCorasick, overlap: int) -> tuple[int, dict[int, int]]:
    """The bytes read, and the first offset of each pattern found, by its index.

    overlap : how many bytes are searched again with the next block.
    """
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return 0, {}
    offsets: dict[int, int] = {}
    with open(path, "rb") as file:
        tail, size = b"", 0
        while block := file.read(_BLOCK):
            window = tail + block
            for pattern, start, _ in automaton.find_matches_as_indexes(window, overlapping=True):
                offsets.setdefault(pattern, size - len(tail) + start)
            size += len(block)
            tail = window[-overlap:] if overlap else b""
    return size, offsets


if __name__ == "__main__":
    main()
