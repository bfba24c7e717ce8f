"""A cohort of strangers, against which an encoding's cosines are normalised (cohort z-score).

Some faces resemble everyone: a cosine between two of them says less than the same cosine between
two unusual faces. Each cohort centre is the mean encoding of three or more people, nobody's face.
"""

from __future__ import annotations

import numpy as np

from gallery.types import DIMENSION, Float32

NEAREST = 20
"""An encoding is compared with this many of its nearest centres."""
_BATCH = 8192


class Cohort:
    """centres : float32 (k, 128), unit length, with k >= NEAREST."""

    def __init__(self, centres: Float32) -> None:
        if centres.ndim != 2 or centres.shape[1] != DIMENSION or len(centres) < NEAREST:
            raise ValueError(
                f"a cohort of shape {centres.shape}, expected at least {NEAREST} x {DIMENSION}"
            )
        self.centres = centres

    def statistics(self, vectors: Float32) -> Float32:
        """Mean and standard deviation of the cosines to the nearest centres.

        vectors : (n, 128), unit length. Returns float32 (n, 2).
        """
        statistics = np.empty((len(vectors), 2), dtype=np.float32)
        for start in range(0, len(vectors), _BATCH):
            batch = slice(start, start + _BATCH)
            cosines = vectors[batch] @ self.centres.T
            cosines.partition(-NEAREST, axis=1)
            nearest = cosines[:, -NEAREST:]
            nearest.mean(axis=1, out=statistics[batch, 0])
            nearest.std(axis=1, ddof=1, out=statistics[batch, 1])
        return statistics
