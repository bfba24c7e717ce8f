"""Apply a plan: one transaction for each decided finding, with what undoes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gallery.dedupe.plan.actions import PlanExecution, Task, tasks_of
from gallery.dedupe.plan.model import Plan
from gallery.errors import GalleryError, PlanOutdated
from gallery.store import audit, corrections, identities, plans
from gallery.store.database import Database, Session

_MOST_NAMED = 8


@dataclass(frozen=True)
class Applied:
    """number : to undo it by; None when nothing was done.  lines : what was done, in words."""

    number: int | None
    lines: tuple[str, ...]


class _DryRun(Exception):
    """Rolls a trial back. lines : what it did, in words."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(lines)
        self.lines = tuple(lines)


def apply_plan(
    database: Database, plan: Plan, *, accept_over: float | None = None, dry_run: bool = False
) -> Applied:
    """Do what was decided: merges, then people told apart, wrong names, copies, groups of faces.

    - `identities`: yes merges the others into the first; no tells them apart for good.
    - `misfiled`: yes puts the face under the suggested name; no marks it as right.
    - `copies`: yes removes all enrolled faces but the first; no keeps all for good.
    - `people`: yes confirms that the faces are one person; no to a member, that it is none of the
      others; no to the finding, that they are not all one person.

    Of a plan for a folder, only `people` is applied. Everything is tried first, so that an
    impossible finding is refused before anything changes; a dry run ends there.
    Raises PlanOutdated when the gallery has changed since the plan was made, naming the changes;
    PlanUnusable when a finding cannot be done. An error midway keeps what was done before, and
    names the number that undoes it.
    """
    try:
        tasks = _tried_tasks(database, plan, accept_over, dry_run)
    except _DryRun as trial:
        return Applied(None, trial.lines)
    return _apply(database, plan, tasks) if tasks else Applied(None, ())


def _tried_tasks(
    database: Database, plan: Plan, accept_over: float | None, dry_run: bool
) -> list[Task]:
    """The tasks, tried and rolled back. Raises _DryRun if this is a dry run."""
    try:
        with database.writing() as session:
            stored = _stored_plan(session, plan)
            tasks = tasks_of(plan, accept_over, of_folder=stored.state is None)
            lines: list[str] = []
            if tasks:
                execution = PlanExecution(session, tasks)
                lines = [line for task in tasks for _, line in execution.do(session, task)]
            raise _DryRun(lines)
    except _DryRun:
        if dry_run:
            raise
    return tasks


def _apply(database: Database, plan: Plan, tasks: Sequence[Task]) -> Applied:
    lines: list[str] = []
    number: int | None = None
    execution: PlanExecution | None = None
    state: plans.State | None = None
    try:
        for task in tasks:
            with database.writing() as session:
                if execution is None:
                    state = _stored_plan(session, plan).state
                    execution = PlanExecution(session, tasks)
                elif state is not None and plans.changes(state, plans.state_of(session)):
                    # Another process may write between two findings.
                    raise PlanOutdated("another process changed the gallery meanwhile")
                steps = execution.do(session, task)
                new_number = number
                if steps and new_number is None:
                    new_number = corrections.begin_application(session)
                for step, line in steps:
                    assert new_number is not None
                    corrections.record_step(session, new_number, step)
                    identity_id = step.second_id or step.first_id
                    audit.record(session, f"dedupe {step.kind}", identity_id=identity_id)
                    lines.append(line)
                if state is not None and steps:
                    state = plans.state_of(session)
            number = new_number  # committed only now
    except GalleryError as error:
        if number is None:
            raise
        raise type(error)(f"{error}; {_undo_hint(number)}") from error
    except BaseException as error:
        if number is not None:
            error.add_note(_undo_hint(number))
        raise
    return Applied(number, tuple(lines))


def _undo_hint(number: int) -> str:
    return f"the findings before it were applied; `gallery undo {number}` undoes them"


def _stored_plan(session: Session, plan: Plan) -> plans.PlanRecord:
    """What the gallery stored of the plan. Raises PlanOutdated if it no longer fits."""
    stored = plans.get(session, plan.id)
    if stored is None:
        raise PlanOutdated(
            f"this gallery has no plan {plan.id!r}: it was made for another gallery, or someone has"
            " been erased since; make a new one with `gallery dedupe --plan DIR`"
        )
    if stored.state is not None:  # decisions on a folder's photos do not depend on the gallery
        refuse_if_changed(
            session,
            stored.state,
            "the plan was made",
            "make a new one with `gallery dedupe --plan DIR`",
        )
    return stored


def refuse_if_changed(session: Session, state: plans.State, since: str, remedy: str) -> None:
    """Raise PlanOutdated, naming who changed, if the gallery is no longer in this state."""
    changed = plans.changes(state, plans.state_of(session))
    if changed:
        names = {record.id: record.name for record in identities.list_all(session)}
        changes = [
            f"{names.get(identity_id, f'identity {identity_id}')} {change}"
            for identity_id, change in changed
        ]
        more = f" and {len(changes) - _MOST_NAMED} more" if len(changes) > _MOST_NAMED else ""
        raise PlanOutdated(
            f"the gallery changed since {since}: {', '.join(changes[:_MOST_NAMED])}{more}; {remedy}"
        )
