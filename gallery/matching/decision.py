"""Step 6 of the walk: verdicts become exactly one identity, or none.

A pure function of the verdicts. It only counts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from gallery.dates import YEARS_APART, years_to_nearest
from gallery.types import Candidate, Decision, Face, Outcome, Verdict


def decide(
    face: Face,
    candidates: Sequence[Candidate],
    fpir: float | None = None,
    *,
    excluded: Collection[int] = (),
    are_distinct: bool = False,
    taken: str | None = None,
    dates: Mapping[int, Sequence[str]] = MappingProxyType({}),
    weakness: str = "",
) -> Decision:
    """Decide on one face: one matching candidate is a match, none unknown, several ambiguous.

    candidates : one per identity. A candidate matches if its verdict is "same".
    fpir : the stated false-positive identification rate, to be reported with the decision.
    excluded : ids of identities that the user ruled out for this face.
    are_distinct : whether the user marked the matching identities as different people.
    taken : when the query was taken, if that is known.
    dates : of the photos of each identity, by its id. Dates change no verdict, only the reason.
    weakness : why the gallery finds few of its people, if it does; for the reason of "unknown".
    """
    years = {} if taken is None else {i: years_to_nearest(taken, of) for i, of in dates.items()}
    ranked = tuple(
        sorted(
            (_with_years(c, years) for c in candidates if c.identity.id not in excluded),
            key=lambda c: (-c.probability, c.identity.id),
        )
    )
    matched = matches(ranked)
    nearest = ranked[0] if ranked else None
    best = matched[0] if len(matched) == 1 else nearest
    ruled_out = ", ".join(c.identity.name for c in candidates if c.identity.id in excluded)
    note = f"; you ruled out {ruled_out}" if ruled_out else ""
    if len(matched) == 1:
        outcome = Outcome.MATCH
        reason = f"only {matched[0].identity.name} matches, by {matched[0].photo}"
        reason += f"{_age_note('; the', years.get(matched[0].identity.id))}{note}"
    elif matched:
        outcome = Outcome.AMBIGUOUS
        names = ", ".join(c.identity.name for c in matched)
        distinct = ", which you marked as different people" if are_distinct else ""
        reason = f"{len(matched)} identities match{distinct}: {names}{note}"
    elif nearest is not None:
        outcome = Outcome.UNKNOWN
        remedy = ": if it is them, add one nearer to this age"
        age = _age_note(", whose", years.get(nearest.identity.id), remedy)
        reason = f"no identity matches; the nearest is {nearest.identity.name}{age}{note}"
        reason += f"; {weakness}" if weakness else ""
    elif ruled_out:
        outcome, reason = Outcome.UNKNOWN, f"there are no other candidates{note}"
    else:
        outcome, reason = Outcome.UNKNOWN, "the gallery is empty"
    return Decision(
        outcome=outcome,
        identity=matched[0].identity if outcome is Outcome.MATCH else None,
        probability=None if best is None else best.probability,
        face=face,
        candidates=ranked,
        reason=reason,
        fpir=fpir,
    )


def _with_years(candidate: Candidate, years: Mapping[int, float | None]) -> Candidate:
    distance = years.get(candidate.identity.id)
    return candidate if distance is None else replace(candidate, years_apart=abs(distance))


def _age_note(start: str, years: float | None, remedy: str = "") -> str:
    """Say how far away the photo nearest in time is, if it is further than YEARS_APART."""
    if years is None or abs(years) <= YEARS_APART:
        return ""
    side = "before" if years < 0 else "after"
    return f"{start} photo nearest in time was taken {abs(years):.0f} years {side} this one{remedy}"


def matches(candidates: Sequence[Candidate], excluded: Collection[int] = ()) -> list[Candidate]:
    """Candidates with verdict "same" whose identity ids are not excluded."""
    return [c for c in candidates if c.verdict is Verdict.SAME and c.identity.id not in excluded]


def decision_without_face(outcome: Outcome, reason: str) -> Decision:
    """The decision for a photo without exactly one face to decide on."""
    return Decision(outcome, None, None, None, (), reason)


def one_face_per_identity(decisions: Sequence[Decision]) -> list[Decision]:
    """Of several faces in one photo with the same identity, only the most probable keeps it."""
    best: dict[int, int] = {}
    by_probability = sorted(range(len(decisions)), key=lambda i: -(decisions[i].probability or 0.0))
    for i in by_probability:
        identity = decisions[i].identity
        if identity is not None:
            best.setdefault(identity.id, i)
    return [
        _without_identity(decision)
        if decision.identity is not None and best[decision.identity.id] != i
        else decision
        for i, decision in enumerate(decisions)
    ]


def _without_identity(decision: Decision) -> Decision:
    assert decision.identity is not None
    reason = f"another face in this photo is more likely {decision.identity.name}"
    return replace(decision, outcome=Outcome.UNKNOWN, identity=None, reason=reason)
