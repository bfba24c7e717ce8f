"""A plan: every finding with the user's decision on it, and what a decision means.

A finding has an `accept`, and so has each of its members: yes, no, or empty for undecided. A member
without one follows its finding. A finding is decided when it or any member is. Marks on members
are more specific than a no on the whole finding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gallery.dedupe.findings import Findings, FoundFace

KINDS = ("misfiled", "identities", "copies", "people")


@dataclass(frozen=True)
class Member:
    """A photo, face or name of a finding. accept : None is undecided."""

    member: str
    accept: bool | None = None
    box: tuple[float, ...] = ()
    face_id: int | None = None
    identity_id: int | None = None
    key: str = ""


@dataclass(frozen=True)
class FindingDecision:
    """The members of a decided finding by what was decided.

    whole : the decision on the finding. A no on the finding alone decides nothing about a single
    member: then all are undecided.
    """

    accepted: tuple[Member, ...]
    rejected: tuple[Member, ...]
    undecided: tuple[Member, ...]
    whole: bool | None


@dataclass(frozen=True)
class PlannedFinding:
    """One finding.

    suggested : of kind `misfiled`, the name to put the face under; the user may change it.
    suggested_id : the identity of that name when the plan was made.
    """

    id: str
    kind: str
    probability: float
    why: str
    members: tuple[Member, ...]
    accept: bool | None = None
    suggested: str = ""
    suggested_id: int | None = None

    def decision(self, accept_over: float | None = None) -> FindingDecision | None:
        """None when the finding is undecided.

        accept_over : accept an undecided finding of at least this probability, unless it is a wrong
        name without a suggested one.
        """
        whole = self.accept
        marks = [m.accept for m in self.members if m.accept is not None]
        if whole is None and not marks:
            if accept_over is None or self.probability < accept_over:
                return None
            if self.kind == "misfiled" and not self.suggested:
                return None
            whole = True
        if (whole is False and not marks) or marks == [False] * len(self.members):
            return FindingDecision((), (), self.members, False)
        # A no applies to the unmarked members only if others are accepted.
        default = whole if whole or any(marks) else None
        accepts = [default if m.accept is None else m.accept for m in self.members]

        def members_with(value: bool | None) -> tuple[Member, ...]:
            return tuple(m for m, a in zip(self.members, accepts, strict=True) if a is value)

        return FindingDecision(members_with(True), members_with(False), members_with(None), whole)


@dataclass(frozen=True)
class Plan:
    """id : the gallery stores the state that the plan was made for under this id."""

    id: str
    findings: tuple[PlannedFinding, ...]


def plan_of(findings: Findings, plan_id: str) -> Plan:
    """All findings undecided, but people the user confirmed before; in the order of the report."""
    return Plan(plan_id, tuple(_planned(findings)))


def _planned(findings: Findings) -> Iterator[PlannedFinding]:
    for i, wrong in enumerate(findings.misfiled, start=1):
        yield PlannedFinding(
            f"m{i}", "misfiled", wrong.probability, f"under {wrong.identity}: {wrong.why}",
            (_face(wrong.face, wrong.identity_id),), suggested=wrong.suggested or "",
            suggested_id=wrong.suggested_id,
        )  # fmt: skip
    for i, same in enumerate(findings.identities, start=1):
        ids = same.ids or (None,) * len(same.names)
        members = tuple(Member(n, identity_id=k) for n, k in zip(same.names, ids, strict=True))
        yield PlannedFinding(f"i{i}", "identities", same.probability, same.why, members)
    for i, copies in enumerate(findings.copies, start=1):
        members = (
            tuple(_face(face) for face in copies.faces)
            if copies.faces
            else tuple(Member(photo) for photo in copies.photos)
        )
        yield PlannedFinding(f"c{i}", "copies", copies.probability, copies.why, members)
    for person in findings.people:
        yield PlannedFinding(
            f"p-{person.id}", "people", person.probability, person.why,
            tuple(_face(face) for face in person.faces),
            accept=True if person.confirmed else None,
        )  # fmt: skip


def _face(face: FoundFace, identity_id: int | None = None) -> Member:
    return Member(
        face.photo,
        box=tuple(face.box.as_list()),
        face_id=face.face_id,
        identity_id=identity_id,
        key=face.key,
    )
