"""What was accepted in a plan is done, in one transaction a finding, each with what undoes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gallery.dedupe.plan import Plan, Planned
from gallery.errors import (
    GalleryError,
    IdentityNotFound,
    PlanOutdated,
    PlanUnusable,
    UndoImpossible,
)
from gallery.store import audit, identities, merging, plans, seen, sorting
from gallery.store.database import Database, Session
from gallery.store.seen import FaceDecision
from gallery.store.sorting import Step

_ORDER = {"identities": 0, "misfiled": 1, "copies": 2, "people": 3}
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
    faces are one person, a no to a line that this face is not.
    Raises PlanOutdated when the gallery is not what it was made for, naming what changed; and
    PlanUnusable. A dry run does all of it and takes it back.
    """
    wanted = sorted(
        (one for one in plan.findings if one.accepted(accept_over) is not None),
        # What tells people apart comes after all merges, which it might otherwise refer into.
        key=lambda one: (_ORDER[one.kind], not one.accepted(accept_over)),
    )
    _check(database, plan)
    if not wanted:
        return Applied(None, ())
    try:
        return _apply(database, plan, wanted, accept_over, dry_run)
    except _DryRun as tried:
        return Applied(None, tuple(tried.args[0]))


def _apply(
    database: Database,
    plan: Plan,
    wanted: list[Planned],
    accept_over: float | None,
    dry_run: bool,
) -> Applied:
    lines: list[str] = []
    if dry_run:
        with database.writing() as session:
            number = sorting.begin(session)
            for one in wanted:
                lines += _do(session, number, one, bool(one.accepted(accept_over)))
            raise _DryRun(lines)
    with database.writing() as session:
        number = sorting.begin(session)
        before = plans.state_of(session)
        _refuse_if_changed(session, plan, before)
    for one in wanted:
        with database.writing() as session:
            # Between two findings another process may have written: never act on what is not known.
            _refuse_if_other(before, plans.state_of(session), number)
            lines += _do(session, number, one, bool(one.accepted(accept_over)))
            before = plans.state_of(session)
    with database.writing() as session:
        if not sorting.steps(session, number):
            sorting.end(session, number)
            return Applied(None, tuple(lines))
    return Applied(number, tuple(lines))


def _check(database: Database, plan: Plan) -> None:
    with database.reading() as session:
        _refuse_if_changed(session, plan, plans.state_of(session))


def _refuse_if_changed(session: Session, plan: Plan, now: plans.State) -> None:
    kept = plans.get(session, plan.id)
    if kept is None:
        raise PlanOutdated(
            f"this gallery knows no plan {plan.id!r}: it is of another gallery, or someone was"
            " erased since; make it anew with `gallery dedupe --plan DIR`"
        )
    if kept.state is None:
        return  # of a folder: decisions name photos by their bytes, whatever became of the gallery
    changed = plans.changed(kept.state, now)
    if changed:
        names = {record.id: record.name for record in identities.list_all(session)}
        told = [f"{names.get(who, f'identity {who}')} {what}" for who, what in changed]
        more = f" and {len(told) - _MOST_NAMED} more" if len(told) > _MOST_NAMED else ""
        raise PlanOutdated(
            f"the gallery changed since the plan was made: {', '.join(told[:_MOST_NAMED])}{more};"
            " make it anew with `gallery dedupe --plan DIR`"
        )


def _refuse_if_other(before: plans.State, now: plans.State, number: int) -> None:
    if plans.changed(before, now):
        raise PlanOutdated(
            "another process changed the gallery meanwhile; what was done so far is kept, and"
            f" `gallery undo {number}` takes it back"
        )


def _do(session: Session, number: int, one: Planned, accepted: bool) -> Iterator[str]:
    """One finding, in the caller's transaction."""
    steps: list[tuple[Step, str]]
    try:
        if one.kind == "identities":
            steps = list(_identities(session, one, accepted))
        elif one.kind == "misfiled":
            steps = list(_misfiled(session, one, accepted))
        elif one.kind == "copies":
            steps = list(_copies(session, one, accepted))
        else:
            steps = list(_people(session, one, accepted))
    except IdentityNotFound as error:
        raise PlanUnusable(f"finding {one.id}: {error}") from error
    for step, _ in steps:
        sorting.note(session, number, step)
        audit.record(session, f"dedupe {step.kind}", identity_id=step.second_id or step.first_id)
    return iter([line for _, line in steps])


def _identities(session: Session, one: Planned, accepted: bool) -> Iterator[tuple[Step, str]]:
    ids = [m.identity_id for m in one.members if one.taken(m) or not accepted]
    if None in ids:
        return  # folders of photos, which are never touched
    there = {record.id: record for record in identities.list_all(session)}
    # One that was merged a finding earlier is who it was merged into.
    now = list(dict.fromkeys(_merged_into(session, int(i)) for i in ids if i is not None))
    if len(now) < 2:
        return
    names = " and ".join(there[i].name for i in now)
    if accepted:
        merged = merging.merge(session, now[0], now[1:])
        # Without whom it is about: the merge itself goes with them, and then cannot be undone.
        step = Step("merge", number=merged.merge_id)
        yield step, f"merged {names}, called {merged.identity.name}"
    else:
        for other in now[1:]:
            merging.keep_distinct(session, now[0], [other])
            yield Step("distinct", now[0], other), f"{names} are two people"


def _merged_into(session: Session, identity_id: int) -> int:
    for record in merging.list_merges(session):
        if identity_id in record.others:
            return _merged_into(session, record.kept_id)
    return identity_id


def _misfiled(session: Session, one: Planned, accepted: bool) -> Iterator[tuple[Step, str]]:
    member = one.members[0]
    if member.face_id is None:
        return
    owner = sorting.owner_of(session, member.face_id)
    if owner is None:
        return
    here = identities.get(session, owner)
    if not accepted:
        sorting.call_right(session, member.face_id, owner)
        yield Step("right", owner, None, member.face_id), f"{member.member} is {here.name}"
        return
    if not one.suggested:
        raise PlanUnusable(
            f"finding {one.id} ({member.member}) is accepted without a name to put it under; write"
            " one in `suggested`, which may be a new one"
        )
    found = identities.find(session, one.suggested)
    to = identities.add(session, one.suggested) if found is None else found.id
    if to == owner:
        return
    photo = sorting.photo_of(session, member.face_id)
    if photo is not None and sorting.has_photo(session, to, photo):
        yield (
            sorting.drop(session, member.face_id),
            f"{one.suggested} has {member.member} already; taken out of {here.name}",
        )
        return
    step = sorting.move(session, member.face_id, to)
    if found is None:
        step = Step(step.kind, step.first_id, step.second_id, step.number, {"made": True})
    yield step, f"{member.member} is {one.suggested} now, not {here.name}"


def _copies(session: Session, one: Planned, accepted: bool) -> Iterator[tuple[Step, str]]:
    if not accepted:
        return
    faces = [m for m in one.members if m.face_id is not None and one.taken(m)]
    owners = [sorting.owner_of(session, m.face_id) for m in faces if m.face_id is not None]
    for member, owner in list(zip(faces, owners, strict=True))[1:]:
        # A picture under two names is a matter of names, not of copies.
        if owner is not None and owner == owners[0] and member.face_id is not None:
            yield (
                sorting.drop(session, member.face_id),
                f"took out {member.member}, a copy of {faces[0].member}",
            )


def _people(session: Session, one: Planned, accepted: bool) -> Iterator[tuple[Step, str]]:
    inside = [m.key for m in one.members if one.taken(m) and m.key]
    outside = [m.key for m in one.members if not one.taken(m) and m.key]
    decisions: list[FaceDecision] = []
    if accepted:
        person = one.id.removeprefix("p-")
        # Each with the first: as many decisions as faces, and a group all the same.
        decisions += [FaceDecision(inside[0], key, True, person) for key in inside[1:]]
        decisions += [FaceDecision(a, b, False, "") for a in inside for b in outside]
        told = f"{len(inside)} faces are one person"
    else:
        apart = outside or inside[1:]
        kept = inside[:1] if not outside else inside
        decisions += [FaceDecision(a, b, False, "") for a in kept for b in apart]
        decisions += [
            FaceDecision(a, b, False, "") for i, a in enumerate(apart) for b in apart[i + 1 :]
        ]
        told = f"{len(apart) + len(kept)} faces are not one person"
    if not decisions:
        return
    before = seen.decide(session, decisions)
    kept_json = {
        "pairs": [[d.first, d.second] for d in decisions],
        "before": [[d.first, d.second, d.same, d.person] for d in before],
    }
    yield Step("decision", kept=kept_json), told


def undo_plan(database: Database, number: int | None) -> tuple[int, list[str]]:
    """Take back what a plan did, all of it or nothing; its number, and what was done in words.

    Raises UndoImpossible when something was built upon it since.
    """
    with database.writing() as session:
        kept = sorting.applied(session)
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
        for step in sorting.steps(session, which):
            try:
                lines.append(_undone(session, step))
            except GalleryError as error:
                raise UndoImpossible(
                    f"plan {which} cannot be undone: {error}; nothing was changed"
                ) from error
        sorting.end(session, which)
        audit.record(session, "undo dedupe")
        return which, lines


def _undone(session: Session, step: Step) -> str:
    if step.kind == "merge" and step.number is not None:
        back = merging.undo(session, step.number)
        return f"{' and '.join(record.name for record in back)} are apart again"
    if step.kind == "move":
        if not sorting.move_back(session, step):
            raise UndoImpossible(f"face {step.number} was moved or erased since")
        _drop_if_made(session, step)
        return f"face {step.number} is under its former name again"
    if step.kind == "drop":
        if not sorting.put_back(session, step):
            raise UndoImpossible(f"face {step.number} was enrolled again since")
        return f"face {step.number} is enrolled again"
    if step.kind == "distinct" and step.first_id and step.second_id:
        merging.forget_distinct(session, step.first_id, step.second_id)
        return "two people are compared again"
    if step.kind == "right" and step.number is not None:
        sorting.uncall_right(session, step.number)
        return f"face {step.number} is looked at again"
    pairs = (step.kept or {}).get("pairs", [])
    seen.undecide(session, [(a, b) for a, b in pairs])
    before = (step.kept or {}).get("before", [])
    seen.decide(session, [FaceDecision(a, b, same, who) for a, b, same, who in before])
    return f"{len(pairs)} decisions on faces are forgotten"


def _drop_if_made(session: Session, step: Step) -> None:
    """A name that was made for the face goes, unless it has been given others since."""
    if step.kept and step.kept.get("made") and step.second_id is not None:
        record = identities.get(session, step.second_id)
        if record.faces == 0:
            identities.drop_empty(session, record.id)
