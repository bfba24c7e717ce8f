"""What was accepted in a plan is done, in one transaction a finding, each with what undoes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gallery.dedupe.plan.actions import Task, Work, tasks_of
from gallery.dedupe.plan.model import Plan
from gallery.errors import GalleryError, PlanOutdated
from gallery.store import audit, corrections, identities, plans
from gallery.store.database import Database, Session

_MOST_NAMED = 8


@dataclass(frozen=True)
class Applied:
    """number : what undoes it; None when nothing was done.  lines : what was done, in words."""

    number: int | None
    lines: tuple[str, ...]


class _DryRun(Exception):
    """Takes back what was only tried."""


def apply_plan(
    database: Database, plan: Plan, *, accept_over: float | None = None, dry_run: bool = False
) -> Applied:
    """Merges first, then faces under another name, then faces enrolled twice, then decisions.

    A yes to `identities` merges the others into the first of them, a no tells them apart for ever.
    A yes to `misfiled` puts the face under the suggested name, a no calls it right. A yes to
    `copies` of enrolled faces takes out all but the first. A yes to `people` confirms that these
    faces are one person, a no to a member that it is none of the others; a no to the whole that
    they are not all one. Of a plan of a folder `people` alone are done.
    All of it is tried first, so that what cannot be done is found before anything is; a dry run
    ends there. Raises PlanOutdated when the gallery is not what it was made for, naming what
    changed; PlanUnusable when it says what cannot be; and, with the number that undoes what was
    done before, whatever stops it midway.
    """
    try:
        tasks = _tried(database, plan, accept_over, dry_run)
    except _DryRun as tried:
        return Applied(None, tuple(tried.args[0]))
    return _apply(database, plan, tasks) if tasks else Applied(None, ())


def _tried(database: Database, plan: Plan, accept_over: float | None, dry_run: bool) -> list[Task]:
    """What is to be done. Raises _DryRun with what it would say when that was all."""
    try:
        with database.writing() as session:
            kept = _kept(session, plan)
            tasks = tasks_of(plan, accept_over, of_folder=kept.state is None)
            lines: list[str] = []
            if tasks:
                work = Work(session, tasks)
                lines = [line for task in tasks for _, line in work.do(session, task)]
            raise _DryRun(lines)
    except _DryRun:
        if dry_run:
            raise
    return tasks


def _apply(database: Database, plan: Plan, tasks: Sequence[Task]) -> Applied:
    lines: list[str] = []
    number: int | None = None
    work: Work | None = None
    before: plans.State | None = None
    try:
        for task in tasks:
            with database.writing() as session:
                if work is None:
                    before = _kept(session, plan).state
                    work = Work(session, tasks)
                elif before is not None and plans.changed(before, plans.state_of(session)):
                    # Between two findings another process may have written.
                    raise PlanOutdated("another process changed the gallery meanwhile")
                steps = work.do(session, task)
                begun = number
                if steps and begun is None:
                    begun = corrections.begin(session)
                for step, line in steps:
                    assert begun is not None
                    corrections.note(session, begun, step)
                    about = step.second_id or step.first_id
                    audit.record(session, f"dedupe {step.kind}", identity_id=about)
                    lines.append(line)
                if before is not None and steps:
                    before = plans.state_of(session)
            number = begun  # which is committed only now
    except GalleryError as error:
        if number is None:
            raise
        raise type(error)(f"{error}; {_way_back(number)}") from error
    except BaseException as error:
        if number is not None:
            error.add_note(_way_back(number))
        raise
    return Applied(number, tuple(lines))


def _way_back(number: int) -> str:
    return f"what was done before that is kept, and `gallery undo {number}` takes it back"


def _kept(session: Session, plan: Plan) -> plans.KeptPlan:
    """What is remembered of the plan, which still fits."""
    kept = plans.get(session, plan.id)
    if kept is None:
        raise PlanOutdated(
            f"this gallery knows no plan {plan.id!r}: it is of another gallery, or someone was"
            " erased since; make it anew with `gallery dedupe --plan DIR`"
        )
    if kept.state is not None:
        # Of a folder decisions name photos by their bytes, whatever became of the gallery.
        refuse_if_changed(
            session,
            kept.state,
            "the plan was made",
            "make it anew with `gallery dedupe --plan DIR`",
        )
    return kept


def refuse_if_changed(session: Session, state: plans.State, since: str, remedy: str) -> None:
    """Raise PlanOutdated, naming who changed, when the gallery is not in this state any more."""
    changed = plans.changed(state, plans.state_of(session))
    if changed:
        names = {record.id: record.name for record in identities.list_all(session)}
        told = [f"{names.get(who, f'identity {who}')} {what}" for who, what in changed]
        more = f" and {len(told) - _MOST_NAMED} more" if len(told) > _MOST_NAMED else ""
        raise PlanOutdated(
            f"the gallery changed since {since}: {', '.join(told[:_MOST_NAMED])}{more}; {remedy}"
        )
