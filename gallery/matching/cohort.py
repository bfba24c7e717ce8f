"""A cohort of strangers, against which an encoding's cosines are normalised (cohort z-score).

Some faces resemble everyone: a cosine between two of them says less than the same cosine between
two unusual faces. Each cohort centre is the mean encoding of three or more people, nobody's face.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from gallery.types import DIMENSION, Float32

NEAREST = 20
"""An encoding is compared with this many of its nearest centres."""
_BATCH = 8192


class Cohort(nn.Module):
    """centres : float32 (k, 128), unit length, with k >= NEAREST."""

    centres: Tensor

    def __init__(self, centres: Float32) -> None:
        super().__init__()
        if centres.ndim != 2 or centres.shape[1] != DIMENSION or len(centres) < NEAREST:
            raise ValueError(
                f"a cohort of shape {centres.shape}, expected at least {NEAREST} x {DIMENSION}"
            )
        self.register_buffer("centres", torch.from_numpy(centres))

    def statistics(self, vectors: Float32) -> Float32:
        """Mean and standard deviation of the cosines to the nearest centres.

        vectors : (n, 128), unit length. Returns float32 (n, 2).
        """
        statistics = [np.empty((0, 2), dtype=np.float32)]
        with torch.inference_mode():
            for start in range(0, len(vectors), _BATCH):
                batch = torch.from_numpy(vectors[start : start + _BATCH])
                cosines = (batch @ self.centres.T).topk(NEAREST, dim=1).values
                moments = torch.stack([cosines.mean(dim=1), cosines.std(dim=1)], dim=1)
                statistics.append(moments.numpy())
        return np.concatenate(statistics)
