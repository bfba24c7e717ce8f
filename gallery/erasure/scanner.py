"""A program that searches files for byte strings: JSON request on stdin, JSON answer on stdout.

gallery.erasure.search starts it. It imports nothing from the gallery.

Most of a file is passed over: a pattern of at least 31 bytes, wherever it begins, contains eight
bytes that begin at a multiple of 24. Only those are looked up among the words of eight bytes in the
patterns; where one is found, the pattern is compared. Shorter patterns need shorter steps. (Wu and
Manber 1994, "A fast algorithm for multi-pattern searching", skip likewise.) The shortest are found
by an automaton (Aho and Corasick 1975), which for many patterns reads 0.2 GB a second.
"""

from __future__ import annotations

import base64
import json
import os
import stat
import struct
import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from ahocorasick_rs import BytesAhoCorasick

_BLOCK = 2**20
_STEPS = (24, 8), (4, 8), (4, 4)
"""From one word that is looked up to the next, and the length of a word, in bytes."""
_MULTIPLIER = 0x9E3779B97F4A7C15  # 2**64 / the golden ratio: Knuth's multiplicative hashing
_CROWD = 16
"""A word of more patterns than this is of many that are alike, e.g. paths."""
_MOST_COMPARISONS = 5000
"""With patterns that are alike, in a block; with more, an automaton is quicker."""
_FILE_HEADER = 100
_BTREE_HEADERS = {2: 12, 5: 12, 10: 8, 13: 8}
"""Lengths of the headers of a SQLite page, by its kind."""


def main() -> None:
    """Request: folders, patterns (base64), unused. Answer: files, bytes, hits, unreadable.

    With unused, the files are SQLite's, and only the bytes that belong to no row are searched.
    A hit is (file, index of the pattern, offset), the first of each pattern in each file. An offset
    counts the bytes that were searched.
    """
    request = json.load(sys.stdin)
    patterns = [base64.b64decode(text) for text in request["patterns"]]
    parts = _by_length(patterns)
    overlap = max(map(len, patterns), default=1) - 1
    blocks = _unused_blocks if request["unused"] else _blocks
    file_count = byte_count = 0
    hits: list[tuple[str, int, int]] = []
    unreadable: list[str] = []
    for path in _files(request["folders"], unreadable):
        try:
            is_file = stat.S_ISREG(os.lstat(path).st_mode)
            size, offsets = _search(blocks(path), parts, overlap) if is_file else (0, {})
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


class _Automaton:
    """Finds patterns by looking at every byte.

    patterns : each with its number.
    """

    def __init__(self, patterns: Sequence[tuple[int, bytes]]) -> None:
        self._numbers = [number for number, _ in patterns]
        self._automaton = BytesAhoCorasick([pattern for _, pattern in patterns])

    def matches(self, window: bytes) -> Iterator[tuple[int, int]]:
        """The number and offset of each match, in no order."""
        for match, at, _ in self._automaton.find_matches_as_indexes(window, overlapping=True):
            yield self._numbers[match], at


class _Words:
    """Finds patterns by their words. They must have at least `step - 1 + length` bytes.

    Of each pattern, the words are kept that begin at so many successive bytes as a step has, in its
    middle, where patterns differ most. One of them is met, wherever the pattern begins.
    """

    def __init__(self, patterns: Sequence[tuple[int, bytes]], step: int, length: int) -> None:
        self._patterns = patterns
        self._step, self._length = step, length
        self._starts = [(len(pattern) - length - step + 1) // 2 for _, pattern in patterns]
        middles = b"".join(
            pattern[start : start + step - 1 + length]
            for (_, pattern), start in zip(patterns, self._starts, strict=True)
        )
        rows = np.frombuffer(middles, dtype=np.uint8).reshape(len(patterns), step - 1 + length)
        windows = np.lib.stride_tricks.sliding_window_view(rows, length, axis=1)
        words = np.ascontiguousarray(windows).view(f"<u{length}").ravel()  # (patterns * step,)
        self._order = np.argsort(words)
        self._words = words[self._order]
        bits = min(max((128 * len(words)).bit_length(), 14), 26)
        self._multiplier = words.dtype.type(_MULTIPLIER >> (64 - 8 * length))
        self._shift = words.dtype.type(8 * length - bits)
        self._is_hash = np.zeros(2**bits, dtype=np.bool_)
        self._is_hash[self._hashes(words)] = True

    def _hashes(self, words: npt.NDArray[Any]) -> npt.NDArray[np.signedinteger[Any]]:
        hashes: npt.NDArray[Any] = words * self._multiplier
        hashes >>= self._shift
        signed: npt.NDArray[np.signedinteger[Any]] = hashes.view(f"<i{self._length}")
        return signed

    @cached_property
    def _crowd(self) -> _Automaton:
        """Finds the patterns with a word of a crowd."""
        starts = np.flatnonzero(np.diff(self._words, prepend=~self._words[:1]))
        sizes = np.diff(starts, append=len(self._words))
        is_crowded = np.repeat(sizes > _CROWD, sizes)
        rows = np.unique(self._order[is_crowded] // self._step)
        return _Automaton([self._patterns[row] for row in rows.tolist()])

    def matches(self, window: bytes) -> Iterator[tuple[int, int]]:
        """The number and offset of each match, in no order, perhaps several times."""
        for offset in range(0, min(self._length, len(window)), self._step):
            count = (len(window) - offset) // self._length
            words = np.frombuffer(window, self._words.dtype, count, offset)
            words = words[:: max(self._step // self._length, 1)]
            found = np.flatnonzero(self._is_hash.take(self._hashes(words)))
            firsts = np.searchsorted(self._words, words[found])
            is_equal = self._words.take(firsts, mode="clip") == words[found]
            found, firsts = found[is_equal], firsts[is_equal]
            lasts = np.searchsorted(self._words, words[found], side="right")
            is_crowded = lasts - firsts > _CROWD
            if int((lasts - firsts)[is_crowded].sum()) > _MOST_COMPARISONS:
                yield from self._crowd.matches(window)
                found, firsts, lasts = found[~is_crowded], firsts[~is_crowded], lasts[~is_crowded]
            for at, first, last in zip(found, firsts, lasts, strict=True):
                word_at = offset + int(at) * max(self._step, self._length)
                for place in self._order[first:last].tolist():
                    row, column = divmod(place, self._step)
                    number, pattern = self._patterns[row]
                    start = word_at - self._starts[row] - column
                    if start >= 0 and window.startswith(pattern, start):
                        yield number, start


def _by_length(patterns: Sequence[bytes]) -> list[_Words | _Automaton]:
    parts: list[_Words | _Automaton] = []
    left = list(enumerate(patterns))
    for step, length in _STEPS:
        shortest = step - 1 + length
        part = [item for item in left if len(item[1]) >= shortest]
        left = [item for item in left if len(item[1]) < shortest]
        if part:
            parts.append(_Words(part, step, length))
    return [*parts, _Automaton(left)] if left else parts


def _search(
    blocks: Iterator[bytes], parts: Sequence[_Words | _Automaton], overlap: int
) -> tuple[int, dict[int, int]]:
    """The bytes read, and the first offset of each pattern found, by its number.

    overlap : how many bytes are searched again with the next block.
    """
    offsets: dict[int, int] = {}
    tail, size = b"", 0
    for block in blocks:
        window = tail + block
        for part in parts:
            for number, start in part.matches(window):
                at = size - len(tail) + start
                offsets[number] = min(at, offsets.get(number, at))
        size += len(block)
        tail = window[-overlap:] if overlap else b""
    return size, offsets


def _blocks(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            yield block


def _unused_blocks(path: str) -> Iterator[bytes]:
    """The bytes of a SQLite file that belong to no row, without pieces that are all zero."""
    page_size = usable = 0
    for block in _blocks(path):
        is_first = not page_size
        if is_first:
            page_size, reserved = struct.unpack_from(">H2xB", block, 16)
            page_size = 65536 if page_size == 1 else page_size
            usable = page_size - reserved
        pieces: list[bytes] = []
        for start in range(0, len(block), page_size):
            header = _FILE_HEADER if is_first and not start else 0
            pieces += _unused(block[start : start + page_size], header, usable)
        yield b"".join(piece for piece in pieces if piece.count(0) < len(piece))


def _unused(page: bytes, header: int, usable: int) -> list[bytes]:
    """The bytes of a page that belong to no row; of a page without a B-tree's header, all.

    They lie between the pointers to the rows and the rows, and in a chain of free blocks.
    See https://www.sqlite.org/fileformat2.html#b_tree_pages.
    """
    try:
        length = _BTREE_HEADERS[page[header]]
        free, rows, content = struct.unpack_from(">HHH", page, header + 1)
        pieces = [page[header + length + 2 * rows : content or 65536], page[usable:]]
        while free:
            following, size = struct.unpack_from(">HH", page, free)
            pieces.append(page[free : free + size])
            free = following if following > free else 0
    except (KeyError, IndexError, struct.error):  # free, part of a long row, or just being written
        return [page]
    return pieces


if __name__ == "__main__":
    main()
