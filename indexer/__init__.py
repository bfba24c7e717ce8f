"""Nearest-neighbour search: float32 rows under int64 ids. It knows nothing about faces."""

from indexer.errors import (
    DuplicateId,
    InvalidVectors,
    SnapshotUnusable,
    UnknownEngine,
    VectorIndexError,
)
from indexer.graph import Edges
from indexer.opening import DEFAULT_ENGINE, load_index, open_index
from indexer.protocol import NO_NEIGHBOUR, Neighbours, VectorIndex

__all__ = [
    "DEFAULT_ENGINE",
    "NO_NEIGHBOUR",
    "DuplicateId",
    "Edges",
    "InvalidVectors",
    "Neighbours",
    "SnapshotUnusable",
    "UnknownEngine",
    "VectorIndex",
    "VectorIndexError",
    "load_index",
    "open_index",
]
