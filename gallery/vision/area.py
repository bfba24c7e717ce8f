"""Shrinking by area: each pixel of the result is the mean of the pixels that it touches.

The same as PyTorch's interpolate(mode="area"), which the detector was built on.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from gallery.types import Float32, Float64, Int32, Int64, UInt8

_STRIP = 64
"""Columns of a result that are made at a time: each depends on few columns of the picture."""


class Planes:
    """A picture that is shrunk many times, in whole or in part.

    values : (3, h, w), uint8 or float32.
    """

    def __init__(self, values: UInt8 | Float32) -> None:
        _, self.height, self.width = values.shape
        kind = np.dtype(np.int32 if values.dtype == np.uint8 else np.float64)
        self._sums: Int32 | Float64 = np.zeros((3, self.height + 1, self.width), kind)
        for row in range(self.height):  # a row at a time is five times as fast as numpy's cumsum
            np.add(self._sums[:, row], values[:, row], out=self._sums[:, row + 1])

    @classmethod
    def of(cls, pixels: UInt8) -> Planes:
        """pixels : uint8 (h, w, 3)."""
        return cls(np.ascontiguousarray(pixels.transpose(2, 0, 1)))

    def shrunk(
        self, height: int, width: int, part: tuple[int, int, int, int] | None = None
    ) -> Float32:
        """The picture or a part of it, float32 (3, height, width).

        part : left, top, right, bottom.
        """
        left, top, right, bottom = part or (0, 0, self.width, self.height)
        starts, ends = _windows(bottom - top, height)
        sums = self._sums[:, :, left:right]
        rows = (sums[:, ends + top] - sums[:, starts + top]).astype(np.float32)
        rows /= (ends - starts).astype(np.float32)[:, None]
        result = np.empty((3, height, width), np.float32)
        for columns, needed, weights in _strips(right - left, width):
            np.matmul(rows[:, :, needed], weights, out=result[:, :, columns])
        return result


@lru_cache(maxsize=4096)
def _windows(size: int, result: int) -> tuple[Int64, Int64]:
    """Where the pixels that each of the result's touches start and end."""
    steps = np.arange(result, dtype=np.int64)
    return steps * size // result, -((steps + 1) * size // -result)


@lru_cache(maxsize=256)
def _strips(size: int, result: int) -> list[tuple[slice, slice, Float32]]:
    """Strips of the result's columns, the columns that they depend on, and the weights of these."""
    starts, ends = _windows(size, result)
    strips = []
    for first in range(0, result, _STRIP):
        columns = slice(first, min(result, first + _STRIP))
        needed = slice(int(starts[columns][0]), int(ends[columns][-1]))
        places = np.arange(needed.start, needed.stop)[:, None]
        inside = (places >= starts[columns]) & (places < ends[columns])
        strips.append((columns, needed, (inside / inside.sum(axis=0)).astype(np.float32)))
    return strips
