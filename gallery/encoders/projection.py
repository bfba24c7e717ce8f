"""A linear projection to 128 numbers, for networks that return more.

A projection is trained together with a head, and stored in the head's file. Encodings of different
projections are never compared.
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
    """vector @ matrix.

    matrix : float32 (d, 128).
    network_sha256 : the Traits.sha256 of the network whose encodings it was trained on.

    The mean is not subtracted: when a network's numbers are all positive, it helps to tell people
    apart (`python -m tests.bench.views`).
    """

    matrix: Float32
    network_sha256: str

    def __post_init__(self) -> None:
        if self.matrix.ndim != 2 or self.matrix.shape[1] != DIMENSION:
            raise ValueError(
                f"a projection has shape {self.matrix.shape}, expected (d, {DIMENSION})"
            )
        if not np.isfinite(self.matrix).all():
            raise ValueError("a projection has numbers that are not finite")

    @cached_property
    def sha256(self) -> str:
        """The hash of the matrix, hexadecimal."""
        content = np.ascontiguousarray(self.matrix, dtype="<f4").tobytes()
        return hashlib.sha256(content).hexdigest()

    def apply(self, encodings: Encodings) -> Encodings:
        """Project unit vectors (n, d) to unit vectors (n, 128); norms and agreement stay.

        Raises InvalidEncoding when a projected vector has length zero.
        """
        # In float64, since the last bits must not depend on how many are projected at once.
        projected = encodings.vectors.astype(np.float64) @ self.matrix.astype(np.float64)
        lengths = np.linalg.norm(projected, axis=1, keepdims=True)
        if not (lengths > 1e-9).all():
            raise InvalidEncoding("the projection of an encoding has length zero")
        vectors = (projected / lengths).astype(np.float32)
        return Encodings(vectors, encodings.norms, encodings.agreement)


def padded(encodings: Encodings) -> Encodings:
    """Pad vectors of fewer than 128 numbers with zeros, which changes no inner product."""
    missing = DIMENSION - encodings.vectors.shape[1]
    vectors = np.pad(encodings.vectors, ((0, 0), (0, missing)))
    return Encodings(vectors, encodings.norms, encodings.agreement)
