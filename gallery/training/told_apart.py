"""How surely the likelier of two look-alikes is right, when a query matches both."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

from gallery.matching.gallery_margins import cross_margins
from gallery.matching.head import Head
from gallery.matching.templates import fuse_templates
from gallery.training.encode import EncodedPeople
from gallery.types import Encodings, Float64, Int64

_LOOK_ALIKES = 8
_PHOTOS, _DRAWS = (1, 2, 3), 5
_PROBES_EACH = 6
_RATE, _COMPARISONS = 0.05, 10
"""Both margins exceed what this share of strangers do in a gallery of so many. A lower rate leaves
too few queries to fit to."""
_FEWEST = 50


def preference_slope(head: Head, people: EncodedPeople, rng: np.random.Generator) -> float:
    """Calibration.preference: the log-odds that the likelier of two is right, for each logit by
    which its margin is the higher.

    Each person and their eight nearest are told apart in turn. For two normal distributions of the
    same width the log-odds are proportional to the difference, however alike the two are.
    """
    rough = head.metadata.calibration
    lowest = rough.margin_at(_RATE, _COMPARISONS)
    leads = np.concatenate(
        [leads_of_pairs(head, people, photos, lowest, rng)[1] for photos in _PHOTOS * _DRAWS]
    )
    if len(leads) < _FEWEST:
        return 0.0
    both_ways = np.concatenate([leads, -leads])[:, None]
    is_right = np.arange(len(both_ways)) < len(leads)
    fitted = LogisticRegression(C=1e3, fit_intercept=False).fit(both_ways, is_right)
    return max(0.0, float(fitted.coef_[0, 0]))


def leads_of_pairs(
    head: Head, people: EncodedPeople, photos: int, lowest: float, rng: np.random.Generator
) -> tuple[Int64, Float64]:
    """Queries that match their own person and a look-alike, each enrolled with so many photos.

    lowest : the margin that both exceed.
    Returns each query's person, and the lead of the margin to their template over that to the
    look-alike's, (q,) each. The lead is negative where the look-alike is the likelier.
    """
    numbers, counts = np.unique(people.people, return_counts=True)
    numbers = numbers[counts > photos]
    if len(numbers) < 2:
        return np.empty(0, dtype=np.int64), np.empty(0)
    shuffled = [rng.permutation(np.flatnonzero(people.people == number)) for number in numbers]
    enrolled = np.concatenate([rows[:photos] for rows in shuffled])
    templates = fuse_templates(people.people[enrolled], people.enrolled.take(enrolled)).encodings
    probes = [rows[photos : photos + _PROBES_EACH] for rows in shuffled]
    owners = np.repeat(np.arange(len(numbers)), [len(rows) for rows in probes])
    margins = cross_margins(head, people.probes.take(np.concatenate(probes)), templates)
    own = margins[np.arange(len(owners)), owners]
    rivals = margins[np.arange(len(owners))[:, None], _nearest(templates)[owners]]
    are_both = (rivals > lowest) & (own[:, None] > lowest)
    leads = (own[:, None] - rivals)[are_both].astype(np.float64)
    return numbers[owners[np.nonzero(are_both)[0]]], leads


def _nearest(templates: Encodings) -> Int64:
    """The rows of each template's look-alikes, nearest first, int64 (n, at most 8)."""
    cosines = templates.vectors @ templates.vectors.T
    np.fill_diagonal(cosines, -2.0)
    return np.argsort(-cosines, axis=1)[:, : min(_LOOK_ALIKES, len(cosines) - 1)]
