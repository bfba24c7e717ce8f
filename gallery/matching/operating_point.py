"""The operating point: the bias on the head's "same" logit that holds the stated FPIR.

A stranger is compared with every enrolled identity, so the share of strangers who match someone
grows with the gallery. How often two different people reach a margin is known from two sources:
measurements made when the head was trained (`Calibration`), and the gallery itself, whose
identities are strangers to each other (`Impostors`). Together they give the margin that strangers
exceed at the stated false-positive identification rate (FPIR). It is subtracted from the "same"
logit, and the argmax decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gallery.matching.adjustment import Adjustment
from gallery.matching.calibration import Calibration
from gallery.matching.impostors import Impostors
from gallery.types import Bool, Float32, Float64

DEFAULT_FPIR = 0.01
"""The default false-positive identification rate: the share of strangers who match someone."""
_CAUTION = 1.4
"""Without impostors, or after a calibration on strangers, the rate aimed at is lower than the
stated one by _CAUTION * exp(variance / 2), the mean of a log-normal rate."""
_USEFUL_SHARE = 0.5


@dataclass(frozen=True)
class OperatingPoint:
    """The bias for one gallery: subtracted from the "same" logit before the argmax.

    fpir : the stated false-positive identification rate.
    target_fpir : the lower rate that the bias is set for, to allow for uncertainty.
    comparisons : how many identities a query is compared with.
    impostors : the gallery's identities; None when nothing is known about them.
    """

    bias: float
    fpir: float
    target_fpir: float
    comparisons: int
    adjustment: Adjustment
    calibration: Calibration
    impostors: Impostors | None = field(default=None, compare=False)

    def is_same(self, margins: Float32) -> Bool:
        """Return whether each verdict is "same", (n,) -> bool (n,).

        A margin equal to the bias is "different".
        """
        return margins.astype(np.float64) > self.bias

    def probabilities(self, margins: Float32) -> Float64:
        """Return the probability that each pair is one person, (n,) -> (n,).

        It assumes that every second query is a stranger's.
        """
        on_curve = self.adjustment.from_gallery(margins.astype(np.float64))
        features = probability_features(self.calibration, on_curve, self.comparisons)
        return _sigmoid(features @ self.calibration.probability_weights)

    def preference(self, lead: float) -> float:
        """Return the probability that the likelier of two identities is right.

        Both match a query, and they are two people. lead : of its margin over the other's, logits.
        """
        return float(
            _sigmoid(np.asarray(self.calibration.preference * lead / self.adjustment.scale))
        )

    def expected_found(self, photos: int) -> float:
        """Return the expected share of known people found, with this many photos enrolled of each.

        It holds for photos like those the head was calibrated on.
        """
        margins = self.calibration.known[min(max(photos, 1), 3) - 1]
        return float(1.0 - np.interp(self.bias, margins, np.linspace(0.0, 1.0, margins.size)))

    @property
    def is_calibrated(self) -> bool:
        """Whether it was fitted to photos of strangers."""
        return self.adjustment.spread is not None

    def weakness(self, photos: int) -> str:
        """Return why too few known people are expected to be found; empty if enough are."""
        found = self.expected_found(photos)
        if found >= _USEFUL_SHARE:
            return ""
        reason, remedy = "so many people are enrolled", "enrol more photos of each person"
        if self.is_calibrated:
            reason = "strangers look so like the people enrolled"
        else:
            remedy += ", and run `gallery calibrate` on photos of strangers"
            if self.adjustment.offset > self.calibration.prior.deviation:
                reason = "the enrolled people look so alike"
        return (
            f"only about {found:.0%} of known people are expected to be found, because {reason} and"
            f" no more than {100 * self.fpir:g} % of strangers shall match; {remedy}"
        )


def rate_for_any(rate: float, faces: int) -> float:
    """Return the share of photos of so many strangers in which at least one matches."""
    return float(-np.expm1(faces * np.log1p(-rate)))


def rate_for_each(rate: float, faces: int) -> float:
    """Return the rate for each stranger that keeps this rate for photos of so many."""
    return float(-np.expm1(np.log1p(-rate) / faces))


def probability_features(calibration: Calibration, margins: Float64, comparisons: int) -> Float64:
    """Return the features of a probability, (n,) -> (n, 4); see Calibration.probability_weights.

    margins : on the scale of the head's curve.
    """
    false_matches = np.maximum(calibration.false_matches(margins, comparisons), 1e-300)
    log_comparisons = np.full(len(margins), np.log(max(1, comparisons)))
    return np.stack(
        [np.ones(len(margins)), margins, np.log(false_matches), log_comparisons], axis=1
    )


def operating_point(
    calibration: Calibration,
    comparisons: int,
    *,
    fpir: float = DEFAULT_FPIR,
    adjustment: Adjustment | None = None,
    impostors: Impostors | None = None,
) -> OperatingPoint:
    """Return the point at which strangers' queries match at this rate.

    comparisons : how many identities each query is compared with.
    fpir : the stated false-positive identification rate.
    adjustment : fitted to strangers of the gallery; None takes that of the impostors.
    impostors : the gallery's identities; None when nothing is known about them.
    """
    if adjustment is None and impostors is not None:
        adjustment = impostors.adjustment()
        target_fpir = fpir / calibration.caution.factor(comparisons, fpir)
    else:
        adjustment = Adjustment() if adjustment is None else adjustment
        fmr = calibration.comparison_rate(fpir / _CAUTION, comparisons)
        curve = calibration.strangers
        slope = (curve.margin_at(fmr * 1.5) - curve.margin_at(fmr / 1.5)) / (2 * np.log(1.5))
        variance = adjustment.variance(curve.margin_at(fmr), min(float(slope), -1e-6))
        target_fpir = fpir / _CAUTION / float(np.exp(variance / 2))
    bias = adjustment.to_gallery(calibration.margin_at(target_fpir, comparisons))
    return OperatingPoint(bias, fpir, target_fpir, comparisons, adjustment, calibration, impostors)


def _sigmoid(log_odds: Float64) -> Float64:
    """The logistic function, without the overflow of exp; scipy's takes 0.2 s to import."""
    sigmoid: Float64 = np.exp(-np.logaddexp(0.0, -log_odds))
    return sigmoid
