"""Plans that were written: for which state of the gallery, and where they lie."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from gallery.store.tables import DistinctRow, FaceRow, IdentityRow, MisfiledDecisionRow, PlanRow

State = dict[str, str]
"""Of each identity, by id, a digest of its name and of its faces' ids; and after a blank another of
who it was told apart from and which faces were called its own, where anything was."""


@dataclass(frozen=True)
class KeptPlan:
    """state : the gallery's when it was made; None of a folder.  files : where it was written."""

    id: str
    state: State | None
    files: tuple[str, ...]


def state_of(session: Session) -> State:
    """The gallery as it is now."""
    faces: dict[int, list[int]] = {}
    for face, owner in session.execute(
        select(FaceRow.id, FaceRow.identity_id).order_by(FaceRow.id)
    ):
        faces.setdefault(owner, []).append(face)
    decided: dict[int, list[tuple[str, int]]] = {}
    for a, b in session.execute(
        select(DistinctRow.first_id, DistinctRow.second_id).order_by(
            DistinctRow.first_id, DistinctRow.second_id
        )
    ):
        decided.setdefault(a, []).append(("distinct", b))
        decided.setdefault(b, []).append(("distinct", a))
    for face, owner in session.execute(
        select(MisfiledDecisionRow.face_id, MisfiledDecisionRow.identity_id).order_by(
            MisfiledDecisionRow.face_id
        )
    ):
        decided.setdefault(owner, []).append(("right", face))
    rows = session.execute(select(IdentityRow.id, IdentityRow.name).order_by(IdentityRow.id))
    return {
        str(who): _digest((name, faces.get(who, [])))
        + (f" {_digest(decided[who])}" if who in decided else "")
        for who, name in rows
    }


def new_id() -> str:
    """Of a plan that is to be written."""
    return uuid4().hex[:12]


def add(session: Session, plan_id: str, state: State | None, files: list[str]) -> None:
    """Remember a plan."""
    session.add(PlanRow(id=plan_id, state=state, files=files))
    session.flush()


def get(session: Session, plan_id: str) -> KeptPlan | None:
    """A plan that is remembered."""
    row = session.get(PlanRow, plan_id)
    return None if row is None else KeptPlan(row.id, row.state, tuple(row.files))


def forget_all(session: Session) -> list[KeptPlan]:
    """Drop every plan; returns them, so that their files can be removed."""
    found = [
        KeptPlan(row.id, row.state, tuple(row.files)) for row in session.scalars(select(PlanRow))
    ]
    session.execute(delete(PlanRow))
    return found


def changed(before: State, now: State) -> list[tuple[int, str]]:
    """(identity, what became of it) between two states, ascending."""
    found = []
    for who in sorted(before.keys() | now.keys(), key=int):
        if who not in now:
            found.append((int(who), "is gone"))
        elif who not in before:
            found.append((int(who), "is new"))
        elif before[who].split(" ")[0] != now[who].split(" ")[0]:
            found.append((int(who), "has another name or other faces"))
        elif before[who] != now[who]:
            found.append((int(who), "was decided on"))
    return found


def _digest(facts: object) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
