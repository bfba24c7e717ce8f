"""Step 6 of the walk: verdicts become exactly one identity, or none. Nothing here can guess."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from gallery.types import Candidate, Decision, Face, Outcome, Verdict


def decide(
    face: Face,
    candidates: Sequence[Candidate],
    promised_rate: float | None = None,
    *,
    not_of: Collection[int] = (),
    told_apart: bool = False,
) -> Decision:
    """The answer for one face.

    candidates : one an identity. Those with verdict "same" are counted: exactly one is the match,
    none is "unknown", several are "ambiguous".
    not_of : identities, by id, of whom the user said that this face is not theirs; they are out.
    told_apart : whether the user said of those that match that they are several people.
    """
    ranked = tuple(
        sorted(
            (c for c in candidates if c.identity.id not in not_of),
            key=lambda c: (-c.probability, c.identity.id),
        )
    )
    out = ", ".join(c.identity.name for c in candidates if c.identity.id in not_of)
    said = f"; not {out}, as you said" if out else ""
    matched = [c for c in ranked if c.verdict is Verdict.SAME]
    nearest = ranked[0] if ranked else None
    if len(matched) == 1:
        best = matched[0]
        return Decision(
            outcome=Outcome.MATCH,
            identity=best.identity,
            probability=best.probability,
            face=face,
            candidates=ranked,
            reason=f"only {best.identity.name} matches, by {best.photo}{said}",
            promised_rate=promised_rate,
        )
    if matched:
        names = ", ".join(c.identity.name for c in matched)
        people = "people whom you told apart" if told_apart else "identities"
        outcome, reason = Outcome.AMBIGUOUS, f"{len(matched)} {people} match: {names}{said}"
    elif nearest is not None:
        outcome = Outcome.UNKNOWN
        reason = f"no one matches; the nearest is {nearest.identity.name}{said}"
    elif out:
        outcome, reason = Outcome.UNKNOWN, f"it is not {out}, as you said, and there is no one else"
    else:
        outcome, reason = Outcome.UNKNOWN, "the gallery is empty"
    return Decision(
        outcome=outcome,
        identity=None,
        probability=None if nearest is None else nearest.probability,
        face=face,
        candidates=ranked,
        reason=reason,
        promised_rate=promised_rate,
    )


def without_face(outcome: Outcome, reason: str) -> Decision:
    """The answer for a photo in which there is not one face to decide on."""
    return Decision(outcome, None, None, None, (), reason)


def one_face_an_identity(decisions: Sequence[Decision]) -> list[Decision]:
    """In one photo a person is at most once: of two faces with one name, the likelier keeps it."""
    winners: dict[int, int] = {}
    order = sorted(range(len(decisions)), key=lambda i: -(decisions[i].probability or 0.0))
    for i in order:
        identity = decisions[i].identity
        if identity is not None:
            winners.setdefault(identity.id, i)
    return [
        _taken_back(decision)
        if decision.identity is not None and winners[decision.identity.id] != i
        else decision
        for i, decision in enumerate(decisions)
    ]


def _taken_back(decision: Decision) -> Decision:
    assert decision.identity is not None
    reason = f"{decision.identity.name} is a likelier face of this photo"
    return replace(decision, outcome=Outcome.UNKNOWN, identity=None, reason=reason)
