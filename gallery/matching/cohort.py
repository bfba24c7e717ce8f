"""Strangers in the aggregate, and how an encoding stands against them.

Some faces are like everyone's; a cosine between two of them says less than the same cosine between
two that are like no one's. The cohort holds means of the encodings
of three or more people each, nobody's face.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from gallery.types import DIMENSION, Float32

NEAREST = 20
"""An encoding's standing is measured on its nearest centres."""
_BLOCK = 8192


class Cohort(nn.Module):
    """centres : float32 (k, 128), unit length, k of at least NEAREST."""

    centres: Tensor

    def __init__(self, centres: Float32) -> None:
        super().__init__()
        if centres.ndim != 2 or centres.shape[1] != DIMENSION or len(centres) < NEAREST:
            raise ValueError(
                f"a cohort of shape {centres.shape}, expected at least {NEAREST} x {DIMENSION}"
            )
        self.register_buffer("centres", torch.from_numpy(centres))

    def standing(self, vectors: Float32) -> Float32:
        """Mean and deviation of the cosines to the nearest centres: (n, 128) -> float32 (n, 2)."""
        found = [np.empty((0, 2), dtype=np.float32)]
        with torch.inference_mode():
            for start in range(0, len(vectors), _BLOCK):
                block = torch.from_numpy(vectors[start : start + _BLOCK])
                near = (block @ self.centres.T).topk(NEAREST, dim=1).values
                found.append(torch.stack([near.mean(dim=1), near.std(dim=1)], dim=1).numpy())
        return np.concatenate(found)
