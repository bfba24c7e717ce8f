"""The bias on the head's two logits that makes its argmax keep a promise about strangers.

A stranger is compared with every enrolled identity, so the share of strangers with a match grows
with the gallery. Two things tell how often two different people reach a margin: what was measured
when the head was made (`Calibration`), and the gallery itself, whose identities are strangers to
one another (`adjusted_to`). Together they give the margin that a stranger to this gallery exceeds
at the promised rate; it is subtracted from the "same" logit, and the argmax decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from gallery.types import Bool, Float32, Float64

PROMISED_RATE = 0.01
"""The share of strangers who may be given a name (false-positive identification rate)."""
_CAUTION, _MOST_VARIANCE = 1.4, 0.85
"""Aimed below the promise by this factor, times exp(variance / 2): the mean of a rate whose
logarithm is uncertain by so much, for a gallery that has not said yet what its people are like."""
CROWD = 30
_REFERENCE_RATE = 0.05
_PAIR_LEVELS = np.array([0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001])
_STRANGER_LEVELS = np.array([0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01])
_LEAST_BEHIND_A_LEVEL = 2
_OFFSET_SPREAD, _SCALE_SPREAD = 1.2, 0.2
"""How far sources of photos lie apart, in ln(rate) and in the margins' scale: standard deviations
before a gallery has said anything. Found on altered photos and on groups of like people, among
those the head learned from."""
_PEOPLE_NOISE = 2.0
_SCALE_LIMITS = 0.6, 1.8


@dataclass(frozen=True)
class OperatingCurve:
    """Margins (same - different logit) that two different people exceed with given frequencies.

    log10_rates : falling, float64 (k,): log10 of the false-match rate of one comparison.
    margins : rising, float64 (k,).
    Beyond the last point the line through the last `tail` points is carried on, which is an
    extrapolation.
    """

    log10_rates: Float64
    margins: Float64
    tail: int = 6

    def margin_at(self, false_match_rate: float) -> float:
        """The margin that this share of comparisons of two people exceeds."""
        wanted = float(np.log10(false_match_rate))
        if wanted >= self.log10_rates[-1]:
            return float(np.interp(-wanted, -self.log10_rates, self.margins))
        slope, offset = self._tail_line()
        return max(slope * wanted + offset, float(self.margins[-1]))

    def log10_rate_at(self, margins: Float64) -> Float64:
        """log10 of the share of comparisons of two people that exceed each margin, (n,) -> (n,)."""
        rising = self.margins + 1e-9 * np.arange(len(self.margins))
        within = np.interp(margins, rising, self.log10_rates)
        slope, offset = self._tail_line()
        beyond = np.minimum((margins - offset) / slope, self.log10_rates[-1])
        found: Float64 = np.where(margins > rising[-1], beyond, within)
        return found

    def _tail_line(self) -> tuple[float, float]:
        slope, offset = np.polyfit(self.log10_rates[-self.tail :], self.margins[-self.tail :], 1)
        return min(float(slope), -1e-6), float(offset)

    def as_json(self) -> dict[str, Any]:
        """The form a head's file keeps."""
        return {
            "log10_rates": self.log10_rates.tolist(),
            "margins": self.margins.tolist(),
            "tail": self.tail,
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> OperatingCurve:
        """Raises KeyError, TypeError or ValueError for what is no curve."""
        rates, margins = np.array(kept["log10_rates"], float), np.array(kept["margins"], float)
        if rates.shape != margins.shape or rates.ndim != 1 or len(rates) < 2:
            raise ValueError(f"a curve of {rates.shape} rates and {margins.shape} margins")
        if not (np.isfinite(rates).all() and np.isfinite(margins).all()):
            raise ValueError("a curve that is not finite")
        if not ((np.diff(rates) < 0).all() and (np.diff(margins) >= 0).all()):
            raise ValueError("a curve that does not fall")
        tail = int(kept["tail"])
        if tail < 2:
            raise ValueError(f"a tail of {tail} points, expected at least 2")
        return cls(rates, margins, tail)


@dataclass(frozen=True)
class Calibration:
    """What was measured of a head's margins on people it was not trained on.

    strangers : how often a query and an enrolled identity, two different people, exceed a margin.
    enrolled : the same of two enrolled faces, which have more views than a query.
    crowding : a stranger who matches one identity is likelier to match others as well, so that a
        large gallery lets in fewer strangers than independent comparisons would: beyond 30
        identities, comparisons count as 30 * (n / 30) ** crowding.
    known : margins of a photo of an enrolled person: 101 quantiles, rising, for persons enrolled
        with 1, 2 and 3 or more photos, float64 (3, 101).
    sureness : float64 (4,): the log-odds that the likeliest candidate is right, were every second
        query a stranger's, are sureness @ (1, margin, ln of the false matches expected there, ln of
        the comparisons).
    """

    strangers: OperatingCurve
    enrolled: OperatingCurve
    crowding: float
    known: Float64
    sureness: Float64

    def as_json(self) -> dict[str, Any]:
        """The form a head's file keeps."""
        return {
            "strangers": self.strangers.as_json(),
            "enrolled": self.enrolled.as_json(),
            "crowding": self.crowding,
            "known": self.known.tolist(),
            "sureness": self.sureness.tolist(),
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Calibration:
        """Raises KeyError, TypeError or ValueError for what is no calibration."""
        known, sureness = np.array(kept["known"], float), np.array(kept["sureness"], float)
        if known.shape != (3, 101) or sureness.shape != (4,):
            raise ValueError(f"a calibration of {known.shape} margins and {sureness.shape} weights")
        crowding = float(kept["crowding"])
        if not (np.isfinite(known).all() and np.isfinite(sureness).all() and 0 < crowding <= 1):
            raise ValueError("a calibration that is not finite")
        return cls(
            OperatingCurve.from_json(kept["strangers"]),
            OperatingCurve.from_json(kept["enrolled"]),
            crowding,
            known,
            sureness,
        )


@dataclass(frozen=True)
class Adjustment:
    """How margins of two people here differ from those the head's curve was measured on.

    A margin p of the curve is p + offset + (scale - 1) * (p - reference) here.
    pairs : how many pairs of identities, or photos of strangers, said so.
    spread : variance of the offset, covariance, variance of the scale; None: nothing was said.
    """

    offset: float = 0.0
    scale: float = 1.0
    reference: float = 0.0
    pairs: int = 0
    spread: tuple[float, float, float] | None = None

    def variance(self, margin: float, slope: float) -> float:
        """Of ln(rate) at a margin of the curve. slope : how the margin changes with ln(rate)."""
        if self.spread is None:
            return _MOST_VARIANCE
        offset, both, scale = self.spread
        beyond = margin - self.reference
        variance = (offset + 2 * both * beyond + scale * beyond**2) / slope**2
        return float(np.clip(variance, 0.0, _MOST_VARIANCE))

    def here(self, margin: float) -> float:
        """The curve's margin, as it is here."""
        return margin + self.offset + (self.scale - 1.0) * (margin - self.reference)

    def there(self, margins: Float64) -> Float64:
        """Margins from here, as they would be on the curve."""
        found: Float64 = (margins - self.offset - self.reference) / self.scale + self.reference
        return found

    def as_json(self) -> dict[str, Any]:
        """The form a calibration keeps."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Adjustment:
        """Raises KeyError, TypeError or ValueError for what is no adjustment."""
        offset, scale, reference = (float(kept[n]) for n in ("offset", "scale", "reference"))
        if not (np.isfinite([offset, scale, reference]).all() and scale > 0):
            raise ValueError(f"an adjustment of {offset}, {scale}, {reference}")
        spread = kept["spread"] and tuple(float(v) for v in kept["spread"])
        if spread and not (len(spread) == 3 and np.isfinite(spread).all()):
            raise ValueError(f"an adjustment with a spread of {spread}")
        return cls(offset, scale, reference, int(kept["pairs"]), spread or None)


def adjusted_to(curve: OperatingCurve, margins: Float32, identities: int) -> Adjustment:
    """What a gallery's own pairs of different identities say of its people and photos.

    curve : of such pairs where the head was calibrated.
    margins : float32 (p,), one a pair.  identities : how many people the pairs are of.
    Quantiles below the extremes are compared with the curve's, since the same person enrolled
    twice would be an extreme.
    """
    reference = curve.margin_at(_REFERENCE_RATE)
    start = Adjustment(reference=reference)
    return _moved(start, curve, curve.margin_at, _PAIR_LEVELS, margins, identities)


def adjusted_to_strangers(
    calibration: Calibration,
    margins: Float32,
    strangers: int,
    comparisons: int,
    start: Adjustment,
) -> Adjustment:
    """What photos of strangers say, each against the whole gallery.

    margins : float32 (m,), of each photo's likeliest identity.  strangers : how many people the
    photos are of.  comparisons : the gallery's identities.  start : what is believed before.
    """
    curve = calibration.strangers
    reference = curve.margin_at(_REFERENCE_RATE)
    shift = start.offset + (start.scale - 1.0) * (reference - start.reference)
    start = Adjustment(shift, start.scale, reference, start.pairs, start.spread)

    def expected(level: float) -> float:
        return curve.margin_at(of_one(level, comparisons, calibration.crowding))

    return _moved(start, curve, expected, _STRANGER_LEVELS, margins, strangers)


def _moved(
    start: Adjustment,
    curve: OperatingCurve,
    expected_at: Callable[[float], float],
    levels: Float64,
    margins: Float32,
    people: int,
) -> Adjustment:
    """Few people move the start little: offset and scale are the mode of their posterior, from
    normal priors around the start and normal errors of the margins' quantiles.
    """
    levels = levels[len(margins) * levels >= _LEAST_BEHIND_A_LEVEL]
    if not len(levels):
        return start
    expected = np.array([expected_at(level) for level in levels])
    seen = np.quantile(margins.astype(np.float64), 1.0 - levels)
    # d margin / d ln rate, and from it the errors: each level's own, and one that all share since
    # margins of one person depend on each other.
    slopes = np.array([expected_at(x / 1.2) - expected_at(min(x * 1.2, 0.9)) for x in levels])
    slopes /= np.log(np.minimum(levels * 1.2, 0.9)) - np.log(levels / 1.2)
    errors = np.diag(slopes**2 / (levels * len(margins))) + 1e-4 * np.eye(len(levels))
    errors += _PEOPLE_NOISE / people * np.outer(slopes, slopes)
    terms = np.stack([np.ones(len(levels)), expected - start.reference], axis=1)
    weighed = np.linalg.solve(errors, terms).T
    spread = _OFFSET_SPREAD * abs(curve.margin_at(1e-3) - curve.margin_at(1e-2)) / np.log(10)
    prior = np.diag([spread**-2, _SCALE_SPREAD**-2])
    believed = np.array([start.offset, start.scale - 1.0])
    known = np.linalg.inv(weighed @ terms + prior)
    offset, stretch = known @ (weighed @ (seen - expected) + prior @ believed)
    scale = float(np.clip(1.0 + stretch, *_SCALE_LIMITS))
    spread = float(known[0, 0]), float(known[0, 1]), float(known[1, 1])
    return Adjustment(float(offset), scale, start.reference, len(margins), spread)


@dataclass(frozen=True)
class OperatingPoint:
    """The bias for one gallery: subtracted from the "same" logit before the argmax.

    rate : the promised false-positive identification rate.  aimed : the lower one the bias was set
    for.  comparisons : of one query.
    """

    bias: float
    rate: float
    aimed: float
    comparisons: int
    adjustment: Adjustment
    calibration: Calibration

    def same(self, margins: Float32) -> Bool:
        """The verdicts, (n,) -> bool (n,). A margin of exactly the bias is "different"."""
        return margins.astype(np.float64) > self.bias

    def expected_false_matches(self, margins: Float32) -> Float64:
        """How many comparisons of one stranger's query exceed each margin, (n,) -> (n,)."""
        there = self.adjustment.there(margins.astype(np.float64))
        rates = 10 ** self.calibration.strangers.log10_rate_at(there)
        found: Float64 = effective(self.comparisons, self.calibration.crowding) * rates
        return found

    def probabilities(self, margins: Float32) -> Float64:
        """That each pair is one person, were every second query a stranger's: (n,) -> (n,)."""
        found: Float64 = expit(self.evidence(margins) @ self.calibration.sureness)
        return found

    def evidence(self, margins: Float32) -> Float64:
        """What a candidate's probability is made of, (n,) -> (n, 4); see Calibration.sureness."""
        false = np.log(np.maximum(self.expected_false_matches(margins), 1e-300))
        among = np.full(len(margins), np.log(max(1, self.comparisons)))
        return np.stack([np.ones(len(margins)), margins.astype(np.float64), false, among], axis=1)

    def expected_found(self, photos: int) -> float:
        """The share of known people found, of those enrolled with so many photos each.

        For photos like those the head was calibrated on.
        """
        margins = self.calibration.known[min(max(photos, 1), 3) - 1]
        return float(1.0 - np.interp(self.bias, margins, np.linspace(0.0, 1.0, margins.size)))


def effective(comparisons: int, crowding: float) -> float:
    """See Calibration.crowding."""
    return float(min(comparisons, CROWD) * max(1.0, comparisons / CROWD) ** crowding)


def of_one(rate: float, comparisons: int, crowding: float) -> float:
    """The rate of one comparison that makes this rate of a query."""
    return float(-np.log1p(-rate) / effective(max(1, comparisons), crowding))


def operating_point(
    calibration: Calibration,
    comparisons: int,
    *,
    rate: float = PROMISED_RATE,
    adjustment: Adjustment | None = None,
) -> OperatingPoint:
    """The point at which a query of a stranger, compared so often, gets a match at this rate."""
    adjustment = Adjustment() if adjustment is None else adjustment
    curve = calibration.strangers
    one = of_one(rate / _CAUTION, comparisons, calibration.crowding)
    slope = (curve.margin_at(one * 1.5) - curve.margin_at(one / 1.5)) / (2 * np.log(1.5))
    variance = adjustment.variance(curve.margin_at(one), min(float(slope), -1e-6))
    aimed = rate / _CAUTION / float(np.exp(variance / 2))
    bias = adjustment.here(curve.margin_at(of_one(aimed, comparisons, calibration.crowding)))
    return OperatingPoint(bias, rate, aimed, comparisons, adjustment, calibration)
