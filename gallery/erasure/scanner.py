"""The program that searches files for bytes: a request as JSON on stdin, an answer on stdout.

It is started by gallery.erasure.search, and imports nothing of the gallery.
"""

from __future__ import annotations

import base64
import json
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from ahocorasick_rs import BytesAhoCorasick

_BLOCK = 16 * 2**20


def main() -> None:
    """Request: folders, wanted (base64). Answer: files, bytes, hits (file, which, at), unreadable.

    Of each of what is wanted the first place in each file is told.
    """
    asked = json.load(sys.stdin)
    wanted = [base64.b64decode(text) for text in asked["wanted"]]
    automaton = BytesAhoCorasick(wanted)
    files = read = 0
    hits: list[tuple[str, int, int]] = []
    unreadable: list[str] = []
    for path in _files(asked["folders"], unreadable):
        try:
            seen, found = _search(path, automaton, max(map(len, wanted), default=1) - 1)
        except OSError:
            if os.path.lexists(path):  # else it went while it was looked at
                unreadable.append(path)
            continue
        files, read = files + 1, read + seen
        hits += [(path, which, at) for which, at in sorted(found.items())]
    answer: dict[str, Any] = {"files": files, "bytes": read, "hits": hits}
    json.dump(answer | {"unreadable": unreadable}, sys.stdout)


def _files(folders: Sequence[str], unreadable: list[str]) -> Iterator[str]:
    """Each once, although a folder may lie in another; links in folders are not followed."""
    seen: set[str] = set()
    for folder in folders:
        found = [folder] if os.path.isfile(folder) else _below(folder, unreadable)
        for path in found:
            if path not in seen:
                seen.add(path)
                yield path


def _below(folder: str, unreadable: list[str]) -> Iterator[str]:
    for root, _, names in os.walk(folder, onerror=lambda e: unreadable.append(str(e.filename))):
        for name in names:
            yield os.path.join(root, name)


def _search(path: str, automaton: BytesAhoCorasick, overlap: int) -> tuple[int, dict[int, int]]:
    """The bytes read, and the first place of each that was found.

    overlap : so many bytes are seen again with the next block.
    """
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return 0, {}
    found: dict[int, int] = {}
    with open(path, "rb") as file:
        before, at = b"", 0
        while block := file.read(_BLOCK):
            whole = before + block
            for which, start, _ in automaton.find_matches_as_indexes(whole, overlapping=True):
                found.setdefault(which, at - len(before) + start)
            at += len(block)
            before = whole[-overlap:] if overlap else b""
    return at, found


if __name__ == "__main__":
    main()
