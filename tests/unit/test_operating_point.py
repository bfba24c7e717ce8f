"""The bias goes through the measured points, grows with the gallery, and decides the verdict."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gallery.operating_point import PROMISED_RATE, OperatingCurve, OperatingPoint, operating_point

RATES = np.linspace(0.0, -4.0, 21)
MARGINS = np.concatenate([np.linspace(-8.0, 2.0, 15), 2.0 + 0.7 * np.arange(1, 7)])


@pytest.fixture
def curve() -> OperatingCurve:
    """Margins from -8 to 6.2 for rates from 1 to 1e-4; the last six points on a line."""
    return OperatingCurve(RATES, MARGINS)


def test_the_curve_goes_through_its_points_and_never_under_zero(curve: OperatingCurve) -> None:
    for rate, margin in zip(RATES, MARGINS, strict=True):
        assert curve.margin_at(10.0**rate) == pytest.approx(max(0.0, margin), abs=1e-9)


def test_between_two_points_it_is_the_line_between_them(curve: OperatingCurve) -> None:
    for i in range(15, 20):
        between = 10.0 ** ((RATES[i] + RATES[i + 1]) / 2)
        wanted = (MARGINS[i] + MARGINS[i + 1]) / 2
        assert curve.margin_at(between) == pytest.approx(wanted, abs=1e-9)


def test_beyond_the_last_point_the_tails_line_is_carried_on(curve: OperatingCurve) -> None:
    for rate in (-4.0, -4.2, -5.0, -8.0):
        wanted = MARGINS[-1] + (-4.0 - rate) * 0.7 / 0.2
        assert curve.margin_at(10.0**rate) == pytest.approx(wanted, rel=1e-6)


steps = st.floats(0.01, 3.0)


@given(
    st.lists(st.tuples(steps, st.floats(0.0, 3.0)), min_size=2, max_size=12),
    st.integers(2, 12),
    st.lists(st.floats(1e-12, 1.0), min_size=2, max_size=30),
)
def test_a_rarer_mistake_never_needs_a_smaller_margin(
    shape: list[tuple[float, float]], tail: int, rates: list[float]
) -> None:
    falls, rises = np.array(shape).T
    curve = OperatingCurve(-np.cumsum(falls), np.cumsum(rises) - 5.0, tail)
    last = float(10.0 ** curve.log10_rates[-1])
    asked = sorted([*rates, last, 0.99 * last], reverse=True)
    margins = [curve.margin_at(rate) for rate in asked]
    assert (np.diff(margins) >= -1e-9).all() and margins[0] >= 0.0


def test_the_bias_grows_with_the_gallery(curve: OperatingCurve) -> None:
    sizes = [0, 1, 2, 10, 100, 10_000, 1_000_000, 100_000_000]
    biases = [operating_point(curve, faces).bias for faces in sizes]
    assert biases[0] == biases[1] and biases == sorted(biases)
    assert 0.0 <= biases[0] < biases[-1] and all(map(math.isfinite, biases))


def test_the_point_bears_what_it_was_made_for(curve: OperatingCurve) -> None:
    point = operating_point(curve, 300)
    assert (point.rate, point.faces) == (PROMISED_RATE, 300)
    assert operating_point(curve, 300, rate=0.001).bias > point.bias


def test_a_gallery_of_n_faces_has_the_margin_of_its_share(curve: OperatingCurve) -> None:
    for faces in (1, 7, 500):
        wanted = curve.margin_at(PROMISED_RATE / 2 / faces)
        assert operating_point(curve, faces).bias == wanted


def test_the_curve_comes_back_from_json_as_it_was(curve: OperatingCurve) -> None:
    again = OperatingCurve.from_json(json.loads(json.dumps(curve.as_json())))
    np.testing.assert_array_equal(again.log10_rates, curve.log10_rates)
    np.testing.assert_array_equal(again.margins, curve.margins)
    assert again.tail == curve.tail
    for rate in (0.3, 1e-3, 1e-9):
        assert again.margin_at(rate) == curve.margin_at(rate)


def _kept(**changes: Any) -> dict[str, Any]:
    return {"log10_rates": [-1.0, -2.0, -3.0], "margins": [1.0, 2.0, 3.0], "tail": 3, **changes}


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param({}, id="empty"),
        pytest.param([], id="a list"),
        pytest.param(_kept(margins=[1.0, 2.0]), id="fewer margins"),
        pytest.param(_kept(log10_rates=[-1.0], margins=[1.0]), id="one point"),
        pytest.param(_kept(log10_rates=[], margins=[]), id="no points"),
        pytest.param(_kept(log10_rates=[-1.0, -1.0, -3.0]), id="rates that stand still"),
        pytest.param(_kept(log10_rates=[-3.0, -2.0, -1.0]), id="rates that rise"),
        pytest.param(_kept(margins=[3.0, 2.0, 1.0]), id="margins that fall"),
        pytest.param(_kept(margins=[1.0, math.nan, 3.0]), id="NaN"),
        pytest.param(_kept(margins=[1.0, 2.0, math.inf]), id="infinity"),
        pytest.param(_kept(margins=["a", "b", "c"]), id="words"),
        pytest.param(_kept(margins=[[1.0], [2.0], [3.0]]), id="two axes"),
        pytest.param(_kept(margins=None), id="null"),
        pytest.param(_kept(tail="many"), id="a tail that is a word"),
        pytest.param(_kept(tail=None), id="a tail that is null"),
        pytest.param(_kept(tail=0), id="a tail of no points"),
        pytest.param(_kept(tail=1), id="a tail of one point"),
        pytest.param(_kept(tail=-2), id="a negative tail"),
        pytest.param({k: v for k, v in _kept().items() if k != "tail"}, id="no tail"),
    ],
)
def test_what_is_no_curve_is_refused(kept: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        OperatingCurve.from_json(kept)


logits = st.lists(
    st.tuples(st.floats(-60, 60, width=32), st.floats(-60, 60, width=32)), min_size=1, max_size=20
)


@given(logits, st.floats(0.0, 20.0))
@example([(0.0, 2.0**-70)], 0.0)
def test_over_one_half_is_exactly_a_positive_margin(pairs: list[tuple[float, float]], bias: float):
    point = OperatingPoint(bias, PROMISED_RATE, 10)
    probabilities, margins = point.judge(np.array(pairs, np.float32))
    assert probabilities.dtype == margins.dtype == np.float64
    assert probabilities.shape == margins.shape == (len(pairs),)
    assert ((probabilities >= 0.0) & (probabilities <= 1.0)).all()
    assert ((probabilities > 0.5) == (margins > 0.0)).all()
    for (different, same), margin in zip(pairs, margins, strict=True):
        assert margin == pytest.approx(same - different - bias, abs=1e-9)


def test_a_margin_of_zero_is_different() -> None:
    probabilities, margins = OperatingPoint(1.5, 0.01, 1).judge(np.array([[1.0, 2.5]], np.float32))
    assert margins.tolist() == [0.0] and probabilities.tolist() == [0.5]


@pytest.mark.parametrize("margin", [-1e30, -2000.0, -800.0, 800.0, 2000.0, 1e30])
def test_an_extreme_margin_is_sure_and_no_warning(margin: float) -> None:
    point = OperatingPoint(0.0, 0.01, 1)
    probabilities, _ = point.judge(np.array([[0.0, margin]], np.float32))
    assert probabilities.tolist() == [1.0 if margin > 0 else pytest.approx(0.0, abs=1e-300)]


def test_no_pairs_have_no_probabilities() -> None:
    probabilities, margins = OperatingPoint(0.0, 0.01, 1).judge(np.empty((0, 2), np.float32))
    assert len(probabilities) == len(margins) == 0
