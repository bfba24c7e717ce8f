"""Vectors in, neighbours out. Knows int64 ids and float32 rows, and nothing about faces."""

from indexer.errors import (
    DuplicateId,
    InvalidVectors,
    SnapshotUnusable,
    UnknownEngine,
    VectorIndexError,
)
from indexer.graph import Edges, neighbour_graph
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
    "neighbour_graph",
    "open_index",
]
