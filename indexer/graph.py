"""The k-nearest-neighbour graph over everything stored, built in blocks of bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from indexer.protocol import NO_NEIGHBOUR, Float32, Int64, VectorIndex


@dataclass(frozen=True)
class Edges:
    """Undirected edges, each once, with first < second.

    first, second : int64 (e,), ids.  similarities : float32 (e,), the engine's inner products.
    """

    first: Int64
    second: Int64
    similarities: Float32


def neighbour_graph(
    index: VectorIndex,
    ids: Int64,
    vectors: Float32,
    k: int,
    *,
    block: int = 1024,
    progress: Callable[[int], None] = lambda _: None,
) -> Edges:
    """Edges from each row to its k nearest others in the index.

    ids, vectors : what the index holds, int64 (n,) and float32 (n, dimension).
    progress : called with the number of rows done after each block.
    """
    parts: list[tuple[Int64, Int64, Float32]] = []
    for start in range(0, len(ids), block):
        rows = ids[start : start + block]
        near = index.search(vectors[start : start + block], k + 1)  # a row finds itself too
        others = np.broadcast_to(rows[:, None], near.ids.shape)
        real = (near.ids != NO_NEIGHBOUR) & (near.ids != others)
        a, b = others[real], near.ids[real]
        parts.append((np.minimum(a, b), np.maximum(a, b), near.similarities[real]))
        progress(min(start + block, len(ids)))
    if not parts:
        empty = np.empty(0, dtype=np.int64)
        return Edges(empty, empty, np.empty(0, dtype=np.float32))
    first, second, similarities = (np.concatenate(column) for column in zip(*parts, strict=True))
    _, once = np.unique(np.stack([first, second]), axis=1, return_index=True)
    return Edges(first[once], second[once], similarities[once])
