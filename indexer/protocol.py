"""What every engine does, and the checks they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from indexer.errors import DuplicateId, InvalidVectors

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]

NO_NEIGHBOUR = -1
"""The id in a place of Neighbours that has no neighbour."""


@dataclass(frozen=True)
class Neighbours:
    """The k nearest stored rows of each of n queries, nearest first.

    ids : int64 (n, k); NO_NEIGHBOUR where fewer than k rows are stored.
    similarities : float32 (n, k), inner products; -inf where there is no neighbour.
    """

    ids: Int64
    similarities: Float32


class VectorIndex(Protocol):
    """Rows under ids, found again by inner product (the cosine, for rows of unit length)."""

    @property
    def dimension(self) -> int:
        """The length of a row."""
        ...

    def __len__(self) -> int:
        """How many rows are stored."""
        ...

    def ids(self) -> Int64:
        """All stored ids, ascending, int64 (n,)."""
        ...

    def add(self, ids: Int64, vectors: Float32) -> None:
        """Store float32 rows (n, dimension) under ids int64 (n,), all or none.

        Raises InvalidVectors or DuplicateId.
        """
        ...

    def erase(self, ids: Int64) -> int:
        """Forget these ids and return how many were stored; unknown ids are no error."""
        ...

    def search(self, vectors: Float32, k: int) -> Neighbours:
        """The k nearest stored rows of each query, float32 (n, dimension).

        Raises InvalidVectors, also for k < 1.
        """
        ...

    def save(self, file: Path, marks: Mapping[str, str]) -> None:
        """Write everything to a file, at once or not at all, with the caller's marks beside it."""
        ...

    def close(self) -> None:
        """Give back what the engine holds."""
        ...


def checked_vectors(vectors: Float32, dimension: int) -> Float32:
    """Rows as C-contiguous float32 (n, dimension). Raises InvalidVectors."""
    if vectors.dtype != np.float32 or vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise InvalidVectors(
            f"{vectors.dtype} rows of shape {vectors.shape}, expected float32 (n, {dimension})"
        )
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise InvalidVectors(f"row {row} has values that are not finite")
    return np.ascontiguousarray(vectors)


def checked_ids(ids: Int64, count: int, stored: set[int]) -> list[int]:
    """Ids that can be added. Raises InvalidVectors or DuplicateId."""
    if ids.dtype != np.int64 or ids.shape != (count,):
        raise InvalidVectors(f"{ids.dtype} ids of shape {ids.shape}, expected int64 ({count},)")
    wanted: list[int] = ids.tolist()
    if wanted and min(wanted) < 0:
        raise DuplicateId(f"id {min(wanted)} is negative, which means no neighbour")
    repeated = set(wanted) & stored
    if repeated or len(set(wanted)) != count:
        example = min(repeated) if repeated else next(i for i in wanted if wanted.count(i) > 1)
        raise DuplicateId(f"id {example} is stored already or given twice")
    return wanted


def checked_k(k: int) -> int:
    """Raises InvalidVectors for k < 1."""
    if k < 1:
        raise InvalidVectors(f"k = {k}, expected at least 1")
    return k
