"""A graph of who is near whom."""

from __future__ import annotations

from dataclasses import dataclass

from indexer.protocol import Float32, Int64


@dataclass(frozen=True)
class Edges:
    """Undirected edges, each once, with first < second.

    first, second : int64 (e,), ids.  similarities : float32 (e,), the engine's inner products.
    """

    first: Int64
    second: Int64
    similarities: Float32
