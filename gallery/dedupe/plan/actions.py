"""What each decided finding of a plan does, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from scipy.cluster.hierarchy import DisjointSet

from gallery.dedupe.plan.model import FindingDecision, Member, Plan, PlannedFinding
from gallery.errors import (
    IdentityExists,
    IdentityNotFound,
    InvalidName,
    NameAmbiguous,
    PlanUnusable,
)
from gallery.names import checked_name, folded, printable
from gallery.store import corrections, decisions, identities, merges
from gallery.store.corrections import Step
from gallery.store.database import Session
from gallery.store.decisions import Pair
from gallery.store.photo_cache import FaceDecision

# Telling people apart comes after all merges, which may rename the ids it refers to.
_ORDER = ("merge", "apart", "misfiled", "copies", "people")
_PAIR = 2

Steps = Iterator[tuple[Step, str]]
"""Each step, which can be undone, and what it did in words."""


@dataclass(frozen=True)
class Task:
    """One thing a decided finding does. A finding of `identities` may be two tasks: a merge, and
    people told apart.

    kind : see _ORDER.
    """

    kind: str
    finding: PlannedFinding
    decision: FindingDecision

    def members(self) -> tuple[Member, ...]:
        """All members, the accepted first."""
        decision = self.decision
        return (*decision.accepted, *decision.rejected, *decision.undecided)

    def pairs_apart(self) -> list[tuple[Member, Member]]:
        """For kind `apart`: the pairs that are two people. Raises PlanUnusable if unclear."""
        decision = self.decision
        if not decision.accepted and not decision.rejected:
            if len(decision.undecided) > _PAIR:
                raise PlanUnusable(
                    f"finding {self.finding.id} rejects {len(decision.undecided)} names as a whole,"
                    " which does not tell which of them are two people; reject the members that"
                    " are not the same person as the rest"
                )
            return [(decision.undecided[0], other) for other in decision.undecided[1:]]
        persons = decision.accepted[:1] or decision.undecided
        return [(person, other) for person in persons for other in decision.rejected]


def tasks_of(plan: Plan, accept_over: float | None, *, of_folder: bool) -> list[Task]:
    """The decided findings in the order in which they are done.

    accept_over : see PlannedFinding.decision.
    Raises PlanUnusable for a finding with a single accepted member and no other decision.
    """
    tasks = []
    for finding in plan.findings:
        decision = finding.decision(accept_over)
        if decision is None or (of_folder and finding.kind != "people"):
            continue
        if (
            finding.kind != "misfiled"
            and decision.whole is None
            and len(decision.accepted) == 1
            and not decision.rejected
        ):
            raise PlanUnusable(
                f"finding {finding.id} accepts {decision.accepted[0].member} alone; accept the"
                " finding, or the members that belong together"
            )
        if finding.kind != "identities":
            tasks.append(Task(finding.kind, finding, decision))
            continue
        if len(decision.accepted) > 1:
            tasks.append(Task("merge", finding, decision))
        if decision.rejected or not decision.accepted:
            tasks.append(Task("apart", finding, decision))
    return sorted(tasks, key=lambda task: _ORDER.index(task.kind))


class PlanExecution:
    """Does tasks one after another, following identities that earlier tasks merged."""

    def __init__(self, session: Session, tasks: Sequence[Task]) -> None:
        """Raises PlanUnusable when a task refers to anything that is not in the gallery."""
        self._names = {record.id: record.name for record in identities.list_all(session)}
        self._id_of = {name: identity_id for identity_id, name in self._names.items()}
        self._merged_into: dict[int, int] = {}
        self._parts = {identity_id: [identity_id] for identity_id in self._names}
        self._merges: list[tuple[str, list[int]]] = []
        self._check(session, tasks)
        self._apart: dict[int, list[tuple[str, int]]] = {}
        for task in tasks:
            for a, b in task.pairs_apart() if task.kind == "apart" else ():
                first, second = _identity_id(a), _identity_id(b)
                self._apart.setdefault(first, []).append((task.finding.id, second))
                self._apart.setdefault(second, []).append((task.finding.id, first))

    def do(self, session: Session, task: Task) -> list[tuple[Step, str]]:
        """Raises PlanUnusable, naming the finding."""
        actions = {
            "merge": self._merge,
            "apart": self._tell_apart,
            "misfiled": self._correct_name,
            "copies": self._drop_copies,
            "people": self._decide_people,
        }
        try:
            return list(actions[task.kind](session, task))
        except (IdentityNotFound, IdentityExists, InvalidName, NameAmbiguous) as error:
            raise PlanUnusable(f"finding {task.finding.id}: {error}") from error

    def _check(self, session: Session, tasks: Sequence[Task]) -> None:
        on_faces = [task for task in tasks if task.kind in ("misfiled", "copies")]
        ids = {m.face_id for task in on_faces for m in task.members() if m.face_id is not None}
        enrolled = corrections.keys_and_identity_ids(session, ids)
        for task in tasks:
            identity_ids = [task.finding.suggested_id] if task.kind == "misfiled" else []
            for m in task.members() if task.kind != "people" else ():
                if task.kind in ("misfiled", "copies"):
                    key, owner = enrolled.get(m.face_id or 0, ("", 0))
                    if not key or key != m.key or m.identity_id not in (None, owner):
                        raise PlanUnusable(
                            f"finding {task.finding.id}: face {m.face_id} is not {m.member} under"
                            f" identity {m.identity_id}; do not edit these columns, or make a new"
                            " plan with --plan"
                        )
                else:
                    identity_ids.append(m.identity_id or 0)
            for identity_id in identity_ids:
                if identity_id is not None and identity_id not in self._names:
                    raise PlanUnusable(
                        f"finding {task.finding.id} refers to identity {identity_id}, which is not"
                        " in the gallery; make a new plan with --plan"
                    )

    def _current(self, identity_id: int) -> int:
        """The identity that this one was merged into by an earlier task, or itself."""
        while identity_id in self._merged_into:
            identity_id = self._merged_into[identity_id]
        return identity_id

    def _merge(self, session: Session, task: Task) -> Steps:
        ids = [_identity_id(m) for m in task.decision.accepted]
        current = list(dict.fromkeys(self._current(i) for i in ids))
        if len(current) < _PAIR:
            return
        self._refuse_merge_of_two_people(session, task, current)
        names = " and ".join(self._names[i] for i in current)
        target, *others = current
        merged = merges.merge(session, target, others)
        for other in others:
            self._merged_into[other] = target
            self._parts[target] += self._parts.pop(other)
        self._merges.append((task.finding.id, ids))
        # The step has no identities: the merge itself is erased with them, and cannot be undone
        # any more.
        step = Step("merge", number=merged.merge_id)
        yield step, f"merged {names}, called {merged.identity.name}"

    def _refuse_merge_of_two_people(
        self, session: Session, task: Task, current: Sequence[int]
    ) -> None:
        """A merge must not join two people who were told apart, before or in this plan."""
        before = [("", i, other) for i in current for other in merges.distinct_from(session, i)]
        in_plan = [
            (finding_id, part, other)
            for i in current
            for part in self._parts[i]
            for finding_id, other in self._apart.get(part, ())
        ]
        for finding_id, a, b in (*before, *in_plan):
            if a == b or self._current(b) not in current:
                continue
            reason = (
                f"finding {finding_id} tells them apart" if finding_id else "they were told apart"
            )
            earlier = [
                f"{merge_id} ({' and '.join(self._names[i] for i in ids)})"
                for merge_id, ids in self._merges
                if any(self._current(i) in current for i in ids)
            ]
            together = f" together with {', '.join(earlier)}" if earlier else ""
            members = " and ".join(m.member for m in task.decision.accepted)
            raise PlanUnusable(
                f"finding {task.finding.id} ({members}){together} would make {self._names[a]} and"
                f" {self._names[b]} one person, but {reason}; reject one of these findings"
            )

    def _tell_apart(self, session: Session, task: Task) -> Steps:
        for a, b in task.pairs_apart():
            first, second = self._current(_identity_id(a)), self._current(_identity_id(b))
            if first == second or second in merges.distinct_from(session, first):
                continue
            merges.keep_distinct(session, first, [second])
            names = f"{self._names[first]} and {self._names[second]}"
            yield Step("distinct", first, second), f"{names} are two people"

    def _correct_name(self, session: Session, task: Task) -> Steps:
        member = task.finding.members[0]
        face_id = member.face_id or 0
        owner = corrections.identity_id_of(session, face_id)
        if owner is None:
            return  # an earlier merge removed it, since the photo was enrolled in both
        old_name = identities.get(session, owner).name
        if not task.decision.accepted:
            before = corrections.confirmed_identity(session, face_id)
            if before != owner:
                corrections.confirm_face(session, face_id, owner)
                step = Step("right", owner, None, face_id, {"before": before})
                yield step, f"{member.member} is {old_name}"
            return
        if not task.finding.suggested:
            raise PlanUnusable(
                f"finding {task.finding.id} ({member.member}) is accepted without a name to put it"
                " under; write one in `suggested`, which may be a new one"
            )
        target = self._suggested_identity(session, task.finding)
        new_name = None
        if target is None:
            new_name = checked_name(task.finding.suggested)
            target = identities.add(session, task.finding.suggested)
        if target == owner:
            return
        name = identities.get(session, target).name
        photo = corrections.photo_id_of(session, face_id)
        if photo is not None and corrections.has_photo(session, target, photo):
            line = f"{name} has {member.member} already; removed it from {old_name}"
            yield corrections.drop(session, face_id), line
            return
        step = corrections.move(session, face_id, target)
        if new_name is not None:
            step = replace(step, kept={"made": new_name})
        yield step, f"{member.member} is now {name}, not {old_name}"

    def _suggested_identity(self, session: Session, finding: PlannedFinding) -> int | None:
        """The identity of the suggested name; None if there is none yet."""
        suggested_id = finding.suggested_id
        if suggested_id is not None and finding.suggested == printable(self._names[suggested_id]):
            return self._current(suggested_id)
        # The user wrote this name: look it up among the names as of when the plan was made.
        name = checked_name(finding.suggested)
        if name in self._id_of:
            return self._current(self._id_of[name])
        near = {self._current(i) for n, i in self._id_of.items() if folded(n) == folded(name)}
        if len(near) == 1:
            return near.pop()
        record = identities.meant(session, name)
        return None if record is None else record.id

    def _drop_copies(self, session: Session, task: Task) -> Steps:
        decision = task.decision
        if not decision.accepted and not decision.rejected:  # a no to the whole finding
            keys = [m.key for m in decision.undecided]
            step = _decide(session, decisions.keep_all(keys), [])
            if step is not None:
                names = " and ".join(m.member for m in decision.undecided)
                yield step, f"{names} are kept, and will not be reported again"
            return
        faces = [(m, m.face_id) for m in decision.accepted if m.face_id is not None]
        owners = [corrections.identity_id_of(session, face_id) for _, face_id in faces]
        for (member, face_id), owner in list(zip(faces, owners, strict=True))[1:]:
            # A picture under two names is a question of names, not of copies.
            if owner is not None and owner == owners[0]:
                line = f"removed {member.member}, a copy of {faces[0][0].member}"
                yield corrections.drop(session, face_id), line

    def _decide_people(self, session: Session, task: Task) -> Steps:
        accepted, rejected, undecided = (
            list(dict.fromkeys(m.key for m in members))
            for members in (
                task.decision.accepted,
                task.decision.rejected,
                task.decision.undecided,
            )
        )
        # Each face paired with the first: as many decisions as faces, and still one group.
        person = task.finding.id.removeprefix("p-")
        new = [FaceDecision(accepted[0], key, True, person) for key in accepted[1:]]
        new += [FaceDecision(a, b, False, "") for a in accepted or undecided for b in rejected]
        revoked: list[FaceDecision] = []
        if accepted:
            revoked = decisions.all_sets(session, decisions.NOT_ONE_PERSON).within(accepted)
            line = f"{len(accepted)} faces are one person"
            if rejected:
                line += f", {len(rejected)} are not"
        elif rejected:
            count = len(rejected) + len(undecided)
            line = f"{len(rejected)} of {count} faces told apart from the rest"
        else:
            new = decisions.not_one_person(undecided)
            revoked = _joining(undecided, decisions.among(session, undecided))
            line = f"{len(undecided)} faces are not one person"
        step = _decide(session, new, revoked)
        if step is not None:
            yield step, line


def _decide(
    session: Session, new: Sequence[FaceDecision], revoked: Sequence[FaceDecision]
) -> Step | None:
    """Store new decisions and delete revoked ones; None if that changes nothing."""
    new_of = {decisions.pair_of(decision): decision for decision in new}
    stored = decisions.on_pairs(session, {*new_of, *map(decisions.pair_of, revoked)})
    changed = {pair: d for pair, d in new_of.items() if not _is_same(stored.get(pair), d)}
    replaced: dict[Pair, FaceDecision] = {
        pair: decision for pair, decision in stored.items() if pair in changed or pair not in new_of
    }
    if not changed and not replaced:
        return None
    decisions.drop(session, replaced)
    decisions.save(session, list(changed.values()))
    return Step(
        "decision", kept={"wrote": _packed(changed.values()), "before": _packed(replaced.values())}
    )


def _joining(keys: Sequence[str], known: Sequence[FaceDecision]) -> list[FaceDecision]:
    """The decisions that make all these faces one person; none if they join only some of them."""
    same = [decision for decision in known if decision.same]
    joined = DisjointSet(keys)
    for decision in same:
        joined.merge(decision.first, decision.second)
    return same if joined.n_subsets == 1 else []


def _is_same(old: FaceDecision | None, new: FaceDecision) -> bool:
    return old is not None and (old.same, old.group_id) == (new.same, new.group_id)


def _packed(face_decisions: Iterable[FaceDecision]) -> list[list[str | bool]]:
    return [[*decisions.pair_of(d), d.same, d.group_id] for d in face_decisions]


def _identity_id(member: Member) -> int:
    assert member.identity_id is not None  # checked before anything is done
    return member.identity_id
