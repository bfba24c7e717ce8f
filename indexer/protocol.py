"""The protocol of an index, and the checks that all engines share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from indexer.errors import InvalidVectors

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]

NO_NEIGHBOUR = -1
"""The id in Neighbours where there is no neighbour."""


@dataclass(frozen=True)
class Neighbours:
    """The k nearest stored rows of each of n queries, nearest first.

    ids : int64 (n, k); NO_NEIGHBOUR where fewer than k rows are stored.
    similarities : float32 (n, k), inner products; -inf where there is no neighbour.
    """

    ids: Int64
    similarities: Float32


class VectorIndex(Protocol):
    """Rows under ids, searched by inner product (the cosine, for rows of unit length)."""

    @property
    def dimension(self) -> int:
        """The length of a row."""
        ...

    def __len__(self) -> int:
        """Return how many rows are stored."""
        ...

    def ids(self) -> Int64:
        """Return all stored ids, ascending, int64 (n,)."""
        ...

    def add(self, ids: Int64, vectors: Float32) -> None:
        """Store rows, float32 (n, dimension), under ids, int64 (n,): all of them or none.

        Raises InvalidVectors or DuplicateId.
        """
        ...

    def erase(self, ids: Int64) -> int:
        """Erase these ids and return how many were stored. Unknown ids are ignored."""
        ...

    def search(self, vectors: Float32, k: int) -> Neighbours:
        """Return the k nearest stored rows of each query, float32 (n, dimension).

        Raises InvalidVectors, also if k < 1.
        """
        ...

    def is_slow(self) -> bool:
        """Whether `speed_up` is worth its time."""
        ...

    def described(self) -> str:
        """How the rows are searched, in words."""
        ...

    def speed_up(self) -> None:
        """Prepare for quick searches of as many rows as there are. Takes seconds for a million."""
        ...

    def save(self, file: Path, metadata: Mapping[str, str]) -> None:
        """Write the index and the caller's metadata to a file, atomically. Raises OSError."""
        ...

    def close(self) -> None:
        """Release the engine's memory."""
        ...


def checked_vectors(vectors: Float32, dimension: int) -> Float32:
    """Return rows as C-contiguous float32 (n, dimension). Raises InvalidVectors."""
    if vectors.dtype != np.float32 or vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise InvalidVectors(
            f"{vectors.dtype} rows of shape {vectors.shape}, expected float32 (n, {dimension})"
        )
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise InvalidVectors(f"row {row} has values that are not finite")
    return np.ascontiguousarray(vectors)


def checked_k(k: int) -> int:
    """Return k. Raises InvalidVectors if k < 1."""
    if k < 1:
        raise InvalidVectors(f"k = {k}, expected at least 1")
    return k
