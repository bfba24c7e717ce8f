"""One network of a head: the features of a pair to two logits, with no library but numpy.

`gallery/training/pair_network.py` is the same network in torch, which fits the weights.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gallery.types import Float32

_BLOCK = 64
"""Pairs multiplied at once. OpenBLAS shares out larger blocks among its threads, which may wait for
each other many times as long as they compute."""


class DenseNetwork:
    """Standardised features, Dense(hidden, relu) unless `hidden` is 0, and Dense(2).

    arrays : float32, by the names that they have in a head's file: "offset" and "scale" (width,),
        the mean and deviation of the features over the training pairs; "dense.weight" (hidden,
        width) and "dense.bias" (hidden,); "out.weight" (2, hidden or width) and "out.bias" (2,).

    Raises ValueError for other names or shapes, and for a scale that is not positive.
    """

    def __init__(self, arrays: Mapping[str, Float32], width: int, hidden: int) -> None:
        expected: dict[str, tuple[int, ...]] = {"offset": (width,), "scale": (width,)}
        if hidden:
            expected |= {"dense.weight": (hidden, width), "dense.bias": (hidden,)}
        expected |= {"out.weight": (2, hidden or width), "out.bias": (2,)}
        shapes = {name: array.shape for name, array in arrays.items()}
        if shapes != expected:
            raise ValueError(f"a network of {shapes}, expected {expected}")
        if not (arrays["scale"] > 0).all():
            raise ValueError("a network with a feature scale that is not positive")
        self.arrays = arrays
        self._has_hidden_layer = bool(hidden)
        first = "dense" if hidden else "out"
        # The bias is the weight of a feature that is always 1: faster than adding it afterwards.
        weight, bias = arrays[f"{first}.weight"], arrays[f"{first}.bias"]
        self._first_layer: Float32 = np.concatenate([weight.T, bias[None]])  # (width + 1, units)

    def logits(self, features: Float32) -> Float32:
        """Return the logits (different, same), float32 (n, 2), of features (n, width)."""
        arrays, (count, width) = self.arrays, features.shape
        x: Float32 = np.ones((count, width + 1), dtype=np.float32)
        np.subtract(features, arrays["offset"], out=x[:, :-1])
        x[:, :-1] /= arrays["scale"]
        logits = np.empty((count, 2), dtype=np.float32)
        for start in range(0, count, _BLOCK):
            block = x[start : start + _BLOCK] @ self._first_layer
            if self._has_hidden_layer:
                np.maximum(block, 0.0, out=block)
                block = block @ arrays["out.weight"].T
                block += arrays["out.bias"]
            logits[start : start + _BLOCK] = block
        return logits
