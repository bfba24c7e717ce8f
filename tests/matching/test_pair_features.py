"""The features of a pair are as defined, in either order of its sides."""

from __future__ import annotations

import numpy as np
import pytest

from gallery.matching.cohort import Cohort
from gallery.matching.pair_features import FEATURES, features_width, pair_features, sides_of
from gallery.types import Encodings, Float32, Float64


@pytest.fixture
def sides(unit_rows) -> tuple[Float32, Float32]:
    """Two sides of 60 pairs, the second one as like the first as the same person's."""
    rng = np.random.default_rng(0)
    cohort, a = Cohort(unit_rows(40, 1).vectors), unit_rows(60, 2)
    near = a.vectors + 0.7 * unit_rows(60, 3).vectors
    b = Encodings(
        near / np.linalg.norm(near, axis=1, keepdims=True),
        rng.uniform(0.8, 1.8, 60).astype(np.float32),
        rng.uniform(0.8, 1.0, 60).astype(np.float32),
    )
    return sides_of(cohort, a), sides_of(cohort, b)


def by_definition(name: str, a: Float64, b: Float64) -> Float64:
    """A feature of one pair.  a, b : one side each, (132,)."""
    (x, (mean_a, deviation_a, norm_a, agreement_a)) = a[:128], a[128:]
    (y, (mean_b, deviation_b, norm_b, agreement_b)) = b[:128], b[128:]

    def mean_and_gap(first: float, second: float) -> list[float]:
        return [(first + second) / 2, abs(first - second)]

    return np.atleast_1d(
        {
            "absolute_difference": abs(x - y),
            "product": x * y,
            "distance": np.linalg.norm(x * norm_a - y * norm_b),
            "cosine": x @ y,
            "standing": mean_and_gap(
                (x @ y - mean_a) / deviation_a, (x @ y - mean_b) / deviation_b
            ),
            "norm": mean_and_gap(norm_a, norm_b),
            "mean_norm": (norm_a + norm_b) / 2,
            "agreement": mean_and_gap(agreement_a, agreement_b),
        }[name]
    )


@pytest.mark.parametrize("name", FEATURES)
def test_feature_is_as_defined(sides: tuple[Float32, Float32], name: str) -> None:
    a, b = sides
    features = pair_features([name], a, b)
    assert features.dtype == np.float32 and features.shape == (60, features_width([name]))
    expected = [by_definition(name, *pair) for pair in zip(*np.float64(sides), strict=True)]
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-5)
    assert features.tobytes() == pair_features([name], b, a).tobytes()


def test_features_stand_side_by_side(sides: tuple[Float32, Float32]) -> None:
    both = pair_features(["norm", "cosine"], *sides)
    assert np.array_equal(both[:, :2], pair_features(["norm"], *sides))
    assert np.array_equal(both[:, 2:], pair_features(["cosine"], *sides))


@pytest.mark.parametrize("names", [[], ["smile"], ["cosine", "smile"]])
def test_none_and_unknown_features_are_refused(names: list[str]) -> None:
    with pytest.raises(ValueError, match="expected a selection of absolute_difference"):
        features_width(names)
