"""The only file that names the engines."""

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
    """An empty index. Raises UnknownEngine."""
    if engine not in _ENGINES:
        raise UnknownEngine(f"engine {engine!r}; there are {', '.join(sorted(_ENGINES))}")
    return _ENGINES[engine](dimension)


def load_index(engine: str, dimension: int, file: Path) -> tuple[VectorIndex, dict[str, str]]:
    """A saved index and the marks it was saved with.

    Raises SnapshotUnusable, also when it was saved by another engine or with another dimension.
    """
    snapshot = read_snapshot(file)
    if (snapshot.engine, snapshot.dimension) != (engine, dimension):
        raise SnapshotUnusable(
            f"{file} is of engine {snapshot.engine!r}, dimension {snapshot.dimension};"
            f" expected {engine!r}, {dimension}"
        )
    return _ENGINES[engine].from_payload(snapshot.payload, dimension), snapshot.marks
