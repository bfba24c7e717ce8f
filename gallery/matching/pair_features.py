"""What the head sees of a pair: named features, each symmetric, so that the verdict does not depend
on which side is the query.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from gallery.matching.cohort import Cohort
from gallery.types import DIMENSION, Encodings, Float32

_MEAN, _DEVIATION, _NORM, _AGREEMENT = range(DIMENSION, DIMENSION + 4)
SIDE_WIDTH = DIMENSION + 4
"""One side of a pair: the encoding, its cohort mean and deviation, its norm, its agreement."""


def sides_of(cohort: Cohort | None, encodings: Encodings) -> Float32:
    """Return one side of a pair for each encoding, float32 (n, SIDE_WIDTH).

    cohort : for the feature "standing"; None if it is not used.
    """
    if cohort is None:
        statistics = np.zeros((len(encodings), 2), dtype=np.float32)
    else:
        statistics = cohort.statistics(encodings.vectors)
    return np.concatenate(
        [
            encodings.vectors,
            statistics,
            encodings.norms[:, None],
            encodings.agreement[:, None],
        ],
        axis=1,
    )


def _row_products(a: Float32, b: Float32) -> Float32:
    """Return the inner product of each row of a with that of b, (n,)."""
    products: Float32 = np.einsum("ij,ij->i", a, b)
    return products


def _cosine(a: Float32, b: Float32) -> Float32:
    return _row_products(a[:, :DIMENSION], b[:, :DIMENSION])


def _unnormalised(side: Float32) -> Float32:
    """Return the encoding with its original norm."""
    return side[:, :DIMENSION] * side[:, _NORM, None]


def _distance(a: Float32, b: Float32) -> Float32:
    difference = _unnormalised(a) - _unnormalised(b)
    return np.sqrt(_row_products(difference, difference))


def _mean(a: Float32, b: Float32) -> Float32:
    return (a + b) * np.float32(0.5)


def _symmetric(a: Float32, b: Float32) -> Float32:
    """Return two symmetric features of one number per side: (n,), (n,) -> (n, 2)."""
    return np.stack([_mean(a, b), np.abs(a - b)], axis=1)


def _cohort_z_scores(a: Float32, b: Float32) -> Float32:
    cosine = _cosine(a, b)
    return _symmetric(
        (cosine - a[:, _MEAN]) / a[:, _DEVIATION], (cosine - b[:, _MEAN]) / b[:, _DEVIATION]
    )


_FEATURES: Mapping[str, tuple[int, Callable[[Float32, Float32], Float32]]] = {
    "absolute_difference": (DIMENSION, lambda a, b: np.abs(a[:, :DIMENSION] - b[:, :DIMENSION])),
    "product": (DIMENSION, lambda a, b: a[:, :DIMENSION] * b[:, :DIMENSION]),
    "distance": (1, lambda a, b: _distance(a, b)[:, None]),
    "cosine": (1, lambda a, b: _cosine(a, b)[:, None]),
    # The cosine's z-score among the cosines of each side to its nearest strangers.
    "standing": (2, _cohort_z_scores),
    "norm": (2, lambda a, b: _symmetric(a[:, _NORM], b[:, _NORM])),
    "mean_norm": (1, lambda a, b: _mean(a[:, _NORM], b[:, _NORM])[:, None]),
    "agreement": (2, lambda a, b: _symmetric(a[:, _AGREEMENT], b[:, _AGREEMENT])),
}
FEATURES = tuple(_FEATURES)
"""The names of the features that a head may use."""


def features_width(names: Sequence[str]) -> int:
    """Return how many numbers these features are. Raises ValueError for none and unknown ones."""
    if not names or not set(names) <= set(FEATURES):
        raise ValueError(f"features {list(names)}; expected a selection of {', '.join(FEATURES)}")
    return sum(_FEATURES[name][0] for name in names)


def pair_features(names: Sequence[str], a: Float32, b: Float32) -> Float32:
    """Return the features of the pairs (a[i], b[i]), float32 (n, width), symmetric in a and b.

    a, b : sides, float32 (n, SIDE_WIDTH).
    """
    return np.concatenate([_FEATURES[name][1](a, b) for name in names], axis=1)
