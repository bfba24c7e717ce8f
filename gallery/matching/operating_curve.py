"""The false-match rate of one comparison as a function of the margin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gallery.types import Float64


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
