"""Faces put under another name or taken out, undoable; and what was called right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from gallery.errors import FaceAlreadyEnrolled, LastFace
from gallery.store.change_log import log_changes
from gallery.store.decisions import face_key
from gallery.store.packing import pack_face, unpack_face
from gallery.store.records import IdentityRecord
from gallery.store.tables import (
    AppliedRow,
    AppliedStepRow,
    FaceRow,
    MisfiledDecisionRow,
    PhotoRow,
)
from gallery.types import Box

_IDS_A_QUERY = 10_000

Json = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """What was done, as it is kept. See gallery.store.tables.AppliedStepRow."""

    kind: str
    first_id: int | None = None
    second_id: int | None = None
    number: int | None = None
    kept: Json | None = None


def move(session: Session, face_id: int, to: int) -> Step:
    """Put a face under another identity, which has no face of the same photo."""
    row = session.get_one(FaceRow, face_id)
    step = Step("move", row.identity_id, to, face_id)
    session.execute(update(FaceRow).where(FaceRow.id == face_id).values(identity_id=to))
    session.expire_all()
    log_changes(session, [face_id])
    return step


def refuse_move(
    session: Session, face_id: int, here: IdentityRecord, there: IdentityRecord
) -> None:
    """Raise LastFace or FaceThere when a face cannot be put from one identity under the other."""
    if here.faces < 2:
        raise LastFace(
            f"face {face_id} is the only one of {here.name}, who would be without any; merge"
            f" {here.name} into {there.name} instead"
        )
    photo = photo_of(session, face_id)
    if photo is not None and has_photo(session, there.id, photo):
        raise FaceAlreadyEnrolled(
            f"{there.name} has a face of the photo of face {face_id} already; erase face"
            f" {face_id} of {here.name} instead"
        )


def move_back(session: Session, step: Step) -> bool:
    """Whether the face was still where it was put, and is back."""
    row = session.get(FaceRow, step.number)
    if row is None or row.identity_id != step.second_id or step.first_id is None:
        return False
    if has_photo(session, step.first_id, row.photo_id):
        return False
    session.execute(update(FaceRow).where(FaceRow.id == row.id).values(identity_id=step.first_id))
    session.expire_all()
    log_changes(session, [row.id])
    return True


def drop(session: Session, face_id: int) -> Step:
    """Take a face out of its identity; it is kept with the step, and goes with the identity."""
    row = session.get_one(FaceRow, face_id)
    step = Step("drop", row.identity_id, None, face_id, pack_face(session, row))
    photo_id = row.photo_id
    session.delete(row)
    session.flush()
    left = select(FaceRow.id).where(FaceRow.photo_id == photo_id).exists()
    session.execute(delete(PhotoRow).where(PhotoRow.id == photo_id, ~left))
    log_changes(session, [face_id])
    return step


def put_back(session: Session, step: Step) -> bool:
    """Whether the face can be there again, and is."""
    if step.first_id is None or step.kept is None or session.get(FaceRow, step.number) is not None:
        return False
    sha256 = step.kept["photo"]["sha256"]
    photo = session.scalar(select(PhotoRow.id).where(PhotoRow.sha256 == sha256))
    if photo is not None and has_photo(session, step.first_id, photo):
        return False
    unpack_face(session, step.first_id, step.kept)
    return True


def has_photo(session: Session, identity_id: int, photo_id: int) -> bool:
    """Whether the identity has a face of this photo."""
    query = select(FaceRow.id).where(
        FaceRow.identity_id == identity_id, FaceRow.photo_id == photo_id
    )
    return session.scalar(query) is not None


def photo_of(session: Session, face_id: int) -> int | None:
    """The photo's row that a face was enrolled from."""
    return session.scalar(select(FaceRow.photo_id).where(FaceRow.id == face_id))


def owner_of(session: Session, face_id: int) -> int | None:
    """Whose face it is."""
    return session.scalar(select(FaceRow.identity_id).where(FaceRow.id == face_id))


def named(session: Session, face_ids: Iterable[int]) -> dict[int, tuple[str, int]]:
    """Of each of these faces that is there its key, see decisions.face_key, and its identity."""
    wanted, found = sorted(face_ids), {}
    for start in range(0, len(wanted), _IDS_A_QUERY):
        query = (
            select(FaceRow.id, PhotoRow.sha256, FaceRow.left, FaceRow.top, FaceRow.right,
                   FaceRow.bottom, FaceRow.identity_id)
            .join(PhotoRow, PhotoRow.id == FaceRow.photo_id)
            .where(FaceRow.id.in_(wanted[start : start + _IDS_A_QUERY]))
        )  # fmt: skip
        for face, sha256, left, top, right, bottom, owner in session.execute(query):
            found[face] = face_key(sha256, Box(left, top, right, bottom)), owner
    return found


def call_right(session: Session, face_id: int, identity_id: int) -> None:
    """Remember that this face is under the right name."""
    session.merge(MisfiledDecisionRow(face_id=face_id, identity_id=identity_id))
    session.flush()


def right_of(session: Session, face_id: int) -> int | None:
    """Under whose name the face was called right."""
    return session.scalar(
        select(MisfiledDecisionRow.identity_id).where(MisfiledDecisionRow.face_id == face_id)
    )


def uncall_right(session: Session, face_id: int) -> None:
    """Forget that."""
    session.execute(delete(MisfiledDecisionRow).where(MisfiledDecisionRow.face_id == face_id))


def known_right(session: Session) -> set[tuple[int, int]]:
    """(face, identity) of those."""
    return {(row.face_id, row.identity_id) for row in session.scalars(select(MisfiledDecisionRow))}


def begin(session: Session) -> int:
    """The number of a new application of a plan."""
    row = AppliedRow(steps=0)
    session.add(row)
    session.flush()
    return row.id


def note(session: Session, applied_id: int, step: Step) -> None:
    """Keep what undoes a step, in the transaction that does it."""
    session.add(
        AppliedStepRow(
            applied_id=applied_id,
            kind=step.kind,
            first_id=step.first_id,
            second_id=step.second_id,
            number=step.number,
            kept=step.kept,
        )
    )
    session.execute(
        update(AppliedRow).where(AppliedRow.id == applied_id).values(steps=AppliedRow.steps + 1)
    )
    session.flush()


def applied(session: Session) -> list[tuple[int, int, int]]:
    """Of each application its number, how many steps it had and how many can be undone; newest
    first. One without a step is none.
    """
    left = (
        select(func.count())
        .where(AppliedStepRow.applied_id == AppliedRow.id)
        .correlate(AppliedRow)
        .scalar_subquery()
    )
    query = select(AppliedRow.id, AppliedRow.steps, left).where(AppliedRow.steps > 0)
    query = query.order_by(AppliedRow.id.desc())
    return [(row[0], row[1], row[2]) for row in session.execute(query)]


def steps(session: Session, applied_id: int) -> list[Step]:
    """Of one application, the last first."""
    rows = session.scalars(
        select(AppliedStepRow)
        .where(AppliedStepRow.applied_id == applied_id)
        .order_by(AppliedStepRow.id.desc())
    )
    return [Step(r.kind, r.first_id, r.second_id, r.number, r.kept) for r in rows]


def end(session: Session, applied_id: int) -> None:
    """Drop an application that was undone, or had no step."""
    session.execute(delete(AppliedStepRow).where(AppliedStepRow.applied_id == applied_id))
    session.execute(delete(AppliedRow).where(AppliedRow.id == applied_id))
