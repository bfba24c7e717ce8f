"""Open an index by the name of its engine. No other file names the engines."""

from __future__ import annotations

from pathlib import Path

from indexer.errors import SnapshotUnusable, UnknownEngine
from indexer.exact import ExactIndex
from indexer.faiss_index import FaissIndex
from indexer.protocol import VectorIndex
from indexer.snapshot import read_snapshot

_ENGINES = {engine.engine: engine for engine in (FaissIndex, ExactIndex)}
DEFAULT_ENGINE = FaissIndex.engine


def open_index(engine: str, dimension: int) -> VectorIndex:
    """Return an empty index. Raises UnknownEngine."""
    if engine not in _ENGINES:
        raise UnknownEngine(
            f"unknown engine {engine!r}, expected one of {', '.join(sorted(_ENGINES))}"
        )
    return _ENGINES[engine](dimension)


def load_index(engine: str, dimension: int, file: Path) -> tuple[VectorIndex, dict[str, str]]:
    """Return a saved index and the metadata it was saved with.

    Raises SnapshotUnusable, also for a file of another engine or dimension.
    """
    snapshot = read_snapshot(file)
    if (snapshot.engine, snapshot.dimension) != (engine, dimension):
        raise SnapshotUnusable(
            f"{file} has engine {snapshot.engine!r} and dimension {snapshot.dimension};"
            f" expected {engine!r} and {dimension}"
        )
    return _ENGINES[engine].from_payload(snapshot.payload, dimension), snapshot.metadata
