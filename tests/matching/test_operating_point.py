"""The operating point: its curve, how it grows with the gallery, how it adjusts, its verdicts."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gallery.matching.adjustment import Adjustment, adjustment_from_strangers
from gallery.matching.calibration import Calibration, Caution, ImpostorPrior
from gallery.matching.operating_curve import OperatingCurve
from gallery.matching.operating_point import DEFAULT_FPIR, operating_point

RATES = np.linspace(0.0, -4.0, 21)
MARGINS = np.concatenate([np.linspace(-8.0, 2.0, 15), 2.0 + 0.7 * np.arange(1, 7)])

PRIOR = ImpostorPrior(-2.0, 1.5, 1.4, 0.2, 0.3, per_face=True)
CAUTION = Caution((1, 10, 100), (0.1, 0.01), ((2.0, 4.0), (1.5, 2.0), (1.0, 1.0)))


@pytest.fixture
def curve() -> OperatingCurve:
    """Margins from -8 to 6.2 for rates from 1 to 1e-4; the last six points on a line."""
    return OperatingCurve(RATES, MARGINS)


def test_curve_interpolates_its_points(curve: OperatingCurve) -> None:
    for rate, margin in zip(RATES, MARGINS, strict=True):
        assert curve.margin_at(10.0**rate) == pytest.approx(margin, abs=1e-9)


def test_curve_is_linear_between_points(curve: OperatingCurve) -> None:
    for i in range(15, 20):
        between = 10.0 ** ((RATES[i] + RATES[i + 1]) / 2)
        expected = (MARGINS[i] + MARGINS[i + 1]) / 2
        assert curve.margin_at(between) == pytest.approx(expected, abs=1e-9)


def test_curve_is_extrapolated_beyond_the_last_point(curve: OperatingCurve) -> None:
    for rate in (-4.0, -4.2, -5.0, -8.0):
        expected = MARGINS[-1] + (-4.0 - rate) * 0.7 / 0.2
        assert curve.margin_at(10.0**rate) == pytest.approx(expected, rel=1e-6)


steps = st.floats(0.01, 3.0)


@given(
    st.lists(st.tuples(steps, st.floats(0.0, 3.0)), min_size=2, max_size=12),
    st.integers(2, 12),
    st.lists(st.floats(1e-12, 1.0), min_size=2, max_size=30),
)
def test_lower_rate_never_has_a_lower_margin(
    shape: list[tuple[float, float]], tail: int, rates: list[float]
) -> None:
    falls, rises = np.array(shape).T
    curve = OperatingCurve(-np.cumsum(falls), np.cumsum(rises) - 5.0, tail)
    last = float(10.0 ** curve.log10_rates[-1])
    descending = sorted([*rates, last, 0.99 * last], reverse=True)
    margins = [curve.margin_at(rate) for rate in descending]
    assert (np.diff(margins) >= -1e-9).all()


@pytest.fixture
def calibration(curve: OperatingCurve) -> Calibration:
    known = np.tile(np.linspace(-4.0, 12.0, 101), (3, 1)) + np.arange(3)[:, None]
    return Calibration(curve, PRIOR, CAUTION, 1.0, known, np.array([0.3, 0.5, -0.4, 0.1]), 1.5)


def test_bias_grows_with_the_gallery(calibration: Calibration) -> None:
    sizes = [0, 1, 2, 10, 100, 10_000, 1_000_000, 100_000_000]
    biases = [operating_point(calibration, size).bias for size in sizes]
    assert biases[0] == biases[1] and biases == sorted(biases)
    assert biases[0] < biases[-1] and all(map(math.isfinite, biases))


def test_point_states_its_rate_and_comparisons(calibration: Calibration) -> None:
    point = operating_point(calibration, 300)
    assert (point.fpir, point.comparisons) == (DEFAULT_FPIR, 300)
    assert operating_point(calibration, 300, fpir=0.001).bias > point.bias


@pytest.mark.parametrize("rate", [0.1, 0.01])
def test_fpir_is_below_the_stated_rate(calibration: Calibration, rate: float) -> None:
    """Margins are drawn from the curve: at most the stated rate, and not far below it."""
    rng = np.random.default_rng(0)
    curve = calibration.strangers
    margins = np.interp(-np.log10(rng.random((20_000, 20))), -RATES, MARGINS)
    point = operating_point(calibration, 20, fpir=rate)
    fpir = (margins.max(axis=1) > point.bias).mean()
    assert fpir == pytest.approx(point.target_fpir, rel=0.15)
    assert rate / 2.5 < point.target_fpir < rate / 2
    assert point.bias == pytest.approx(curve.margin_at(-math.log1p(-point.target_fpir) / 20))


def test_caution_falls_with_the_identities_and_lies_between_its_entries() -> None:
    assert CAUTION.factor(1, 0.01) == CAUTION.factor(0, 0.001) == 4.0
    assert CAUTION.factor(10, 0.1) == pytest.approx(1.5)
    assert CAUTION.factor(10**6, 0.03) == 1.0
    assert 2.0 < CAUTION.factor(3, 0.01) < 4.0
    assert Caution.from_json(json.loads(json.dumps(CAUTION.as_json()))) == CAUTION


@pytest.mark.parametrize(
    "change",
    [
        {"sizes": [1, 10]},
        {"sizes": [1, 10, 10]},
        {"rates": [0.01, 0.1]},
        {"factors": [[0.5, 1], [1, 1], [1, 1]]},
    ],
)
def test_invalid_caution_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a table"):
        Caution.from_json(CAUTION.as_json() | change)


@pytest.mark.parametrize("change", [{"residual": 0.0}, {"mean": math.nan}, {"probe_variance": -1}])
def test_invalid_prior_is_refused(change: dict[str, Any]) -> None:
    assert ImpostorPrior.from_json(PRIOR.as_json()) == PRIOR
    with pytest.raises(ValueError, match="impossible moments"):
        ImpostorPrior.from_json(PRIOR.as_json() | change)


@given(st.floats(-3, 3), st.floats(0.6, 1.8), st.floats(-20, 20))
def test_adjustment_and_its_inverse_cancel(offset: float, scale: float, margin: float) -> None:
    adjustment = Adjustment(offset, scale, 1.5)
    on_curve = adjustment.from_gallery(np.array([adjustment.to_gallery(margin)]))
    assert on_curve[0] == pytest.approx(margin, abs=1e-6)


def test_margin_at_and_log10_rate_at_are_inverse(curve: OperatingCurve) -> None:
    margins = np.array([-7.5, -1.0, 2.2, 5.0, 6.5, 9.0, 15.0])
    rates = curve.log10_rate_at(margins)
    round_trip = [curve.margin_at(10.0**rate) for rate in rates]
    np.testing.assert_allclose(round_trip, margins, atol=1e-5)


def test_curve_survives_json(curve: OperatingCurve) -> None:
    loaded = OperatingCurve.from_json(json.loads(json.dumps(curve.as_json())))
    np.testing.assert_array_equal(loaded.log10_rates, curve.log10_rates)
    np.testing.assert_array_equal(loaded.margins, curve.margins)
    assert loaded.tail == curve.tail
    for rate in (0.3, 1e-3, 1e-9):
        assert loaded.margin_at(rate) == curve.margin_at(rate)


def _stored(**changes: Any) -> dict[str, Any]:
    return {"log10_rates": [-1.0, -2.0, -3.0], "margins": [1.0, 2.0, 3.0], "tail": 3, **changes}


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param({}, id="empty"),
        pytest.param([], id="list"),
        pytest.param(_stored(margins=[1.0, 2.0]), id="fewer margins"),
        pytest.param(_stored(log10_rates=[-1.0], margins=[1.0]), id="one point"),
        pytest.param(_stored(log10_rates=[], margins=[]), id="no points"),
        pytest.param(_stored(log10_rates=[-1.0, -1.0, -3.0]), id="equal rates"),
        pytest.param(_stored(log10_rates=[-3.0, -2.0, -1.0]), id="rising rates"),
        pytest.param(_stored(margins=[3.0, 2.0, 1.0]), id="falling margins"),
        pytest.param(_stored(margins=[1.0, math.nan, 3.0]), id="NaN"),
        pytest.param(_stored(margins=[1.0, 2.0, math.inf]), id="infinity"),
        pytest.param(_stored(margins=["a", "b", "c"]), id="strings"),
        pytest.param(_stored(margins=[[1.0], [2.0], [3.0]]), id="two axes"),
        pytest.param(_stored(margins=None), id="null"),
        pytest.param(_stored(tail="many"), id="string tail"),
        pytest.param(_stored(tail=None), id="null tail"),
        pytest.param(_stored(tail=0), id="tail of 0"),
        pytest.param(_stored(tail=1), id="tail of 1"),
        pytest.param(_stored(tail=-2), id="negative tail"),
        pytest.param({k: v for k, v in _stored().items() if k != "tail"}, id="no tail"),
    ],
)
def test_invalid_curve_is_refused(stored: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        OperatingCurve.from_json(stored)


def test_margin_equal_to_the_bias_is_different(calibration: Calibration) -> None:
    point = operating_point(calibration, 10)
    bias = np.float64(point.bias)
    assert point.is_same(np.array([bias, np.nextafter(bias, np.inf)])).tolist() == [False, True]


def test_probabilities_rise_with_the_margin_from_0_to_1(calibration: Calibration) -> None:
    point = operating_point(calibration, 10)
    margins = np.array([-1e30, -800.0, -8.0, 0.0, 3.0, 6.0, 9.0, 800.0, 1e30], np.float32)
    probabilities = point.probabilities(margins)
    assert ((probabilities >= 0.0) & (probabilities <= 1.0)).all()
    assert (np.diff(probabilities) >= 0.0).all() and probabilities[-1] == 1.0
    assert len(point.probabilities(np.empty(0, np.float32))) == 0


def test_fewer_known_people_are_found_in_a_larger_gallery(calibration: Calibration) -> None:
    found = [operating_point(calibration, n).expected_found(1) for n in (10, 1_000, 100_000)]
    assert 1.0 > found[0] > found[1] > found[2] >= 0.0
    point = operating_point(calibration, 1_000)
    assert point.expected_found(1) < point.expected_found(2) < point.expected_found(30)


def test_crowding_counts_only_beyond_thirty_identities(calibration: Calibration) -> None:
    crowded = replace(calibration, crowding=0.9)
    for size in (1, 10, 30):
        assert operating_point(crowded, size).bias == operating_point(calibration, size).bias
    assert operating_point(crowded, 3_000).bias < operating_point(calibration, 3_000).bias
    point = operating_point(crowded, 3_000)
    rate = -math.log1p(-point.target_fpir) / (30 * 100**0.9)
    expected = calibration.strangers.margin_at(rate)
    assert point.bias == pytest.approx(expected)


def test_higher_scoring_strangers_raise_the_point_and_few_raise_it_little(
    curve: OperatingCurve,
) -> None:
    weights = np.array([0.0, 1.0, 0.0, 0.0])
    calibration = Calibration(curve, PRIOR, CAUTION, 0.9, np.zeros((3, 101)), weights, 1.5)

    def expected_margins(count: int) -> Any:
        levels = (np.arange(count) + 0.5) / count
        return np.array([calibration.margin_at(x, 50) for x in levels], np.float32)

    def shift(margins: Any, strangers: int) -> float:
        adjustment = adjustment_from_strangers(calibration, margins, strangers, 50, Adjustment())
        return adjustment.to_gallery(5.0) - 5.0

    assert shift(expected_margins(2_000), 1_000) == pytest.approx(0.0, abs=0.3)
    assert shift(expected_margins(2_000) + 2.0, 1_000) == pytest.approx(2.0, abs=0.5)
    assert 0.0 < shift(expected_margins(40) + 2.0, 4) < shift(expected_margins(2_000) + 2.0, 1_000)
    assert shift(expected_margins(1), 1) == 0.0


def test_adjustment_survives_json() -> None:
    adjustment = Adjustment(0.5, 1.2, -1.0, 40)
    assert Adjustment.from_json(json.loads(json.dumps(adjustment.as_json()))) == adjustment
    for invalid in ({"scale": 0.0}, {"offset": math.nan}):
        with pytest.raises(ValueError, match="an adjustment of"):
            Adjustment.from_json(adjustment.as_json() | invalid)


def test_point_that_finds_too_few_people_says_why(calibration: Calibration) -> None:
    assert operating_point(calibration, 10).weakness(1) == ""
    many = operating_point(calibration, 10**9).weakness(1)
    assert "so many people are enrolled" in many and "gallery calibrate" in many
    alike = operating_point(calibration, 10, adjustment=Adjustment(9.0)).weakness(1)
    assert "look so alike" in alike and "no more than 1 % of strangers" in alike
