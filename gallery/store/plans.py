"""Dedupe plans: the state of the gallery they were made for, and their files."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from gallery.store.dedupe_tables import MisfiledDecisionRow, PlanRow
from gallery.store.tables import DistinctRow, FaceRow, IdentityRow

State = dict[str, str]
"""By identity id, a digest of its name and face ids. After a space follows a digest of the user's
decisions on it (other people, confirmed faces), if there are any."""


@dataclass(frozen=True)
class PlanRecord:
    """A plan.

    state : the gallery's when the plan was made; None for a plan for a folder.
    files : paths of the plan's files.
    """

    id: str
    state: State | None
    files: tuple[str, ...]


def state_of(session: Session) -> State:
    """Return the gallery's current state."""
    faces: dict[int, list[int]] = {}
    for face, owner in session.execute(
        select(FaceRow.id, FaceRow.identity_id).order_by(FaceRow.id)
    ):
        faces.setdefault(owner, []).append(face)
    decisions: dict[int, list[tuple[str, int]]] = {}
    for a, b in session.execute(
        select(DistinctRow.first_id, DistinctRow.second_id).order_by(
            DistinctRow.first_id, DistinctRow.second_id
        )
    ):
        decisions.setdefault(a, []).append(("distinct", b))
        decisions.setdefault(b, []).append(("distinct", a))
    for face, owner in session.execute(
        select(MisfiledDecisionRow.face_id, MisfiledDecisionRow.identity_id).order_by(
            MisfiledDecisionRow.face_id
        )
    ):
        decisions.setdefault(owner, []).append(("right", face))
    rows = session.execute(select(IdentityRow.id, IdentityRow.name).order_by(IdentityRow.id))
    return {
        str(identity): _digest((name, faces.get(identity, [])))
        + (f" {_digest(decisions[identity])}" if identity in decisions else "")
        for identity, name in rows
    }


def new_id() -> str:
    """Return an id for a new plan."""
    return uuid4().hex[:12]


def add(session: Session, plan_id: str, state: State | None, files: list[str]) -> None:
    """Store a plan."""
    session.add(PlanRow(id=plan_id, state=state, files=files))
    session.flush()


def get(session: Session, plan_id: str) -> PlanRecord | None:
    """Return a plan, or None if it is not stored."""
    row = session.get(PlanRow, plan_id)
    return None if row is None else _record(row)


def count(session: Session) -> int:
    """Return the number of plans."""
    return session.scalar(select(func.count()).select_from(PlanRow)) or 0


def drop_all(session: Session) -> list[PlanRecord]:
    """Delete every plan; return them, so that their files can be deleted too."""
    plans = [_record(row) for row in session.scalars(select(PlanRow))]
    session.execute(delete(PlanRow))
    return plans


def remove_files(kept: Sequence[PlanRecord]) -> None:
    """Remove the files of dedupe plans, which contain names and faces.

    A file at a plan's path that does not contain the plan's id was replaced by the user, and stays.
    """
    for plan in kept:
        for file in map(Path, plan.files):
            with contextlib.suppress(OSError):
                if plan.id.encode() in file.read_bytes():
                    file.unlink()


def changes(before: State, now: State) -> list[tuple[int, str]]:
    """Return (identity id, what changed, in words) between two states, by ascending id."""
    differences = []
    for identity in sorted(before.keys() | now.keys(), key=int):
        if identity not in now:
            differences.append((int(identity), "is gone"))
        elif identity not in before:
            differences.append((int(identity), "is new"))
        elif before[identity].split(" ")[0] != now[identity].split(" ")[0]:
            differences.append((int(identity), "has another name or other faces"))
        elif before[identity] != now[identity]:
            differences.append((int(identity), "has different decisions"))
    return differences


def _record(row: PlanRow) -> PlanRecord:
    return PlanRecord(row.id, row.state, tuple(row.files))


def _digest(facts: object) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
