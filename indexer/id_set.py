"""A set of int64 ids as a sorted array: eight bytes each, where a Python set takes eighty."""

from __future__ import annotations

import numpy as np

from indexer.errors import DuplicateId, InvalidVectors
from indexer.protocol import Int64

_LEAST_ROOM = 1_024


class IdSet:
    """The ids that an index stores. Ids above all others, as new ones are, are added in place."""

    def __init__(self, ids: Int64 | None = None) -> None:
        self._room = np.empty(0, dtype=np.int64) if ids is None else np.sort(ids)
        self._count = len(self._room)

    def __len__(self) -> int:
        return self._count

    @property
    def ids(self) -> Int64:
        """All ids, ascending. A view: it is valid until the set changes."""
        return self._room[: self._count]

    def has(self, ids: Int64) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Which of these ids are stored, bool (n,)."""
        stored = self.ids
        if not len(stored):
            return np.zeros(len(ids), dtype=np.bool_)
        places = np.minimum(np.searchsorted(stored, ids), len(stored) - 1)
        found: np.ndarray[tuple[int], np.dtype[np.bool_]] = stored[places] == ids
        return found

    def check_new(self, ids: Int64, count: int) -> None:
        """Check that `count` ids can be added. Raises InvalidVectors or DuplicateId."""
        if ids.dtype != np.int64 or ids.shape != (count,):
            raise InvalidVectors(f"{ids.dtype} ids of shape {ids.shape}, expected int64 ({count},)")
        if not count:
            return
        if ids.min() < 0:
            raise DuplicateId(f"id {ids.min()} is negative; negative ids mean no neighbour")
        ascending = np.sort(ids)
        twice = ascending[1:][ascending[1:] == ascending[:-1]]
        duplicates = np.concatenate([ids[self.has(ids)], twice])
        if len(duplicates):
            raise DuplicateId(f"id {duplicates.min()} is already stored, or given twice")

    def add(self, ids: Int64) -> None:
        """Add ids that were checked."""
        if not len(ids):
            return
        ids = np.sort(ids)
        needed = self._count + len(ids)
        if self._count and ids[0] <= self._room[self._count - 1]:
            self._room = np.sort(np.concatenate([self.ids, ids]))
        else:
            if needed > len(self._room):
                room = np.empty(max(_LEAST_ROOM, needed + needed // 8), dtype=np.int64)
                room[: self._count] = self.ids
                self._room = room
            self._room[self._count : needed] = ids
        self._count = needed

    def remove(self, ids: Int64) -> Int64:
        """Remove ids; return those that were stored, each once, ascending."""
        removed = np.unique(ids)
        removed = removed[self.has(removed)]
        if len(removed):
            self._room = np.delete(self.ids, np.searchsorted(self.ids, removed))
            self._count = len(self._room)
        return removed
