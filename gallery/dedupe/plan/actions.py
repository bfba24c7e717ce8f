"""What each decided finding of a plan does, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gallery.dedupe.plan.model import Member, Plan, Planned, Said
from gallery.errors import IdentityExists, IdentityNotFound, InvalidName, PlanUnusable
from gallery.names import checked_name, printable
from gallery.store import corrections, decisions, identities, merges
from gallery.store.corrections import Step
from gallery.store.database import Session
from gallery.store.decisions import Pair
from gallery.store.photo_cache import FaceDecision

# What tells people apart comes after all merges, which it might otherwise refer into.
_ORDER = ("merge", "apart", "misfiled", "copies", "people")
_PAIR = 2

Done = Iterator[tuple[Step, str]]
"""What undoes each thing that was done, and the thing in words."""


@dataclass(frozen=True)
class Task:
    """A decided finding; one of `identities` may be two, a merge and people told apart."""

    what: str
    one: Planned
    said: Said

    def about(self) -> tuple[Member, ...]:
        """The members whom it does something to, or by."""
        return (*self.said.yes, *self.said.no, *self.said.open)

    def apart(self) -> list[tuple[Member, Member]]:
        """Of `apart`: who are two people."""
        said = self.said
        if not said.yes and not said.no:
            if len(said.open) > _PAIR:
                raise PlanUnusable(
                    f"finding {self.one.id} says no to {len(said.open)} names, which leaves open"
                    " which of them are two people; say no to the members who are none of the rest"
                )
            return [(said.open[0], other) for other in said.open[1:]]
        kept = said.yes[:1] or said.open
        return [(one, other) for one in kept for other in said.no]


def tasks_of(plan: Plan, over: float | None, *, of_folder: bool) -> list[Task]:
    """What is decided, in the order in which it is done. over : see Planned.said.

    Raises PlanUnusable for a single member that is accepted with nobody.
    """
    found = []
    for one in plan.findings:
        said = one.said(over)
        if said is None or (of_folder and one.kind != "people"):
            continue
        if one.kind != "misfiled" and said.whole is None and len(said.yes) == 1 and not said.no:
            raise PlanUnusable(
                f"finding {one.id} accepts {said.yes[0].member} alone; accept the finding, or the"
                " members that belong together"
            )
        if one.kind != "identities":
            found.append(Task(one.kind, one, said))
            continue
        if len(said.yes) > 1:
            found.append(Task("merge", one, said))
        if said.no or not said.yes:
            found.append(Task("apart", one, said))
    return sorted(found, key=lambda task: _ORDER.index(task.what))


class Work:
    """Does tasks one after another, and knows what became of whom by those before."""

    def __init__(self, session: Session, tasks: Sequence[Task]) -> None:
        """Raises PlanUnusable when the tasks are not about what is in the gallery."""
        self._names = {record.id: record.name for record in identities.list_all(session)}
        self._id_of = {name: who for who, name in self._names.items()}
        self._into: dict[int, int] = {}
        self._inside = {who: [who] for who in self._names}
        self._merged: list[tuple[str, list[int]]] = []
        self._check(session, tasks)
        self._rejected: dict[int, list[tuple[str, int]]] = {}
        for task in tasks:
            for a, b in task.apart() if task.what == "apart" else ():
                for one, other in ((_identity(a), _identity(b)), (_identity(b), _identity(a))):
                    self._rejected.setdefault(one, []).append((task.one.id, other))

    def do(self, session: Session, task: Task) -> list[tuple[Step, str]]:
        """Raises PlanUnusable, naming the finding."""
        does = {
            "merge": self._merge,
            "apart": self._apart,
            "misfiled": self._misfiled,
            "copies": self._copies,
            "people": self._people,
        }
        try:
            return list(does[task.what](session, task))
        except (IdentityNotFound, IdentityExists, InvalidName) as error:
            raise PlanUnusable(f"finding {task.one.id}: {error}") from error

    def _check(self, session: Session, tasks: Sequence[Task]) -> None:
        of_faces = [task for task in tasks if task.what in ("misfiled", "copies")]
        ids = {m.face_id for task in of_faces for m in task.about() if m.face_id is not None}
        there = corrections.named(session, ids)
        for task in tasks:
            wanted = [task.one.suggested_id] if task.what == "misfiled" else []
            for m in task.about() if task.what != "people" else ():
                if task.what in ("misfiled", "copies"):
                    key, owner = there.get(m.face_id or 0, ("", 0))
                    if not key or key != m.key or m.identity_id not in (None, owner):
                        raise PlanUnusable(
                            f"finding {task.one.id}: face {m.face_id} is not {m.member} under"
                            f" identity {m.identity_id}; leave these columns as they are, or make"
                            " the plan anew with --plan"
                        )
                else:
                    wanted.append(m.identity_id or 0)
            for who in wanted:
                if who is not None and who not in self._names:
                    raise PlanUnusable(
                        f"finding {task.one.id} is about identity {who}, which is not in the"
                        " gallery; make the plan anew with --plan"
                    )

    def _now(self, identity_id: int) -> int:
        """Whom an identity was merged into by a finding before, or itself."""
        while identity_id in self._into:
            identity_id = self._into[identity_id]
        return identity_id

    def _merge(self, session: Session, task: Task) -> Done:
        ids = [_identity(m) for m in task.said.yes]
        now = list(dict.fromkeys(self._now(i) for i in ids))
        if len(now) < _PAIR:
            return
        self._refuse_if_two(session, task, now)
        names = " and ".join(self._names[i] for i in now)
        merged = merges.merge(session, now[0], now[1:])
        for gone in now[1:]:
            self._into[gone] = now[0]
            self._inside[now[0]] += self._inside.pop(gone)
        self._merged.append((task.one.id, ids))
        # Without whom it is about: the merge itself goes with them, and then cannot be undone.
        step = Step("merge", number=merged.merge_id)
        yield step, f"merged {names}, called {merged.identity.name}"

    def _refuse_if_two(self, session: Session, task: Task, now: Sequence[int]) -> None:
        """Merging must not make one person of two who were told apart, before or in this plan."""
        known = [("", i, other) for i in now for other in merges.distinct_from(session, i)]
        here = [
            (finding, i, other)
            for who in now
            for i in self._inside[who]
            for finding, other in self._rejected.get(i, ())
        ]
        for finding, a, b in (*known, *here):
            if a != b and self._now(b) in now:
                said = f"finding {finding} tells them apart" if finding else "they were told apart"
                also = [
                    f"{other} ({' and '.join(self._names[i] for i in ids)})"
                    for other, ids in self._merged
                    if any(self._now(i) in now for i in ids)
                ]
                joined = f" together with {', '.join(also)}" if also else ""
                raise PlanUnusable(
                    f"finding {task.one.id} ({' and '.join(m.member for m in task.said.yes)})"
                    f"{joined} would make {self._names[a]} and {self._names[b]} one person, but"
                    f" {said}; reject one of these findings"
                )

    def _apart(self, session: Session, task: Task) -> Done:
        for a, b in task.apart():
            one, other = self._now(_identity(a)), self._now(_identity(b))
            if one == other or other in merges.distinct_from(session, one):
                continue
            merges.keep_distinct(session, one, [other])
            names = f"{self._names[one]} and {self._names[other]}"
            yield Step("distinct", one, other), f"{names} are two people"

    def _misfiled(self, session: Session, task: Task) -> Done:
        one, member = task.one, task.one.members[0]
        face_id = member.face_id or 0
        owner = corrections.owner_of(session, face_id)
        if owner is None:
            return  # put aside by a merge: it was there twice
        here = identities.get(session, owner)
        if not task.said.yes:
            before = corrections.right_of(session, face_id)
            if before != owner:
                corrections.call_right(session, face_id, owner)
                step = Step("right", owner, None, face_id, {"before": before})
                yield step, f"{member.member} is {here.name}"
            return
        if not one.suggested:
            raise PlanUnusable(
                f"finding {one.id} ({member.member}) is accepted without a name to put it under;"
                " write one in `suggested`, which may be a new one"
            )
        to = self._suggested(session, one)
        made = None
        if to is None:
            to, made = identities.add(session, one.suggested), checked_name(one.suggested)
        if to == owner:
            return
        name = identities.get(session, to).name
        photo = corrections.photo_of(session, face_id)
        if photo is not None and corrections.has_photo(session, to, photo):
            told = f"{name} has {member.member} already; taken out of {here.name}"
            yield corrections.drop(session, face_id), told
            return
        step = corrections.move(session, face_id, to)
        if made is not None:
            step = replace(step, kept={"made": made})
        yield step, f"{member.member} is {name} now, not {here.name}"

    def _suggested(self, session: Session, one: Planned) -> int | None:
        """Who is meant by the name; None: somebody new."""
        if one.suggested_id is not None and one.suggested == printable(
            self._names[one.suggested_id]
        ):
            return self._now(one.suggested_id)
        # Written by the user, as names were when the plan was made.
        name = checked_name(one.suggested)
        if name in self._id_of:
            return self._now(self._id_of[name])
        found = identities.find(session, name)
        return None if found is None else found.id

    def _copies(self, session: Session, task: Task) -> Done:
        if not task.said.yes and not task.said.no:  # a plain no
            keys = [m.key for m in task.said.open]
            step = _decide(session, decisions.keep_all(keys), [])
            if step is not None:
                names = " and ".join(m.member for m in task.said.open)
                yield step, f"{names} are kept, and not named again"
            return
        faces = [(m, m.face_id) for m in task.said.yes if m.face_id is not None]
        owners = [corrections.owner_of(session, face_id) for _, face_id in faces]
        for (member, face_id), owner in list(zip(faces, owners, strict=True))[1:]:
            # A picture under two names is a matter of names, not of copies.
            if owner is not None and owner == owners[0]:
                told = f"took out {member.member}, a copy of {faces[0][0].member}"
                yield corrections.drop(session, face_id), told

    def _people(self, session: Session, task: Task) -> Done:
        yes, no, rest = (
            list(dict.fromkeys(m.key for m in some))
            for some in (task.said.yes, task.said.no, task.said.open)
        )
        wanted: list[FaceDecision] = []
        gone: list[FaceDecision] = []
        # Each with the first: as many decisions as faces, and a group all the same.
        person = task.one.id.removeprefix("p-")
        wanted += [FaceDecision(yes[0], key, True, person) for key in yes[1:]]
        wanted += [FaceDecision(a, b, False, "") for a in yes or rest for b in no]
        if yes:
            gone = decisions.sets(session, decisions.NOT_ONE).within(yes)
            told = f"{len(yes)} faces are one person"
            if no:
                told += f", {len(no)} are not"
        elif no:
            told = f"{len(no)} faces are none of {len(rest)} others"
        else:
            wanted = decisions.not_one(rest)
            gone = _joining(rest, decisions.among(session, rest))
            told = f"{len(rest)} faces are not one person"
        step = _decide(session, wanted, gone)
        if step is not None:
            yield step, told


def _decide(
    session: Session, wanted: Sequence[FaceDecision], gone: Sequence[FaceDecision]
) -> Step | None:
    """Keep what is wanted and forget what is gone; None when all of it was so."""
    new = {decisions.pair_of(one): one for one in wanted}
    old = decisions.now(session, {*new, *map(decisions.pair_of, gone)})
    write = [one for pair, one in new.items() if not _says(old.get(pair), one)]
    wrote: set[Pair] = {decisions.pair_of(one) for one in write}
    before = [one for pair, one in old.items() if pair in wrote or pair not in new]
    if not write and not before:
        return None
    decisions.drop(session, [decisions.pair_of(one) for one in before])
    decisions.put(session, write)
    return Step("decision", kept={"wrote": _packed(write), "before": _packed(before)})


def _joining(keys: Sequence[str], known: Sequence[FaceDecision]) -> list[FaceDecision]:
    """Which decisions make one person of all these faces; none when a part of them alone is."""
    same = [one for one in known if one.same]
    part = {key: key for key in keys}

    def root(key: str) -> str:
        while part[key] != key:
            part[key] = part[part[key]]
            key = part[key]
        return key

    for one in same:
        part[root(one.first)] = root(one.second)
    return same if len({root(key) for key in keys}) == 1 else []


def _says(old: FaceDecision | None, new: FaceDecision) -> bool:
    return old is not None and (old.same, old.person) == (new.same, new.person)


def _packed(some: Sequence[FaceDecision]) -> list[list[str | bool]]:
    return [[*decisions.pair_of(one), one.same, one.person] for one in some]


def _identity(member: Member) -> int:
    assert member.identity_id is not None  # checked before anything is done
    return member.identity_id
