"""A graph of near pairs."""

from __future__ import annotations

from dataclasses import dataclass

from indexer.protocol import Float32, Int64


@dataclass(frozen=True)
class Edges:
    """Undirected edges between rows, each once, with first < second.

    first, second : int64 (e,), rows.  similarities : float32 (e,), their inner products.
    """

    first: Int64
    second: Int64
    similarities: Float32
