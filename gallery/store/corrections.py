"""Undoable moves and removals of faces, confirmed faces, and the steps of applied plans."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from gallery.batching import batched
from gallery.errors import FaceAlreadyEnrolled, LastFace
from gallery.store.change_log import log_changes
from gallery.store.decisions import face_key
from gallery.store.dedupe_tables import AppliedRow, AppliedStepRow, MisfiledDecisionRow
from gallery.store.expiry import move_along
from gallery.store.packing import pack_face, unpack_face
from gallery.store.records import IdentityRecord
from gallery.store.tables import IDS_PER_QUERY, FaceRow, PhotoRow
from gallery.types import Box

Json = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """What is stored to undo a step. See gallery.store.tables.AppliedStepRow."""

    kind: str
    first_id: int | None = None
    second_id: int | None = None
    number: int | None = None
    kept: Json | None = None


def move(session: Session, face_id: int, identity_id: int) -> Step:
    """Move a face to another identity, which must not have a face from the same photo.

    Of the expiry dates of the two, the earliest counts from now on; see gallery.store.expiry.
    """
    row = session.get_one(FaceRow, face_id)
    step = Step("move", row.identity_id, identity_id, face_id)
    _put_under(session, row, identity_id)
    return step


def _put_under(session: Session, row: FaceRow, identity_id: int) -> None:
    move_along(session, row.id, row.identity_id, identity_id)
    session.execute(update(FaceRow).where(FaceRow.id == row.id).values(identity_id=identity_id))
    face_id = row.id
    session.expire_all()
    log_changes(session, [face_id])


def check_move(
    session: Session, face_id: int, source: IdentityRecord, target: IdentityRecord
) -> None:
    """Raise LastFace or FaceAlreadyEnrolled if a face cannot move from one identity to another."""
    if source.faces < 2:
        raise LastFace(
            f"face {face_id} is the only face of {source.name}; merge {source.name} into"
            f" {target.name} instead"
        )
    photo_id = photo_id_of(session, face_id)
    if photo_id is not None and has_photo(session, target.id, photo_id):
        raise FaceAlreadyEnrolled(
            f"{target.name} already has a face from the photo of face {face_id}; erase face"
            f" {face_id} of {source.name} instead"
        )


def move_back(session: Session, step: Step) -> bool:
    """Undo a move; return False if the face has moved on or cannot return."""
    row = session.get(FaceRow, step.number)
    if row is None or row.identity_id != step.second_id or step.first_id is None:
        return False
    if has_photo(session, step.first_id, row.photo_id):
        return False
    _put_under(session, row, step.first_id)
    return True


def drop(session: Session, face_id: int) -> Step:
    """Delete a face, packing it into the step. Erasing the identity erases the step."""
    row = session.get_one(FaceRow, face_id)
    step = Step("drop", row.identity_id, None, face_id, pack_face(session, row))
    photo_id = row.photo_id
    session.delete(row)
    session.flush()
    used = select(FaceRow.id).where(FaceRow.photo_id == photo_id).exists()
    session.execute(delete(PhotoRow).where(PhotoRow.id == photo_id, ~used))
    log_changes(session, [face_id])
    return step


def put_back(session: Session, step: Step) -> bool:
    """Undo a drop; return False if the face cannot be restored."""
    if step.first_id is None or step.kept is None or session.get(FaceRow, step.number) is not None:
        return False
    sha256 = step.kept["photo"]["sha256"]
    photo_id = session.scalar(select(PhotoRow.id).where(PhotoRow.sha256 == sha256))
    if photo_id is not None and has_photo(session, step.first_id, photo_id):
        return False
    unpack_face(session, step.first_id, step.kept)
    return True


def has_photo(session: Session, identity_id: int, photo_id: int) -> bool:
    """Whether an identity has a face from this photo."""
    query = select(FaceRow.id).where(
        FaceRow.identity_id == identity_id, FaceRow.photo_id == photo_id
    )
    return session.scalar(query) is not None


def photo_id_of(session: Session, face_id: int) -> int | None:
    """Return the id of the photo that a face was enrolled from."""
    return session.scalar(select(FaceRow.photo_id).where(FaceRow.id == face_id))


def identity_id_of(session: Session, face_id: int) -> int | None:
    """Return the id of the identity that a face belongs to."""
    return session.scalar(select(FaceRow.identity_id).where(FaceRow.id == face_id))


def keys_and_identity_ids(session: Session, face_ids: Iterable[int]) -> dict[int, tuple[str, int]]:
    """Return the key (decisions.face_key) and the identity id of each of these faces that exist."""
    keys = {}
    for batch in batched(sorted(face_ids), IDS_PER_QUERY):
        query = (
            select(FaceRow.id, PhotoRow.sha256, FaceRow.left, FaceRow.top, FaceRow.right,
                   FaceRow.bottom, FaceRow.identity_id)
            .join(PhotoRow, PhotoRow.id == FaceRow.photo_id)
            .where(FaceRow.id.in_(batch))
        )  # fmt: skip
        for face, sha256, left, top, right, bottom, owner in session.execute(query):
            keys[face] = face_key(sha256, Box(left, top, right, bottom)), owner
    return keys


def confirm_face(session: Session, face_id: int, identity_id: int) -> None:
    """Record the user's confirmation that a face belongs to this identity."""
    session.merge(MisfiledDecisionRow(face_id=face_id, identity_id=identity_id))
    session.flush()


def confirmed_identity(session: Session, face_id: int) -> int | None:
    """Return the id of the identity that a face was confirmed for, if any."""
    return session.scalar(
        select(MisfiledDecisionRow.identity_id).where(MisfiledDecisionRow.face_id == face_id)
    )


def unconfirm_face(session: Session, face_id: int) -> None:
    """Delete the confirmation of a face."""
    session.execute(delete(MisfiledDecisionRow).where(MisfiledDecisionRow.face_id == face_id))


def confirmed_faces(session: Session) -> set[tuple[int, int]]:
    """Return (face id, identity id) of every confirmed face."""
    return {(row.face_id, row.identity_id) for row in session.scalars(select(MisfiledDecisionRow))}


def begin_application(session: Session) -> int:
    """Begin applying a plan; return the application's number."""
    row = AppliedRow(steps=0)
    session.add(row)
    session.flush()
    return row.id


def record_step(session: Session, applied_id: int, step: Step) -> None:
    """Store what undoes a step, in the transaction of the step."""
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


def applied_plans(session: Session) -> list[tuple[int, int, int]]:
    """Return (number, steps, steps that can be undone) of each application, newest first.

    Applications without a step are left out.
    """
    undoable = (
        select(func.count())
        .where(AppliedStepRow.applied_id == AppliedRow.id)
        .correlate(AppliedRow)
        .scalar_subquery()
    )
    query = select(AppliedRow.id, AppliedRow.steps, undoable).where(AppliedRow.steps > 0)
    query = query.order_by(AppliedRow.id.desc())
    return [(row[0], row[1], row[2]) for row in session.execute(query)]


def steps(session: Session, applied_id: int) -> list[Step]:
    """Return the steps of an application, last first."""
    rows = session.scalars(
        select(AppliedStepRow)
        .where(AppliedStepRow.applied_id == applied_id)
        .order_by(AppliedStepRow.id.desc())
    )
    return [Step(r.kind, r.first_id, r.second_id, r.number, r.kept) for r in rows]


def delete_application(session: Session, applied_id: int) -> None:
    """Delete an application that was undone, or had no steps."""
    session.execute(delete(AppliedStepRow).where(AppliedStepRow.applied_id == applied_id))
    session.execute(delete(AppliedRow).where(AppliedRow.id == applied_id))
