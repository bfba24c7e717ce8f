"""A plan: every finding with a place for the user's decision, and what a decision means.

A finding has an `accept`, and each of its members one of its own: yes, no, or nothing for
undecided. A member that has none goes with the finding. A finding is decided when it or any member
is; a mark on a member says more than a no on the whole finding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gallery.dedupe.findings import Findings, FoundFace

KINDS = ("misfiled", "identities", "copies", "people")


@dataclass(frozen=True)
class Member:
    """A photo, a face or a name of a finding. accept : None is undecided."""

    member: str
    accept: bool | None = None
    box: tuple[float, ...] = ()
    face_id: int | None = None
    identity_id: int | None = None
    key: str = ""


@dataclass(frozen=True)
class Said:
    """What a decided finding says. open : neither; all of them where `whole` is a no to the group
    as such, which says nothing of any member.
    """

    yes: tuple[Member, ...]
    no: tuple[Member, ...]
    open: tuple[Member, ...]
    whole: bool | None


@dataclass(frozen=True)
class Planned:
    """One finding. suggested : misfiled: the name to put the face under, which the user may
    change.  suggested_id : whose name it was when the plan was made.
    """

    id: str
    kind: str
    probability: float
    why: str
    members: tuple[Member, ...]
    accept: bool | None = None
    suggested: str = ""
    suggested_id: int | None = None

    def said(self, over: float | None = None) -> Said | None:
        """None when it is undecided.

        over : what is undecided throughout and at least so probable is accepted, but a wrong name
        for which there is no right one.
        """
        whole = self.accept
        marked = [m.accept for m in self.members if m.accept is not None]
        if whole is None and not marked:
            if over is None or self.probability < over:
                return None
            if self.kind == "misfiled" and not self.suggested:
                return None
            whole = True
        if (whole is False and not marked) or marked == [False] * len(self.members):
            return Said((), (), self.members, False)
        # The others go with a no when there is somebody whom they are not.
        rest = whole if whole or any(marked) else None
        decided = [(m, rest if m.accept is None else m.accept) for m in self.members]

        def those(value: bool | None) -> tuple[Member, ...]:
            return tuple(m for m, accept in decided if accept is value)

        return Said(those(True), those(False), those(None), whole)


@dataclass(frozen=True)
class Plan:
    """id : under which the gallery remembers for which state it was made."""

    id: str
    findings: tuple[Planned, ...]


def plan_of(found: Findings, plan_id: str) -> Plan:
    """Undecided throughout, in the order of the report."""
    return Plan(plan_id, tuple(_planned(found)))


def _planned(found: Findings) -> Iterator[Planned]:
    for i, wrong in enumerate(found.misfiled, start=1):
        yield Planned(
            f"m{i}", "misfiled", wrong.probability, f"under {wrong.identity}: {wrong.why}",
            (_face(wrong.face, wrong.identity_id),), suggested=wrong.suggested or "",
            suggested_id=wrong.suggested_id,
        )  # fmt: skip
    for i, same in enumerate(found.identities, start=1):
        ids = same.ids or (None,) * len(same.names)
        named = tuple(Member(n, identity_id=k) for n, k in zip(same.names, ids, strict=True))
        yield Planned(f"i{i}", "identities", same.probability, same.why, named)
    for i, copies in enumerate(found.copies, start=1):
        members = (
            tuple(_face(face) for face in copies.faces)
            if copies.faces
            else tuple(Member(photo) for photo in copies.photos)
        )
        yield Planned(f"c{i}", "copies", copies.probability, copies.why, members)
    for person in found.people:
        yield Planned(
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
