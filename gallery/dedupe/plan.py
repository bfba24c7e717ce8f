"""A plan: every finding with a place for the user's decision, as JSON and as CSV.

One line of the CSV, one member of the JSON: a photo, a face or a name. `accept` is yes or no, or
empty for undecided. What stands at a finding's first line goes for all of it, unless a line says
otherwise for itself.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gallery.dedupe.findings import Findings, FoundFace
from gallery.errors import PlanUnusable
from gallery.names import printable

FORM = "gallery-dedupe-plan-1"
JSON_FILE, CSV_FILE, PAGE_FILE = "plan.json", "plan.csv", "report.html"
KINDS = ("misfiled", "identities", "copies", "people")
_COLUMNS = (
    "plan",
    "finding",
    "kind",
    "accept",
    "member",
    "suggested",
    "probability",
    "why",
    "box",
    "face_id",
    "identity_id",
    "key",
)
_LARGEST = 512 * 2**20
_ACCEPTS = {"": None, "yes": True, "y": True, "true": True, "1": True, "no": False, "n": False,
            "false": False, "0": False}  # fmt: skip
_RISKY = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Member:
    """A photo, a face or a name of a finding. accept : None is undecided."""

    member: str
    accept: bool | None = None
    box: tuple[float, ...] = ()
    face_id: int | None = None
    identity_id: int | None = None
    key: str = ""


@dataclass(frozen=True)
class Planned:
    """One finding. suggested : misfiled: the name to put the face under."""

    id: str
    kind: str
    probability: float
    why: str
    members: tuple[Member, ...]
    accept: bool | None = None
    suggested: str = ""

    def accepted(self, over: float | None = None) -> bool | None:
        """over : an undecided finding of at least this probability counts as accepted."""
        if self.accept is None and over is not None and self.probability >= over:
            return True
        return self.accept

    def taken(self, member: Member) -> bool:
        """Whether a member goes along with an accepted finding."""
        return member.accept is not False


@dataclass(frozen=True)
class Plan:
    """id : under which the gallery remembers for which state it was made."""

    id: str
    findings: tuple[Planned, ...]


def plan_of(found: Findings, plan_id: str) -> Plan:
    """Undecided throughout, in the order of the report."""
    return Plan(plan_id, tuple(_planned(found)))


def _planned(found: Findings) -> Iterator[Planned]:
    for i, wrong in enumerate(found.misfiled, start=1):
        yield Planned(
            f"m{i}", "misfiled", wrong.probability, f"under {wrong.identity}: {wrong.why}",
            (_face(wrong.face, wrong.identity_id),), suggested=wrong.suggested or "",
        )  # fmt: skip
    for i, same in enumerate(found.identities, start=1):
        ids = same.ids or (None,) * len(same.names)
        named = tuple(Member(n, identity_id=k) for n, k in zip(same.names, ids, strict=True))
        yield Planned(f"i{i}", "identities", same.probability, same.why, named)
    for i, copies in enumerate(found.copies, start=1):
        members = (
            tuple(_face(face) for face in copies.faces)
            if copies.faces
            else tuple(Member(photo) for photo in copies.photos)
        )
        yield Planned(f"c{i}", "copies", copies.probability, copies.why, members)
    for person in found.people:
        yield Planned(
            f"p-{person.id}", "people", person.probability, person.why,
            tuple(_face(face) for face in person.faces),
            accept=True if person.confirmed else None,
        )  # fmt: skip


def _face(face: FoundFace, identity_id: int | None = None) -> Member:
    return Member(
        face.photo,
        box=tuple(face.box.as_list()),
        face_id=face.face_id,
        identity_id=identity_id,
        key=face.key,
    )


def as_json(plan: Plan) -> dict[str, Any]:
    """The JSON form."""
    return {
        "form": FORM,
        "plan": plan.id,
        "findings": [
            {
                "finding": one.id,
                "kind": one.kind,
                "accept": one.accept,
                "suggested": one.suggested,
                "probability": round(one.probability, 6),
                "why": one.why,
                "members": [
                    {
                        "member": m.member,
                        "accept": m.accept,
                        "box": list(m.box),
                        "face_id": m.face_id,
                        "identity_id": m.identity_id,
                        "key": m.key,
                    }
                    for m in one.members
                ],
            }
            for one in plan.findings
        ],
    }


def as_csv(plan: Plan) -> str:
    """The CSV form. A spreadsheet would run a text that begins like a formula: it gets an '."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(_COLUMNS)
    for one in plan.findings:
        for place, m in enumerate(one.members):
            accept = one.accept if place == 0 and m.accept is None else m.accept
            writer.writerow(
                [
                    plan.id,
                    one.id,
                    one.kind,
                    {None: "", True: "yes", False: "no"}[accept],
                    _tame(m.member),
                    _tame(one.suggested) if place == 0 else "",
                    f"{one.probability:.6f}",
                    _tame(one.why),
                    " ".join(f"{v:.1f}" for v in m.box),
                    "" if m.face_id is None else m.face_id,
                    "" if m.identity_id is None else m.identity_id,
                    m.key,
                ]
            )
    return file.getvalue()


def _tame(text: str) -> str:
    text = printable(text)
    return f"'{text}" if text.startswith((*_RISKY, "'")) else text


def _wild(text: str) -> str:
    return text[1:] if text.startswith("'") else text


def read_plan(path: Path) -> Plan:
    """A plan's file, or plan.json of its folder. Raises PlanUnusable with the remedy."""
    file = path / JSON_FILE if path.is_dir() else path
    try:
        if file.stat().st_size > _LARGEST:
            raise PlanUnusable(f"{file} is larger than {_LARGEST:,} bytes; it is no plan")
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PlanUnusable(f"{file} is not in UTF-8: {error}; save it as UTF-8") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise PlanUnusable(f"{file} cannot be read: {reason}; name a plan of --plan") from error
    try:
        plan = _from_json(text) if text.lstrip().startswith("{") else _from_csv(text)
    except RecursionError as error:
        raise PlanUnusable(f"{file} is no plan: nested too deep") from error
    except (KeyError, TypeError, ValueError, AttributeError, csv.Error) as error:
        said = f"{type(error).__name__} {error}" if isinstance(error, KeyError) else str(error)
        raise PlanUnusable(f"{file} is no plan: {said}; make it anew with --plan") from error
    numbers = [one.id for one in plan.findings]
    if len(set(numbers)) != len(numbers):
        raise PlanUnusable(f"{file} names a finding twice; make it anew with --plan")
    return plan


def _from_json(text: str) -> Plan:
    kept = json.loads(text)
    if kept.get("form") != FORM:
        raise ValueError(f"its form is {kept.get('form')!r}, expected {FORM!r}")
    return Plan(
        str(kept["plan"]),
        tuple(
            Planned(
                id=str(one["finding"]),
                kind=_kind(one["kind"]),
                probability=float(one["probability"]),
                why=str(one["why"]),
                accept=_accept(one["accept"], str(one["finding"])),
                suggested=str(one.get("suggested") or ""),
                members=tuple(
                    Member(
                        str(m["member"]),
                        _accept(m.get("accept"), str(one["finding"])),
                        tuple(float(v) for v in m.get("box", ())),
                        _number(m.get("face_id")),
                        _number(m.get("identity_id")),
                        str(m.get("key", "")),
                    )
                    for m in one["members"]
                ),
            )
            for one in kept["findings"]
        ),
    )


def _from_csv(text: str) -> Plan:
    some = text[:4_096]
    delimiter = ";" if some.count(";") > some.count(",") else ","  # as spreadsheets may save it
    rows = list(csv.DictReader(io.StringIO(text), delimiter=delimiter))
    missing = set(_COLUMNS) - set(rows[0] if rows else ())
    if missing:
        raise ValueError(f"it has no column {', '.join(sorted(missing))}")
    inside: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        inside.setdefault(row["finding"], []).append(row)
    plans = {row["plan"] for row in rows}
    if len(plans) != 1:
        raise ValueError("its lines are of several plans")
    found = []
    for number, lines in inside.items():
        first = lines[0]
        members = [
            Member(
                _wild(row["member"]),
                _accept(row["accept"], number),
                tuple(float(v) for v in row["box"].split()),
                _number(row["face_id"]),
                _number(row["identity_id"]),
                row["key"],
            )
            for row in lines
        ]
        accept = members[0].accept
        if accept is None and any(m.accept for m in members):
            accept = True  # those that are left empty go along; a "no" does not
        found.append(
            Planned(
                number,
                _kind(first["kind"]),
                float(first["probability"]),
                _wild(first["why"]),
                tuple(members),
                accept,
                _wild(first["suggested"]).strip(),
            )
        )
    return Plan(plans.pop(), tuple(found))


def _kind(value: object) -> str:
    if value not in KINDS:
        raise ValueError(f"a finding of kind {value!r}, expected one of {', '.join(KINDS)}")
    return str(value)


def _accept(value: object, finding: str) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _ACCEPTS:
        return _ACCEPTS[value.strip().lower()]
    raise ValueError(f"finding {finding} has accept {value!r}, expected yes, no or nothing")


def _number(value: object) -> int | None:
    return None if value is None or value == "" else int(str(value))
