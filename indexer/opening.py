"""Open an index by the name of its engine. No other file names the engines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from indexer.errors import SnapshotUnusable, UnknownEngine
from indexer.exact import ExactIndex
from indexer.protocol import VectorIndex
from indexer.snapshot import opened_snapshot

if TYPE_CHECKING:
    from indexer.faiss_index import FaissIndex

DEFAULT_ENGINE = "faiss"


def open_index(engine: str, dimension: int) -> VectorIndex:
    """Return an empty index. Raises UnknownEngine."""
    return _engine(engine)(dimension)


def load_index(engine: str, dimension: int, file: Path) -> tuple[VectorIndex, dict[str, str]]:
    """Return a saved index and the metadata it was saved with.

    Raises UnknownEngine, or SnapshotUnusable, also for a file of another engine or dimension.
    """
    with opened_snapshot(file) as snapshot:
        if (snapshot.engine, snapshot.dimension) != (engine, dimension):
            raise SnapshotUnusable(
                f"{file} has engine {snapshot.engine!r} and dimension {snapshot.dimension};"
                f" expected {engine!r} and {dimension}"
            )
        index = _engine(engine).from_payload(snapshot.payload, dimension, snapshot.details)
        return index, snapshot.metadata


def _engine(name: str) -> type[ExactIndex] | type[FaissIndex]:
    if name == "exact":
        return ExactIndex
    if name == "faiss":
        from indexer.faiss_index import FaissIndex  # slow to import, and not every use searches

        return FaissIndex
    raise UnknownEngine(f"unknown engine {name!r}, expected one of exact, faiss")
