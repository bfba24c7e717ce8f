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
    """(vector - mean) @ matrix. mean : float32 (d,).  matrix : float32 (d, 128).

    network_sha256 : see Traits.sha256; of the network whose encodings it was learned on.
    """

    mean: Float32
    matrix: Float32
    network_sha256: str

    def __post_init__(self) -> None:
        if self.mean.shape != self.matrix.shape[:1] or self.matrix.shape[1:] != (DIMENSION,):
            raise ValueError(
                f"a projection of shapes {self.mean.shape} and {self.matrix.shape}, expected (d,)"
                f" and (d, {DIMENSION})"
            )
        if not (np.isfinite(self.mean).all() and np.isfinite(self.matrix).all()):
            raise ValueError("a projection with numbers that are not finite")

    @cached_property
    def sha256(self) -> str:
        """Of its numbers, hexadecimal."""
        digest = hashlib.sha256()
        for part in (self.mean, self.matrix):
            digest.update(np.ascontiguousarray(part, dtype="<f4").tobytes())
        return digest.hexdigest()

    def apply(self, encodings: Encodings) -> Encodings:
        """Unit vectors (n, d) to unit vectors (n, 128); norms and agreement stay.

        Raises InvalidEncoding for a vector that the projection has nothing left of.
        """
        # In float64: the last bits must not depend on how many are projected at once.
        carried = (encodings.vectors.astype(np.float64) - self.mean) @ self.matrix.astype(
            np.float64
        )
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
