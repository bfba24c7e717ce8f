"""Erasing people from the cache of encoded photos, whose files may be deleted at any time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from gallery.config import ENCODINGS_FOLDER
from gallery.erasure.search import Traces, search
from gallery.errors import HomeUnusable
from gallery.store import encoding_cache


def erase_cached_photos(cache: Path, people: Sequence[Traces]) -> list[int]:
    """Drop photos with a trace from the cache; return how many, for each of the people.

    Raises HomeUnusable, or SearchFailed.
    """
    folder = cache / ENCODINGS_FOLDER
    dropped = [0] * len(people)
    if not folder.is_dir():
        return dropped
    try:
        hits = search([folder], chain.from_iterable(people)).hits
        if hits:
            found = {hit.trace.content for hit in hits}
            contents = [_contents(traces, found) for traces in people]
            for file in {hit.file for hit in hits}:
                counts = encoding_cache.erase(file, contents)
                dropped = [sum(pair) for pair in zip(dropped, counts, strict=True)]
            for hit in search([folder], chain.from_iterable(people)).hits:
                hit.file.unlink(missing_ok=True)  # not a cache file, or a damaged one
    except OSError as error:
        raise HomeUnusable(
            f"cannot change {folder} ({error.strerror}), which contains encodings of the person"
            " to erase; delete it and try again"
        ) from error
    return dropped


def _contents(traces: Traces, found: set[bytes]) -> set[bytes]:
    """What to look for in the entries; nothing for the many people of whom nothing was found."""
    contents = {trace.content for trace in traces}
    return set() if contents.isdisjoint(found) else contents
