"""An applied plan is taken back, all of it or nothing."""

from __future__ import annotations

from gallery.errors import GalleryError, UndoImpossible
from gallery.store import audit, corrections, decisions, identities, merges
from gallery.store.corrections import Step
from gallery.store.database import Database, Session
from gallery.store.decisions import Pair
from gallery.store.photo_cache import FaceDecision

_MOST_NAMED = 8


def undo_plan(database: Database, number: int | None) -> tuple[int, list[str]]:
    """Take back what a plan did, all of it or nothing; its number, and what was done in words.

    Raises UndoImpossible when something was built upon it since, or was decided otherwise.
    """
    with database.writing() as session:
        kept = corrections.applied(session)
        if not kept:
            raise UndoImpossible("no dedupe plan was applied that could be undone")
        found = next((one for one in kept if number is None or one[0] == number), None)
        if found is None:
            known = ", ".join(str(one[0]) for one in kept[:_MOST_NAMED])
            raise UndoImpossible(f"there is no applied plan {number}; there are {known}")
        which, steps, left = found
        if left != steps:
            raise UndoImpossible(
                f"plan {which} cannot be undone: {steps - left} of its {steps} steps are about"
                " people who were merged or erased since; `gallery identities unmerge` takes a"
                " merge back by itself"
            )
        lines = []
        for step in corrections.steps(session, which):
            try:
                lines.append(_undone(session, step))
            except GalleryError as error:
                raise UndoImpossible(
                    f"plan {which} cannot be undone: {error}; nothing was changed"
                ) from error
        corrections.end(session, which)
        audit.record(session, "undo dedupe")
        return which, lines


def _undone(session: Session, step: Step) -> str:
    if step.kind == "merge" and step.number is not None:
        back = merges.undo(session, step.number)
        return f"{' and '.join(record.name for record in back)} are apart again"
    if step.kind == "move":
        if not corrections.move_back(session, step):
            raise UndoImpossible(f"face {step.number} was moved or erased since")
        _drop_if_made(session, step)
        return f"face {step.number} is under its former name again"
    if step.kind == "drop":
        if not corrections.put_back(session, step):
            raise UndoImpossible(f"the photo of face {step.number} was enrolled again since")
        return f"face {step.number} is enrolled again"
    if step.kind == "distinct" and step.first_id and step.second_id:
        if step.second_id not in merges.distinct_from(session, step.first_id):
            raise UndoImpossible("that two people are compared was decided otherwise since")
        merges.forget_distinct(session, step.first_id, step.second_id)
        return "two people are compared again"
    if step.kind == "right" and step.number is not None:
        if corrections.right_of(session, step.number) != step.first_id:
            raise UndoImpossible(f"whose face {step.number} is was decided otherwise since")
        corrections.uncall_right(session, step.number)
        before = (step.kept or {}).get("before")
        if before is not None and before in identities.ids(session):
            corrections.call_right(session, step.number, before)
        return f"face {step.number} is looked at again"
    return _undecided(session, step)


def _undecided(session: Session, step: Step) -> str:
    kept = step.kept or {}
    wrote, before = (
        {decisions.pair_of(one): one for one in (FaceDecision(*row) for row in kept.get(what, []))}
        for what in ("wrote", "before")
    )
    pairs: set[Pair] = wrote.keys() | before.keys()
    if decisions.now(session, pairs) != wrote:
        raise UndoImpossible(
            "some of its decisions on faces were decided otherwise since; take back the later"
            " plans first"
        )
    decisions.drop(session, wrote)
    decisions.put(session, list(before.values()))
    return f"{len(pairs)} decisions on faces are forgotten"


def _drop_if_made(session: Session, step: Step) -> None:
    """A name that was made for the face goes, unless anything was done with it since."""
    if not step.kept or step.second_id is None:
        return
    record = identities.get(session, step.second_id)
    touched = (
        record.faces
        or record.details
        or record.external_id is not None
        or record.expires_at is not None
        or record.name != step.kept.get("made")
        or merges.distinct_from(session, record.id)
    )
    if not touched:
        identities.drop_empty(session, record.id)
