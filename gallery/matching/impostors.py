"""How alike a gallery's people are, and so which margins strangers can be expected to reach.

A gallery's identities are strangers to each other. Their margins to each other tell where
strangers' margins lie and how widely they spread: in a class of children all are higher than in an
archive of adults. What a few identities cannot tell is filled in by a prior, measured when the head
was trained (`ImpostorPrior`).

Single faces differ as well: a child's face, or a blurred one, resembles everybody. If the prior
says so (`per_face`), the mean margins of both faces to the gallery are subtracted from a margin,
and the margins of a probe that spread more widely than others' are scaled down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gallery.matching.adjustment import Adjustment
from gallery.matching.calibration import ImpostorPrior
from gallery.types import Bool, Float32, Float64, Int64

_PRIOR_PAIRS = 20
"""The prior of the deviation weighs as much as this many pairs of identities."""
_PRIOR_IDENTITIES = 10
"""The prior of the variance between identities weighs as much as this many of them."""
_PRIOR_MARGINS = 10
"""A probe's deviation is mixed with the gallery's as if that were this many margins."""
_HIGHER, _LOWER = 1.0, 0.3
"""How far the mean margin of a gallery may be above and below the prior's, in deviations: people
are seldom less alike than those of a mixed archive."""
_DEVIATION_GROWTH, _MOST_ALIKE = 0.17, 5.0
"""Where margins are higher by one deviation, they spread more widely by this much, in ln."""
_EXTREME = 4.0
"""Margins so many deviations above the median are left out: two identities may be one person."""
_FEWEST_FOR_MEDIAN, _MOST_SHIFTED = 5, 3.0
"""Below so many identities most margins may be of one person, enrolled several times: none counts
that is so many deviations above the prior's mean."""
_PROBES_EXTREMES = 0.15
"""Of a probe's margins, at most this share is left out as extreme: more are not its own person."""


@dataclass(frozen=True)
class Impostors:
    """Margins between a sample of a gallery's identities.

    mean, deviation : expected of strangers' margins here.
    residual : the deviation once the mean margins of both faces are subtracted.
    identity_variance : of the templates' mean margins.
    identity_ids : of the sample, int64 (s,), ascending.
    effects : what is subtracted from the margins to each of the sample's templates, float64 (s,).
    faces, templates : one face of each identity of the sample, and its template, as sides of pairs,
        float32 (s, SIDE_WIDTH).
    """

    prior: ImpostorPrior
    mean: float
    deviation: float
    residual: float
    identity_variance: float
    identity_ids: Int64
    effects: Float64
    faces: Float32
    templates: Float32

    @classmethod
    def of(
        cls,
        prior: ImpostorPrior,
        identity_ids: Int64,
        margins: Float64,
        faces: Float32,
        templates: Float32,
    ) -> Impostors:
        """Estimate from the margins of one face of each identity to the templates of the others.

        margins : (s, s), rows are faces; the diagonal is not looked at.
        """
        size = len(identity_ids)
        others = ~np.eye(size, dtype=np.bool_)
        unknown = cls(
            prior,
            prior.mean,
            prior.deviation,
            prior.residual,
            prior.identity_variance,
            identity_ids,
            np.zeros(size),
            faces,
            templates,
        )
        if size < 2:
            return unknown
        counted = others & (margins <= _highest(margins[others], size, prior))
        if not counted.any():
            return unknown
        pairs = counted.sum() / 2
        observed = float(margins[counted].mean())
        margins = np.where(counted, margins, 0.0)
        variance = prior.deviation**2
        error = (4 * prior.identity_variance / size + variance / pairs) / variance
        spread = (_HIGHER if observed > prior.mean else _LOWER) ** 2
        mean = prior.mean + (observed - prior.mean) * spread / (spread + error)
        shift = float(np.clip((mean - prior.mean) / prior.deviation, -1.0, _MOST_ALIKE))
        growth = float(np.exp(_DEVIATION_GROWTH * shift))
        deviation = _pooled(float(margins[counted].var()), pairs, prior.deviation * growth)
        by_face, by_template = (_means(margins, counted, observed, axis) for axis in (1, 0))
        residuals = margins - by_face[:, None] - by_template + observed
        freedom = max(0.0, pairs - size)
        residual_variance = float((residuals[counted] ** 2).sum()) / 2 / max(1.0, freedom)
        residual = _pooled(residual_variance, freedom, prior.residual * growth)
        between = max(0.0, float(by_template.var(ddof=1)) - residual_variance / (size - 1))
        if not freedom:
            between = prior.identity_variance * growth**2
        identity_variance = (
            size * between + _PRIOR_IDENTITIES * prior.identity_variance * growth**2
        ) / (size + _PRIOR_IDENTITIES)
        known = replace(
            unknown,
            mean=mean,
            deviation=deviation,
            residual=residual,
            identity_variance=identity_variance,
        )
        return replace(known, effects=known.template_effects(by_template, size - 1))

    @property
    def is_per_face(self) -> bool:
        """Whether the mean margins of faces are subtracted."""
        return self.prior.per_face and len(self.identity_ids) > 1

    def for_pairs(self) -> Impostors:
        """Return the same for margins that are not normalised."""
        return replace(self, prior=replace(self.prior, per_face=False))

    def adjustment(self) -> Adjustment:
        """Return the map from the head's curve to the margins here, normalised if per_face."""
        scale = (
            self.residual / self.prior.residual
            if self.prior.per_face
            else self.deviation / self.prior.deviation
        )
        pairs = len(self.identity_ids) * (len(self.identity_ids) - 1) // 2
        return Adjustment(self.mean - self.prior.mean, scale, self.prior.mean, pairs)

    def template_effects(self, mean_margins: Float64, faces: int) -> Float64:
        """Return what is subtracted from the margins to some templates, (n,) -> (n,).

        mean_margins : of so many faces of other identities to each template.
        """
        share = _share(self.identity_variance, self.residual, faces)
        effects: Float64 = share * (mean_margins - self.mean)
        return effects

    def normalised(self, margins: Float64, effects: Float64, sample: Float64) -> Float64:
        """Return the margins of q probes to n templates with the faces' own means subtracted.

        margins : (q, n).  effects : of the templates, (n,), or of each pair's, (q, n).
        sample : margins of the probes to the sample's templates, (q, s). Each probe's highest one
            or two are left out, which may be its own person's, and a few that are extreme.
        """
        left_out = 1 if sample.shape[1] < 3 else 2
        rest = np.sort(sample - self.effects, axis=1)[:, : sample.shape[1] - left_out]
        if not rest.shape[1]:
            return margins - effects
        highest = np.median(rest, axis=1, keepdims=True) + _EXTREME * self.residual
        is_extreme = rest > highest
        is_extreme &= is_extreme.mean(axis=1, keepdims=True) <= _PROBES_EXTREMES
        counts = (~is_extreme).sum(axis=1)
        own = np.where(is_extreme, 0.0, rest).sum(axis=1) / counts
        squares = np.where(is_extreme, 0.0, (rest - own[:, None]) ** 2).sum(axis=1)
        variances = (squares + _PRIOR_MARGINS * self.residual**2) / (counts - 1 + _PRIOR_MARGINS)
        deviations = np.sqrt(np.maximum(variances, self.residual**2))
        prior = self.prior
        ratio = prior.probe_variance / max(prior.identity_variance, 1e-12)
        share = _share(self.identity_variance * ratio, self.residual, rest.shape[1])
        centred = margins - self.mean - effects - share * (own - self.mean)[:, None]
        normalised: Float64 = self.mean + centred * (self.residual / deviations)[:, None]
        return normalised


def _highest(margins: Float64, size: int, prior: ImpostorPrior) -> float:
    """Return the highest margin that counts as one of two people."""
    if size < _FEWEST_FOR_MEDIAN:
        return prior.mean + _MOST_SHIFTED * prior.deviation
    median = float(np.median(margins))
    deviation = 1.4826 * float(np.median(np.abs(margins - median)))  # of a normal distribution
    return median + _EXTREME * max(deviation, prior.deviation)


def _means(margins: Float64, counted: Bool, default: float, axis: int) -> Float64:
    """Return the means of the margins that count, along an axis; `default` where none does."""
    counts = counted.sum(axis=axis)
    means: Float64 = np.where(counts, margins.sum(axis=axis) / np.maximum(counts, 1), default)
    return means


def _pooled(variance: float, count: float, prior: float) -> float:
    """Return the deviation of `count` observations pooled with that of the prior."""
    return float(np.sqrt((count * variance + _PRIOR_PAIRS * prior**2) / (count + _PRIOR_PAIRS)))


def _share(variance: float, residual: float, count: int) -> float:
    """Return how much of a mean of `count` margins is the face's own, and not chance."""
    return variance / (variance + residual**2 / max(1, count)) if variance > 0 else 0.0
