"""Undo an applied plan, all of it or nothing."""

from __future__ import annotations

from gallery.errors import GalleryError, UndoImpossible
from gallery.store import audit, corrections, decisions, identities, merges
from gallery.store.corrections import Step
from gallery.store.database import Database, Session
from gallery.store.decisions import Pair
from gallery.store.photo_cache import FaceDecision

_MOST_NAMED = 8


def undo_plan(database: Database, number: int | None) -> tuple[int, list[str]]:
    """Undo a plan, the last one if number is None. Returns its number, and what was done in words.

    Raises UndoImpossible when a later change depends on it or decided otherwise.
    """
    with database.writing() as session:
        applied = corrections.applied_plans(session)
        if not applied:
            raise UndoImpossible("there is no applied dedupe plan to undo")
        plan = next((row for row in applied if number is None or row[0] == number), None)
        if plan is None:
            known = ", ".join(str(row[0]) for row in applied[:_MOST_NAMED])
            raise UndoImpossible(f"there is no applied plan {number}; expected one of {known}")
        plan_number, steps, undoable = plan
        if undoable != steps:
            raise UndoImpossible(
                f"plan {plan_number} cannot be undone: {steps - undoable} of its {steps} steps are"
                " about people who have been merged or erased since; `gallery identities unmerge`"
                " undoes a single merge"
            )
        lines = []
        for step in corrections.steps(session, plan_number):
            try:
                lines.append(_undo(session, step))
            except GalleryError as error:
                raise UndoImpossible(
                    f"plan {plan_number} cannot be undone: {error}; nothing was changed"
                ) from error
        corrections.delete_application(session, plan_number)
        audit.record(session, "undo dedupe")
        return plan_number, lines


def _undo(session: Session, step: Step) -> str:
    if step.kind == "merge" and step.number is not None:
        records = merges.undo(session, step.number)
        return f"{' and '.join(record.name for record in records)} are apart again"
    if step.kind == "move":
        if not corrections.move_back(session, step):
            raise UndoImpossible(f"face {step.number} has been moved or erased since")
        _drop_unused_identity(session, step)
        return f"face {step.number} is under its former name again"
    if step.kind == "drop":
        if not corrections.put_back(session, step):
            raise UndoImpossible(f"the photo of face {step.number} was enrolled again since then")
        return f"face {step.number} is enrolled again"
    if step.kind == "distinct" and step.first_id and step.second_id:
        if step.second_id not in merges.distinct_from(session, step.first_id):
            raise UndoImpossible("whether two people are compared has been decided otherwise since")
        merges.forget_distinct(session, step.first_id, step.second_id)
        return "two people are compared again"
    if step.kind == "right" and step.number is not None:
        if corrections.confirmed_identity(session, step.number) != step.first_id:
            raise UndoImpossible(
                f"the owner of face {step.number} has been decided otherwise since"
            )
        corrections.unconfirm_face(session, step.number)
        before = (step.kept or {}).get("before")
        if before is not None and before in identities.ids(session):
            corrections.confirm_face(session, step.number, before)
        return f"face {step.number} is checked again"
    return _undo_decisions(session, step)


def _undo_decisions(session: Session, step: Step) -> str:
    stored = step.kept or {}
    written, before = (
        {decisions.pair_of(d): d for d in (FaceDecision(*row) for row in stored.get(key, []))}
        for key in ("wrote", "before")
    )
    pairs: set[Pair] = written.keys() | before.keys()
    if decisions.on_pairs(session, pairs) != written:
        raise UndoImpossible(
            "some of its decisions on faces have been decided otherwise since; undo the later plans"
            " first"
        )
    decisions.drop(session, written)
    decisions.save(session, list(before.values()))
    if len(pairs) == 1:
        return "1 decision on faces is removed"
    return f"{len(pairs)} decisions on faces are removed"


def _drop_unused_identity(session: Session, step: Step) -> None:
    """Remove an identity that was created for the face, unless it has been used or edited since."""
    if not step.kept or step.second_id is None:
        return
    record = identities.get(session, step.second_id)
    is_used = (
        record.faces
        or record.details
        or record.external_id is not None
        or record.expires_at is not None
        or record.name != step.kept.get("made")
        or merges.distinct_from(session, record.id)
    )
    if not is_used:
        identities.drop_empty(session, record.id)
