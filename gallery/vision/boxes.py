"""Boxes around faces: left, top, right, bottom, float32 (n, 4), with or without more columns."""

from __future__ import annotations

import numpy as np

from gallery.types import Float32, Int64


def suppressed(boxes: Float32, scores: Float32, limit: float) -> Int64:
    """The boxes left when of two that overlap the likelier is kept; the likeliest first.

    limit : the most overlap of two that are both kept, as intersection over union.
    """
    return _suppressed(boxes, scores, limit, one=0.0, of_smaller=False)


def suppressed_in_smaller(boxes: Float32, scores: Float32, limit: float) -> Int64:
    """As `suppressed`, where the overlap is a share of the smaller box, in whole pixels."""
    return _suppressed(boxes, scores, limit, one=1.0, of_smaller=True)


def _suppressed(
    boxes: Float32, scores: Float32, limit: float, *, one: float, of_smaller: bool
) -> Int64:
    order = np.argsort(-scores, kind="stable")
    left, top, right, bottom = boxes[order, :4].T
    areas = (right - left + one) * (bottom - top + one)
    remaining = np.arange(len(order))
    kept = []
    while len(remaining):
        best, others = remaining[0], remaining[1:]
        kept.append(best)
        width = np.minimum(right[others], right[best]) - np.maximum(left[others], left[best]) + one
        height = np.minimum(bottom[others], bottom[best]) - np.maximum(top[others], top[best]) + one
        shared = np.maximum(width, 0.0) * np.maximum(height, 0.0)
        if of_smaller:
            whole = np.minimum(areas[others], areas[best])
        else:
            whole = areas[others] + areas[best] - shared
        remaining = others[shared <= limit * whole]
    return order[np.array(kept, dtype=np.int64)]


def refined(boxes: Float32, offsets: Float32) -> Float32:
    """Boxes moved by a network's offsets, (n, 4), which are shares of their sides in pixels."""
    sides = boxes[:, 2:4] - boxes[:, :2] + 1  # (n, 2)
    moved = boxes.copy()
    moved[:, :4] += offsets * np.concatenate([sides, sides], axis=1)
    return moved


def squared(boxes: Float32) -> Float32:
    """Boxes as squares with the same centres and the longer sides."""
    sides = boxes[:, 2:4] - boxes[:, :2]
    longer = sides.max(axis=1, keepdims=True)
    squares = boxes.copy()
    squares[:, :2] += sides * np.float32(0.5) - longer * np.float32(0.5)
    squares[:, 2:4] = squares[:, :2] + longer
    return squares


def inside(boxes: Float32, width: int, height: int) -> tuple[Float32, Int64]:
    """The boxes that meet a picture, and the parts of it that they cover, in whole pixels.

    Returns float32 (n, ...) and int64 (n, 4), left, top, right, bottom.
    """
    whole = boxes[:, :4].astype(np.int64)  # towards zero
    parts = np.concatenate(
        [np.maximum(whole[:, :2], 1) - 1, np.minimum(whole[:, 2:], (width, height))], axis=1
    )
    meets = (parts[:, 2:] > parts[:, :2]).all(axis=1)
    return boxes[meets], parts[meets]
