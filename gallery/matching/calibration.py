"""A head's calibration coefficients: its margins as measured on people it was not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gallery.matching.operating_curve import OperatingCurve
from gallery.types import Float64

CROWDING_START = 30
"""Crowding sets in above this many comparisons; see Calibration.crowding."""


@dataclass(frozen=True)
class ImpostorPrior:
    """Margins between different people who are as mixed as those the head was calibrated on.

    mean, deviation : of the margins of single faces to templates of other people.
    residual : their deviation once the mean margins of both faces are subtracted.
    identity_variance, probe_variance : of the templates' and of the probes' mean margins.
    per_face : whether the mean margins of faces are subtracted before a verdict.
    """

    mean: float
    deviation: float
    residual: float
    identity_variance: float
    probe_variance: float
    per_face: bool

    def as_json(self) -> dict[str, Any]:
        """Return the form stored in a head file."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> ImpostorPrior:
        """Read a stored prior. Raises KeyError, TypeError or ValueError if it is invalid."""
        prior = cls(
            mean=float(stored["mean"]),
            deviation=float(stored["deviation"]),
            residual=float(stored["residual"]),
            identity_variance=float(stored["identity_variance"]),
            probe_variance=float(stored["probe_variance"]),
            per_face=bool(stored["per_face"]),
        )
        variances = prior.identity_variance, prior.probe_variance
        is_finite = np.isfinite([prior.mean, prior.deviation, prior.residual, *variances]).all()
        if not (is_finite and min(prior.deviation, prior.residual) > 0 <= min(variances)):
            raise ValueError(f"impossible moments of margins: {prior}")
        return prior


@dataclass(frozen=True)
class Caution:
    """How much lower a rate must be aimed at, so that the stated one holds.

    In a small gallery little is known of its strangers, and people may be more alike than those the
    head was calibrated on. Measured in galleries of mixed people and of people who look alike.

    sizes : ascending numbers of identities, (s,).  rates : descending rates, (r,).
    factors : (s, r), at least 1.
    """

    sizes: tuple[int, ...]
    rates: tuple[float, ...]
    factors: tuple[tuple[float, ...], ...]

    def factor(self, identities: int, rate: float) -> float:
        """Return the factor, interpolated between logarithms and clamped."""
        log_rates = np.log(np.array(self.rates))[::-1]
        by_size = [
            np.interp(np.log(rate), log_rates, np.log(np.array(factors))[::-1])
            for factors in self.factors
        ]
        return float(np.exp(np.interp(np.log(max(1, identities)), np.log(self.sizes), by_size)))

    def as_json(self) -> dict[str, Any]:
        """Return the form stored in a head file."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Caution:
        """Read a stored table. Raises KeyError, TypeError or ValueError if it is invalid."""
        table = cls(
            tuple(int(size) for size in stored["sizes"]),
            tuple(float(rate) for rate in stored["rates"]),
            tuple(tuple(float(factor) for factor in row) for row in stored["factors"]),
        )
        factors = np.array(table.factors)
        is_full = factors.shape == (len(table.sizes), len(table.rates)) and factors.size > 0
        if not (is_full and np.isfinite(factors).all() and (factors >= 1).all()):
            raise ValueError(f"a table of factors of shape {factors.shape}, or some below 1")
        if (np.diff(table.sizes, prepend=0) <= 0).any():
            raise ValueError("a table whose sizes do not rise from 1")
        if (np.diff(table.rates, prepend=1.0) >= 0).any() or table.rates[-1] <= 0:
            raise ValueError("a table whose rates do not fall from below 1 to above 0")
        return table


@dataclass(frozen=True)
class Calibration:
    """A head's margins as measured on people it was not trained on.

    strangers : curve for a query against the template of a different person.
    prior : of the margins between different people.
    caution : how much lower the rate is that a point is set for.
    crowding : exponent of the effective number of comparisons. A stranger who matches one identity
        is more likely to match others, so n > 30 comparisons let in only as many strangers as
        30 * (n / 30) ** crowding independent ones.
    known : float64 (3, 101), margins of known people to their own template: 101 ascending
        quantiles each for people enrolled with 1, 2, and 3 or more photos.
    probability_weights : float64 (4,). The log-odds that the most probable candidate is right, if
        every second query is a stranger's, are probability_weights @ (1, margin, ln of the false
        matches expected at this margin, ln of the comparisons).
    preference : the log-odds that the likelier of two identities is right, when a query matches
        both and they are two people, for each logit by which its margin is the higher.
    """

    strangers: OperatingCurve
    prior: ImpostorPrior
    caution: Caution
    crowding: float
    known: Float64
    probability_weights: Float64
    preference: float

    def comparison_rate(self, rate: float, comparisons: int) -> float:
        """Return the rate per comparison that amounts to this rate per query."""
        return float(-np.log1p(-rate) / self.effective_comparisons(max(1, comparisons)))

    def effective_comparisons(self, comparisons: int) -> float:
        """Return the effective number of comparisons; see `crowding`."""
        return float(
            min(comparisons, CROWDING_START)
            * max(1.0, comparisons / CROWDING_START) ** self.crowding
        )

    def margin_at(self, rate: float, comparisons: int) -> float:
        """Return the margin that a stranger's likeliest candidate exceeds at this rate."""
        return self.strangers.margin_at(self.comparison_rate(rate, comparisons))

    def false_matches(self, margins: Float64, comparisons: int) -> Float64:
        """Return how many candidates of a stranger are expected above each margin, (n,) -> (n,)."""
        counts: Float64 = self.effective_comparisons(comparisons) * (
            10 ** self.strangers.log10_rate_at(margins)
        )
        return counts

    def as_json(self) -> dict[str, Any]:
        """Return the form stored in a head file."""
        return {
            "strangers": self.strangers.as_json(),
            "impostors": self.prior.as_json(),
            "caution": self.caution.as_json(),
            "crowding": self.crowding,
            "known": self.known.tolist(),
            "sureness": self.probability_weights.tolist(),
            "preference": self.preference,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Calibration:
        """Read a stored calibration. Raises KeyError, TypeError or ValueError if it is invalid."""
        known, sureness = np.array(stored["known"], float), np.array(stored["sureness"], float)
        if known.shape != (3, 101) or sureness.shape != (4,):
            raise ValueError(f"a calibration of {known.shape} margins and {sureness.shape} weights")
        crowding, preference = float(stored["crowding"]), float(stored["preference"])
        is_finite = np.isfinite(known).all() and np.isfinite(sureness).all()
        if not (is_finite and 0 < crowding <= 1 and 0 <= preference < np.inf):
            raise ValueError(
                "a calibration with values that are not finite, a crowding not in (0, 1], or a"
                " negative preference"
            )
        return cls(
            OperatingCurve.from_json(stored["strangers"]),
            ImpostorPrior.from_json(stored["impostors"]),
            Caution.from_json(stored["caution"]),
            crowding,
            known,
            sureness,
            preference,
        )
