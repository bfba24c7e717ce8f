"""The bias on the head's two logits that makes its argmax cautious enough for a gallery's size.

A head is trained on as many pairs of one kind as of the other; in a gallery almost every pair is of
two people. A stranger is compared with every enrolled face, so the share of strangers with a match
grows with the number of faces. The bias takes that share back to a promised rate: for a gallery of
n faces, a comparison of two people may say "same" at most rate / n of the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from gallery.types import Float32, Float64

PROMISED_RATE = 0.01
"""The share of strangers who may be given a name (false-positive identification rate)."""
_CAUTION = 2.0
"""The curve was measured on one source of photos and others let more strangers through, so that
half the promised rate is aimed at."""


_OVER_HALF = float(np.nextafter(0.5, 1.0))


@dataclass(frozen=True)
class OperatingCurve:
    """Margins (same - different logit) that pairs of two people exceed with given frequencies.

    log10_rates : falling, float64 (k,): log10 of the false-match rate of one comparison.
    margins : rising, float64 (k,).
    Both were measured on people the head was not trained on; beyond the last the line through the
    last `tail` points is carried on, which is an extrapolation.
    """

    log10_rates: Float64
    margins: Float64
    tail: int = 6

    def margin_at(self, false_match_rate: float) -> float:
        """The margin that pairs of two people exceed this often; never less than zero.

        Zero means the head's own argmax is cautious enough.
        """
        wanted = float(np.log10(false_match_rate))
        if wanted >= self.log10_rates[-1]:
            margin = float(np.interp(-wanted, -self.log10_rates, self.margins))
        else:
            slope, offset = np.polyfit(
                self.log10_rates[-self.tail :], self.margins[-self.tail :], 1
            )
            margin = max(float(slope * wanted + offset), float(self.margins[-1]))
        return max(0.0, margin)

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
class OperatingPoint:
    """The bias for one gallery: subtracted from the "same" logit before the argmax."""

    bias: float
    rate: float
    faces: int

    def judge(self, logits: Float32) -> tuple[Float64, Float64]:
        """Logits (n, 2) to the probability of "same" and the margin, each float64 (n,).

        The verdict is "same" where the margin is positive, which is where the probability is over
        one half: the argmax of the biased logits. A margin of exactly zero is "different".
        """
        margins = logits[:, 1].astype(np.float64) - logits[:, 0] - self.bias
        probabilities: Float64 = expit(margins)
        # A margin too small for the probability to show is still on its side of the border.
        return np.where(margins > 0, np.maximum(probabilities, _OVER_HALF), probabilities), margins


def operating_point(
    curve: OperatingCurve, faces: int, rate: float = PROMISED_RATE
) -> OperatingPoint:
    """The point at which a stranger to a gallery of this many faces gets a name this often."""
    aimed = rate / _CAUTION
    return OperatingPoint(curve.margin_at(aimed / max(1, faces)), rate, faces)
