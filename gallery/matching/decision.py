"""Step 6 of the walk: verdicts become exactly one identity, or none.

Pure functions of the verdicts. They count; only among identities that the user told apart, of whom
several match, the margins say whether one is clearly the likelier.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from gallery.dates import YEARS_APART, years_to_nearest
from gallery.types import Candidate, Decision, Face, Outcome, Verdict

Preference = Callable[[float], float]
"""From the lead of one identity's margin over another's, in logits, to the probability that it is
the right one of the two; see OperatingPoint.preference."""
CLEAR = 0.98
"""The least preference at which the likelier of two identities that were told apart is named. At
log-odds of at least t, the share of queries that are misnamed is at most that of a normal
distribution beyond sqrt(2 t) deviations, however alike the two are: here 0.3 %. One in a hundred
may be; the rest is for people whose margins are not normal."""


def decide(
    face: Face,
    candidates: Sequence[Candidate],
    fpir: float | None = None,
    *,
    excluded: Collection[int] = (),
    preference: Preference | None = None,
    taken: str | None = None,
    dates: Mapping[int, Sequence[str]] = MappingProxyType({}),
    note: str = "",
) -> Decision:
    """Decide on one face: one matching candidate is a match, none unknown, several ambiguous.

    candidates : one per identity. A candidate matches if its verdict is "same".
    fpir : the stated false-positive identification rate, to be reported with the decision.
    excluded : ids of identities that the user ruled out for this face.
    preference : given if the user marked all matching identities as different people. Then the
        clearly likelier one of them is the match.
    taken : when the query was taken, if that is known.
    dates : of the photos of each identity, by its id. Dates change no verdict, only the reason.
    note : what else is to be said when nobody matches.
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
    ruled_out = ", ".join(c.identity.name for c in candidates if c.identity.id in excluded)
    exclusion = f"; you ruled out {ruled_out}" if ruled_out else ""
    answer = None
    if len(matched) == 1:
        answer = matched[0]
        outcome, reason = Outcome.MATCH, f"only {answer.identity.name} matches, by {answer.photo}"
        reason += _age_note("; the", years.get(answer.identity.id))
    elif matched:
        answer = None if preference is None else clearly_likelier(matched, preference)
        outcome = Outcome.AMBIGUOUS if answer is None else Outcome.MATCH
        reason = _several(matched, answer, is_told_apart=preference is not None)
    elif nearest is not None:
        outcome = Outcome.UNKNOWN
        remedy = ": if it is them, add one nearer to this age"
        age = _age_note(", whose", years.get(nearest.identity.id), remedy)
        reason = f"no identity matches; the nearest is {nearest.identity.name}{age}"
        exclusion += f"; {note}" if note else ""
    elif ruled_out:
        outcome, reason = Outcome.UNKNOWN, "there are no other candidates"
    else:
        outcome, reason = Outcome.UNKNOWN, "the gallery is empty"
    best = nearest if answer is None else answer
    return Decision(
        outcome=outcome,
        identity=None if answer is None else answer.identity,
        probability=None if best is None else best.probability,
        face=face,
        candidates=ranked,
        reason=reason + exclusion,
        fpir=fpir,
    )


def clearly_likelier(matched: Sequence[Candidate], preference: Preference) -> Candidate | None:
    """The candidate that is clearly likelier than each other; None if there is none."""
    first, second = sorted(matched, key=lambda c: -c.margin)[:2]
    return first if preference(first.margin - second.margin) >= CLEAR else None


def _several(matched: Sequence[Candidate], answer: Candidate | None, *, is_told_apart: bool) -> str:
    """The reason where several identities match."""
    names = ", ".join(f"{c.identity.name} ({min(c.probability, 0.999):.1%})" for c in matched)
    if not is_told_apart:
        return f"{len(matched)} identities match: {names}"
    reason = f"{len(matched)} identities match, which you marked as different people: {names}"
    likelier = matched[0].identity.name
    if answer is None:
        return f"{reason}; {likelier} is the likelier, but not clearly"
    return f"{reason}; {likelier} is clearly the likelier"


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
