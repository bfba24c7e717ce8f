"""The faces of one photo, decided on together: a person has one face in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gallery.matching.decision import CLEAR, Preference, matches
from gallery.types import Candidate, Decision, Float64, Outcome

_IMPOSSIBLE = -1e6


def assign(
    decisions: Sequence[Decision], preferences: Sequence[Preference | None]
) -> list[Decision]:
    """Decide on a photo's faces as a whole: an identity is given to at most one of them.

    Of several faces with the same match, only the likeliest keeps it. Faces that match several
    identities the user told apart share them out so that the sum of the margins is the highest;
    each is answered where every other way of sharing them out is clearly less likely.

    decisions : of each face alone.
    preferences : for each face, given if the user marked all its matches as different people.
    """
    options = [_options(d, p) for d, p in zip(decisions, preferences, strict=True)]
    ids = sorted({c.identity.id for candidates in options for c in candidates})
    if not ids:
        return list(decisions)
    gains = np.full((len(options), len(ids)), _IMPOSSIBLE)
    for face, candidates in enumerate(options):
        for candidate in candidates:
            gains[face, ids.index(candidate.identity.id)] = candidate.margin
    total, columns = _best(gains)
    together = []
    for face, decision in enumerate(decisions):
        given = ids[columns[face]] if columns[face] >= 0 else None
        preference = preferences[face]
        if decision.identity is not None and decision.identity.id != given:
            decision = _without_identity(decision)
        elif len(options[face]) > 1 and given is not None and preference is not None:
            other_ways = gains.copy()
            other_ways[face, columns[face]] = _IMPOSSIBLE
            if preference(total - _best(other_ways)[0]) >= CLEAR:
                chosen = next(c for c in options[face] if c.identity.id == given)
                decision = _with_identity(decision, chosen)
        together.append(decision)
    return together


def _options(decision: Decision, preference: Preference | None) -> list[Candidate]:
    """Whom the face may be given to: its match, or those it may be of people who were told apart.

    Those who are clearly less likely than its likeliest are left out: the second face of a
    person, in a mirror, is not given to a look-alike because the first one has the name.
    """
    if decision.outcome is Outcome.MATCH and decision.decided_by is not None:
        return [decision.decided_by]
    if decision.outcome is not Outcome.AMBIGUOUS or preference is None:
        return []
    matched = matches(decision.candidates)
    highest = max(c.margin for c in matched)
    return [c for c in matched if preference(highest - c.margin) < CLEAR]


def _best(gains: Float64) -> tuple[float, list[int]]:
    """The highest sum of gains, and each row's column in it, or -1. A row may stay without one.

    gains : float64 (faces, identities).
    """
    from scipy.optimize import linear_sum_assignment  # slow to import; few photos need it

    faces, identities = gains.shape
    padded = np.concatenate([gains, np.zeros((faces, faces))], axis=1)
    rows, columns = linear_sum_assignment(padded, maximize=True)
    return (
        float(padded[rows, columns].sum()),
        [int(column) if column < identities else -1 for column in columns],
    )


def _without_identity(decision: Decision) -> Decision:
    assert decision.identity is not None
    reason = f"another face in this photo is more likely {decision.identity.name}"
    return replace(decision, outcome=Outcome.UNKNOWN, identity=None, reason=reason)


def _with_identity(decision: Decision, chosen: Candidate) -> Decision:
    reason, _, _ = decision.reason.partition("; ")
    others = "since the other faces in this photo are more likely the others"
    return replace(
        decision,
        outcome=Outcome.MATCH,
        identity=chosen.identity,
        probability=chosen.probability,
        reason=f"{reason}; it is {chosen.identity.name}, {others}",
    )
