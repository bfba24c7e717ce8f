"""The operating point: the bias on the head's "same" logit that holds the stated FPIR.

A stranger is compared with every enrolled identity, so the share of strangers who match someone
grows with the gallery. How often two different people reach a margin is known from two sources:
measurements made when the head was trained (`Calibration`), and the gallery itself, whose
identities are strangers to each other (`adjustment_from_pairs`). Together they give the margin that
strangers exceed at the stated false-positive identification rate (FPIR). It is subtracted from the
"same" logit, and the argmax decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from gallery.types import Bool, Float32, Float64

DEFAULT_FPIR = 0.01
"""The default false-positive identification rate: the share of strangers who match someone."""
_CAUTION, _MAX_VARIANCE = 1.4, 0.85
"""The point is set for a rate lower than the stated one by _CAUTION * exp(variance / 2), where
exp(variance / 2) is the mean of a log-normal rate. _MAX_VARIANCE is the variance of ln(rate) for a
gallery about which nothing is known."""
CROWDING_START = 30
"""Crowding sets in above this many comparisons; see Calibration.crowding."""
_REFERENCE_RATE = 0.05
_PAIR_LEVELS = np.array([0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001])
_STRANGER_LEVELS = np.array([0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01])
_MIN_SAMPLES_ABOVE_LEVEL = 2
_OFFSET_SPREAD, _SCALE_SPREAD = 1.2, 0.2
"""Prior standard deviations between sources of photos, of ln(rate) and of the margins' scale.
Measured on altered photos and on groups of similar people from the training data."""
_PEOPLE_NOISE = 2.0
"""Variance of ln(rate) in a sample of one person, whose margins are correlated. It falls with
1 / people."""
_SCALE_LIMITS = 0.6, 1.8


@dataclass(frozen=True)
class OperatingCurve:
    """The false-match rate of one comparison as a function of the margin (same - different logit).

    log10_rates : float64 (k,), descending.  margins : float64 (k,), ascending.
    tail : beyond the last point, a line through this many last points extrapolates.
    """

    log10_rates: Float64
    margins: Float64
    tail: int = 6

    def margin_at(self, false_match_rate: float) -> float:
        """Return the margin that this share of comparisons of different people exceeds."""
        log10_rate = float(np.log10(false_match_rate))
        if log10_rate >= self.log10_rates[-1]:
            return float(np.interp(-log10_rate, -self.log10_rates, self.margins))
        slope, offset = self._tail_line()
        return max(slope * log10_rate + offset, float(self.margins[-1]))

    def log10_rate_at(self, margins: Float64) -> Float64:
        """Return log10 of the false-match rate at each margin, (n,) -> (n,)."""
        increasing = self.margins + 1e-9 * np.arange(len(self.margins))  # np.interp needs it strict
        within = np.interp(margins, increasing, self.log10_rates)
        slope, offset = self._tail_line()
        beyond = np.minimum((margins - offset) / slope, self.log10_rates[-1])
        log10_rates: Float64 = np.where(margins > increasing[-1], beyond, within)
        return log10_rates

    def _tail_line(self) -> tuple[float, float]:
        slope, offset = np.polyfit(self.log10_rates[-self.tail :], self.margins[-self.tail :], 1)
        return min(float(slope), -1e-6), float(offset)

    def as_json(self) -> dict[str, Any]:
        """Return the form stored in a head file."""
        return {
            "log10_rates": self.log10_rates.tolist(),
            "margins": self.margins.tolist(),
            "tail": self.tail,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> OperatingCurve:
        """Read a stored curve. Raises KeyError, TypeError or ValueError if it is invalid."""
        rates, margins = np.array(stored["log10_rates"], float), np.array(stored["margins"], float)
        if rates.shape != margins.shape or rates.ndim != 1 or len(rates) < 2:
            raise ValueError(f"a curve of {rates.shape} rates and {margins.shape} margins")
        if not (np.isfinite(rates).all() and np.isfinite(margins).all()):
            raise ValueError("a curve with values that are not finite")
        if not ((np.diff(rates) < 0).all() and (np.diff(margins) >= 0).all()):
            raise ValueError("a curve whose rates do not fall or whose margins do not rise")
        tail = int(stored["tail"])
        if tail < 2:
            raise ValueError(f"a tail of {tail} points, expected at least 2")
        return cls(rates, margins, tail)


@dataclass(frozen=True)
class Calibration:
    """A head's margins as measured on people it was not trained on.

    strangers : curve for a query against the template of a different person.
    enrolled : curve for two enrolled people; their encodings average more views than a query's.
    crowding : exponent of the effective number of comparisons. A stranger who matches one identity
        is more likely to match others, so n > 30 comparisons let in only as many strangers as
        30 * (n / 30) ** crowding independent ones.
    known : float64 (3, 101), margins of known people to their own template: 101 ascending
        quantiles each for people enrolled with 1, 2, and 3 or more photos.
    probability_weights : float64 (4,). The log-odds that the most probable candidate is right, if
        every second query is a stranger's, are probability_weights @ (1, margin, ln of the false
        matches expected at this margin, ln of the comparisons).
    """

    strangers: OperatingCurve
    enrolled: OperatingCurve
    crowding: float
    known: Float64
    probability_weights: Float64

    def as_json(self) -> dict[str, Any]:
        """Return the form stored in a head file."""
        return {
            "strangers": self.strangers.as_json(),
            "enrolled": self.enrolled.as_json(),
            "crowding": self.crowding,
            "known": self.known.tolist(),
            "sureness": self.probability_weights.tolist(),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Calibration:
        """Read a stored calibration. Raises KeyError, TypeError or ValueError if it is invalid."""
        known, sureness = np.array(stored["known"], float), np.array(stored["sureness"], float)
        if known.shape != (3, 101) or sureness.shape != (4,):
            raise ValueError(f"a calibration of {known.shape} margins and {sureness.shape} weights")
        crowding = float(stored["crowding"])
        if not (np.isfinite(known).all() and np.isfinite(sureness).all() and 0 < crowding <= 1):
            raise ValueError(
                "a calibration with values that are not finite, or a crowding not in (0, 1]"
            )
        return cls(
            OperatingCurve.from_json(stored["strangers"]),
            OperatingCurve.from_json(stored["enrolled"]),
            crowding,
            known,
            sureness,
        )


@dataclass(frozen=True)
class Adjustment:
    """An affine map from margins on the head's curve to margins in a gallery.

    A margin m on the curve corresponds to m + offset + (scale - 1) * (m - reference).
    pairs : how many pairs of identities, or photos of strangers, it was fitted to.
    spread : variance of the offset, covariance, variance of the scale; None when not fitted.
    """

    offset: float = 0.0
    scale: float = 1.0
    reference: float = 0.0
    pairs: int = 0
    spread: tuple[float, float, float] | None = None

    def variance(self, margin: float, slope: float) -> float:
        """Return the variance of ln(rate) at a margin of the curve.

        slope : d margin / d ln(rate).
        """
        if self.spread is None:
            return _MAX_VARIANCE
        offset, covariance, scale = self.spread
        distance = margin - self.reference
        variance = (offset + 2 * covariance * distance + scale * distance**2) / slope**2
        return float(np.clip(variance, 0.0, _MAX_VARIANCE))

    def to_gallery(self, margin: float) -> float:
        """Map a margin of the curve to this gallery."""
        return margin + self.offset + (self.scale - 1.0) * (margin - self.reference)

    def from_gallery(self, margins: Float64) -> Float64:
        """Map margins in this gallery back to the curve."""
        mapped: Float64 = (margins - self.offset - self.reference) / self.scale + self.reference
        return mapped

    def as_json(self) -> dict[str, Any]:
        """Return the form stored with a calibration."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Adjustment:
        """Read a stored adjustment. Raises KeyError, TypeError or ValueError if it is invalid."""
        offset, scale, reference = (float(stored[n]) for n in ("offset", "scale", "reference"))
        if not (np.isfinite([offset, scale, reference]).all() and scale > 0):
            raise ValueError(f"an adjustment of {offset}, {scale}, {reference}")
        spread = stored["spread"] and tuple(float(v) for v in stored["spread"])
        if spread and not (len(spread) == 3 and np.isfinite(spread).all()):
            raise ValueError(f"an adjustment with a spread of {spread}")
        return cls(offset, scale, reference, int(stored["pairs"]), spread or None)


def adjustment_from_pairs(curve: OperatingCurve, margins: Float32, identities: int) -> Adjustment:
    """Fit an adjustment to the margins of a gallery's own pairs of different identities.

    curve : of such pairs where the head was calibrated.
    margins : float32 (p,), one per pair.
    identities : how many identities the pairs are made of.
    Only quantiles below the extremes are fitted: one person enrolled twice is an extreme.
    """
    reference = curve.margin_at(_REFERENCE_RATE)
    start = Adjustment(reference=reference)
    return _fit(start, curve, curve.margin_at, _PAIR_LEVELS, margins, identities)


def adjustment_from_strangers(
    calibration: Calibration,
    margins: Float32,
    strangers: int,
    comparisons: int,
    start: Adjustment,
) -> Adjustment:
    """Fit an adjustment to photos of strangers, each scored against the whole gallery.

    margins : float32 (m,), each photo's margin to its most probable identity.
    strangers : how many people the photos show.
    comparisons : how many identities the gallery has.
    start : the prior adjustment.
    """
    curve = calibration.strangers
    reference = curve.margin_at(_REFERENCE_RATE)
    shift = start.offset + (start.scale - 1.0) * (reference - start.reference)
    start = Adjustment(shift, start.scale, reference, start.pairs, start.spread)

    def expected_margin(level: float) -> float:
        return curve.margin_at(comparison_rate(level, comparisons, calibration.crowding))

    return _fit(start, curve, expected_margin, _STRANGER_LEVELS, margins, strangers)


def _fit(
    start: Adjustment,
    curve: OperatingCurve,
    expected_margin: Callable[[float], float],
    levels: Float64,
    margins: Float32,
    people: int,
) -> Adjustment:
    """Return the posterior mode of offset and scale, so that few people move the start little.

    The priors around the start and the errors of the margins' quantiles are normal.
    """
    levels = levels[len(margins) * levels >= _MIN_SAMPLES_ABOVE_LEVEL]
    if not len(levels):
        return start
    expected = np.array([expected_margin(level) for level in levels])
    observed = np.quantile(margins.astype(np.float64), 1.0 - levels)
    # d margin / d ln(rate), and from it the quantiles' error covariance: a part of its own for
    # each level, and a part shared by all, since margins of one person are correlated.
    slopes = np.array(
        [expected_margin(x / 1.2) - expected_margin(min(x * 1.2, 0.9)) for x in levels]
    )
    slopes /= np.log(np.minimum(levels * 1.2, 0.9)) - np.log(levels / 1.2)
    errors = np.diag(slopes**2 / (levels * len(margins))) + 1e-4 * np.eye(len(levels))
    errors += _PEOPLE_NOISE / people * np.outer(slopes, slopes)
    terms = np.stack([np.ones(len(levels)), expected - start.reference], axis=1)
    weighted = np.linalg.solve(errors, terms).T
    prior_offset_spread = (
        _OFFSET_SPREAD * abs(curve.margin_at(1e-3) - curve.margin_at(1e-2)) / np.log(10)
    )
    prior_precision = np.diag([prior_offset_spread**-2, _SCALE_SPREAD**-2])
    prior_mean = np.array([start.offset, start.scale - 1.0])
    covariance = np.linalg.inv(weighted @ terms + prior_precision)
    offset, stretch = covariance @ (weighted @ (observed - expected) + prior_precision @ prior_mean)
    scale = float(np.clip(1.0 + stretch, *_SCALE_LIMITS))
    spread = float(covariance[0, 0]), float(covariance[0, 1]), float(covariance[1, 1])
    return Adjustment(float(offset), scale, start.reference, len(margins), spread)


@dataclass(frozen=True)
class OperatingPoint:
    """The bias for one gallery: subtracted from the "same" logit before the argmax.

    fpir : the stated false-positive identification rate.
    target_fpir : the lower rate that the bias is set for, to allow for uncertainty.
    comparisons : how many identities a query is compared with.
    """

    bias: float
    fpir: float
    target_fpir: float
    comparisons: int
    adjustment: Adjustment
    calibration: Calibration

    def is_same(self, margins: Float32) -> Bool:
        """Return whether each verdict is "same", (n,) -> bool (n,).

        A margin equal to the bias is "different".
        """
        return margins.astype(np.float64) > self.bias

    def expected_false_matches(self, margins: Float32) -> Float64:
        """Return how many false matches above each margin a stranger is expected to have.

        (n,) -> (n,)
        """
        on_curve = self.adjustment.from_gallery(margins.astype(np.float64))
        rates = 10 ** self.calibration.strangers.log10_rate_at(on_curve)
        counts: Float64 = effective_comparisons(self.comparisons, self.calibration.crowding) * rates
        return counts

    def probabilities(self, margins: Float32) -> Float64:
        """Return the probability that each pair is one person, (n,) -> (n,).

        It assumes that every second query is a stranger's.
        """
        probabilities: Float64 = expit(
            self.probability_features(margins) @ self.calibration.probability_weights
        )
        return probabilities

    def probability_features(self, margins: Float32) -> Float64:
        """Return the features of a probability, (n,) -> (n, 4); see probability_weights."""
        count = len(margins)
        false_matches = np.log(np.maximum(self.expected_false_matches(margins), 1e-300))
        comparisons = np.full(count, np.log(max(1, self.comparisons)))
        return np.stack(
            [np.ones(count), margins.astype(np.float64), false_matches, comparisons], axis=1
        )

    def expected_found(self, photos: int) -> float:
        """Return the expected share of known people found, with this many photos enrolled of each.

        It holds for photos like those the head was calibrated on.
        """
        margins = self.calibration.known[min(max(photos, 1), 3) - 1]
        return float(1.0 - np.interp(self.bias, margins, np.linspace(0.0, 1.0, margins.size)))


def effective_comparisons(comparisons: int, crowding: float) -> float:
    """Return the effective number of comparisons; see Calibration.crowding."""
    return float(
        min(comparisons, CROWDING_START) * max(1.0, comparisons / CROWDING_START) ** crowding
    )


def comparison_rate(rate: float, comparisons: int, crowding: float) -> float:
    """Return the rate per comparison that amounts to this rate per query."""
    return float(-np.log1p(-rate) / effective_comparisons(max(1, comparisons), crowding))


def operating_point(
    calibration: Calibration,
    comparisons: int,
    *,
    fpir: float = DEFAULT_FPIR,
    adjustment: Adjustment | None = None,
) -> OperatingPoint:
    """Return the point at which strangers' queries match at this rate.

    comparisons : how many identities each query is compared with.
    fpir : the stated false-positive identification rate.
    adjustment : to the gallery; None when nothing is known about it.
    """
    adjustment = Adjustment() if adjustment is None else adjustment
    curve = calibration.strangers
    fmr = comparison_rate(fpir / _CAUTION, comparisons, calibration.crowding)
    slope = (curve.margin_at(fmr * 1.5) - curve.margin_at(fmr / 1.5)) / (2 * np.log(1.5))
    variance = adjustment.variance(curve.margin_at(fmr), min(float(slope), -1e-6))
    target_fpir = fpir / _CAUTION / float(np.exp(variance / 2))
    bias = adjustment.to_gallery(
        curve.margin_at(comparison_rate(target_fpir, comparisons, calibration.crowding))
    )
    return OperatingPoint(bias, fpir, target_fpir, comparisons, adjustment, calibration)
