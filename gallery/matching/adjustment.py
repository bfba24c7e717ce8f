"""An affine map from margins on a head's curve to margins in one gallery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from gallery.matching.calibration import Calibration
from gallery.types import Float32, Float64

_MAX_VARIANCE = 0.85
"""The variance of ln(rate) for a gallery about which nothing is known."""
_REFERENCE_RATE = 0.05
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


def adjustment_from_strangers(
    calibration: Calibration,
    margins: Float32,
    strangers: int,
    comparisons: int,
    start: Adjustment,
) -> Adjustment:
    """Fit an adjustment to photos of strangers, each scored against the whole gallery.

    It is the posterior mode of offset and scale, so that few people move the start little. The
    priors around the start and the errors of the margins' quantiles are normal.

    margins : float32 (m,), each photo's margin to its most probable identity.
    strangers : how many people the photos show.
    comparisons : how many identities the gallery has.
    start : the prior adjustment.
    """
    curve = calibration.strangers
    reference = curve.margin_at(_REFERENCE_RATE)
    shift = start.offset + (start.scale - 1.0) * (reference - start.reference)
    levels = _STRANGER_LEVELS[len(margins) * _STRANGER_LEVELS >= _MIN_SAMPLES_ABOVE_LEVEL]
    if not len(levels):
        return replace(start, offset=shift, reference=reference)
    expected = np.array([calibration.margin_at(level, comparisons) for level in levels])
    observed = np.quantile(margins.astype(np.float64), 1.0 - levels)
    # d margin / d ln(rate), and from it the quantiles' error covariance: a part of its own for
    # each level, and a part shared by all, since margins of one person are correlated.
    lower, higher = levels / 1.2, np.minimum(levels * 1.2, 0.9)
    slopes = np.array(
        [
            calibration.margin_at(low, comparisons) - calibration.margin_at(high, comparisons)
            for low, high in zip(lower, higher, strict=True)
        ]
    ) / np.log(higher / lower)
    errors = np.diag(slopes**2 / (levels * len(margins))) + 1e-4 * np.eye(len(levels))
    errors += _PEOPLE_NOISE / strangers * np.outer(slopes, slopes)
    terms = np.stack([np.ones(len(levels)), expected - reference], axis=1)
    weighted = np.linalg.solve(errors, terms).T
    prior_offset_spread = (
        _OFFSET_SPREAD * abs(curve.margin_at(1e-3) - curve.margin_at(1e-2)) / np.log(10)
    )
    prior_precision = np.diag([prior_offset_spread**-2, _SCALE_SPREAD**-2])
    prior_mean = np.array([shift, start.scale - 1.0])
    covariance = np.linalg.inv(weighted @ terms + prior_precision)
    offset, stretch = covariance @ (weighted @ (observed - expected) + prior_precision @ prior_mean)
    scale = float(np.clip(1.0 + stretch, *_SCALE_LIMITS))
    spread = float(covariance[0, 0]), float(covariance[0, 1]), float(covariance[1, 1])
    return Adjustment(float(offset), scale, reference, len(margins), spread)
