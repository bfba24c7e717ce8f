"""Encodings of more numbers than the store holds, carried linearly to 128.

A projection is learned on people and belongs to the head that was trained on what it gives: they
are in one file. Encodings of two projections never meet.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gallery.errors import InvalidEncoding
from gallery.types import DIMENSION, Encodings, Float32


@dataclass(frozen=True)
class Projection:
    """vector @ matrix. matrix : float32 (d, 128).

    Nothing is subtracted: of networks whose numbers are all positive the mean is part of what tells
    people apart (`python -m tests.bench.views`).
    network_sha256 : see Traits.sha256; of the network whose encodings it was learned on.
    """

    matrix: Float32
    network_sha256: str

    def __post_init__(self) -> None:
        if self.matrix.ndim != 2 or self.matrix.shape[1] != DIMENSION:
            raise ValueError(
                f"a projection of shape {self.matrix.shape}, expected (d, {DIMENSION})"
            )
        if not np.isfinite(self.matrix).all():
            raise ValueError("a projection with numbers that are not finite")

    @cached_property
    def sha256(self) -> str:
        """Of its numbers, hexadecimal."""
        content = np.ascontiguousarray(self.matrix, dtype="<f4").tobytes()
        return hashlib.sha256(content).hexdigest()

    def apply(self, encodings: Encodings) -> Encodings:
        """Unit vectors (n, d) to unit vectors (n, 128); norms and agreement stay.

        Raises InvalidEncoding for a vector that the projection has nothing left of.
        """
        # In float64: the last bits must not depend on how many are projected at once.
        carried = encodings.vectors.astype(np.float64) @ self.matrix.astype(np.float64)
        lengths = np.linalg.norm(carried, axis=1, keepdims=True)
        if not (lengths > 1e-9).all():
            raise InvalidEncoding("an encoding of which the projection leaves nothing")
        vectors = (carried / lengths).astype(np.float32)
        return Encodings(vectors, encodings.norms, encodings.agreement)


def padded(encodings: Encodings) -> Encodings:
    """Vectors of fewer than 128 numbers with zeros behind them, which change no inner product."""
    missing = DIMENSION - encodings.vectors.shape[1]
    vectors = np.pad(encodings.vectors, ((0, 0), (0, missing)))
    return Encodings(vectors, encodings.norms, encodings.agreement)
