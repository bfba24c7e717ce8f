"""The files of a plan, JSON and CSV, written and read.

Of a finding the CSV has a line for the whole (`line` 0) and one for each member, in the order of
`line`, however the file was sorted; `accept` is the finding's on the one, the member's on the
others.
"""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

from gallery.dedupe.plan.model import KINDS, Member, Plan, Planned
from gallery.errors import PlanUnusable
from gallery.names import printable

FORM = "gallery-dedupe-plan-1"
JSON_FILE, CSV_FILE, PAGE_FILE = "plan.json", "plan.csv", "report.html"
_COLUMNS = (
    "plan",
    "finding",
    "line",
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
    "suggested_id",
)
_LARGEST = 512 * 2**20
_LARGEST_ID = 2**63 - 1
_ACCEPTS = {"": None, "yes": True, "y": True, "true": True, "1": True, "no": False, "n": False,
            "false": False, "0": False}  # fmt: skip
_RISKY = ("=", "+", "-", "@", "\t", "\r")
_KEY = re.compile(r"[0-9a-f]{64}( -?[0-9]{1,9}){4}")
_PERSON = re.compile(r"p-[0-9A-Za-z]{1,16}")


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
                "suggested_id": one.suggested_id,
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
        whole = Member(f"all {len(one.members)}", one.accept)
        for line, m in enumerate((whole, *one.members)):
            writer.writerow(
                [
                    plan.id,
                    one.id,
                    line,
                    one.kind,
                    {None: "", True: "yes", False: "no"}[m.accept],
                    _tame(m.member),
                    _tame(one.suggested) if line == 0 else "",
                    f"{one.probability:.6f}",
                    _tame(one.why),
                    " ".join(f"{v:.1f}" for v in m.box),
                    _maybe(m.face_id),
                    _maybe(m.identity_id),
                    m.key,
                    _maybe(one.suggested_id) if line == 0 else "",
                ]
            )
    return file.getvalue()


def _maybe(number: int | None) -> str:
    return "" if number is None else str(number)


def _tame(text: str) -> str:
    text = printable(text)
    return f"'{text}" if text.startswith((*_RISKY, "'")) else text


def _wild(text: str) -> str:
    return text[1:] if text.startswith("'") else text


def read_plan(path: Path) -> Plan:
    """A plan's file, or of its folder that which was changed last. Raises PlanUnusable."""
    file = _latest(path) if path.is_dir() else path
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
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, csv.Error) as error:
        said = f"{type(error).__name__} {error}" if isinstance(error, KeyError) else str(error)
        raise PlanUnusable(
            f"{file} is no plan that can be applied: {said}; correct that, or make it anew with"
            " --plan"
        ) from error
    numbers = [one.id for one in plan.findings]
    if len(set(numbers)) != len(numbers):
        raise PlanUnusable(f"{file} names a finding twice; make it anew with --plan")
    return plan


def _latest(folder: Path) -> Path:
    """plan.csv when it was changed after plan.json was, else plan.json."""
    as_json, as_csv = folder / JSON_FILE, folder / CSV_FILE
    try:
        return as_csv if as_csv.stat().st_mtime_ns > as_json.stat().st_mtime_ns else as_json
    except OSError:
        return as_csv if as_csv.exists() and not as_json.exists() else as_json


def _from_json(text: str) -> Plan:
    kept = json.loads(text)
    if kept.get("form") != FORM:
        raise ValueError(f"its form is {kept.get('form')!r}, expected {FORM!r}")
    return Plan(
        str(kept["plan"]),
        tuple(
            _checked(
                Planned(
                    id=str(one["finding"]),
                    kind=str(one["kind"]),
                    probability=float(one["probability"]),
                    why=str(one["why"]),
                    accept=_accept(one["accept"], str(one["finding"])),
                    suggested=str(one.get("suggested") or "").strip(),
                    suggested_id=_number(one.get("suggested_id")),
                    members=tuple(
                        Member(
                            str(m["member"]),
                            _accept(m.get("accept"), str(one["finding"])),
                            tuple(float(v) for v in m.get("box", ())),
                            _number(m.get("face_id")),
                            _number(m.get("identity_id")),
                            str(m.get("key") or ""),
                        )
                        for m in one["members"]
                    ),
                )
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
    inside: dict[str, dict[int, dict[str, str]]] = {}
    for row in rows:
        lines, line = inside.setdefault(row["finding"], {}), int(row["line"])
        if line in lines:
            raise ValueError(f"line {line} of finding {row['finding']} is there twice")
        lines[line] = row
    plans = {row["plan"] for row in rows}
    if len(plans) != 1:
        raise ValueError("its lines are of several plans")
    return Plan(
        plans.pop(),
        tuple(
            _checked(_of_lines(number, [lines[line] for line in sorted(lines)], 0 in lines))
            for number, lines in inside.items()
        ),
    )


def _of_lines(number: str, lines: list[dict[str, str]], whole: bool) -> Planned:
    """lines : as they are numbered.  whole : whether the first is that of the whole finding."""
    first = lines[0]
    return Planned(
        number,
        first["kind"],
        float(first["probability"]),
        _wild(first["why"]),
        tuple(
            Member(
                _wild(row["member"]),
                _accept(row["accept"], number),
                tuple(float(v) for v in row["box"].split()),
                _number(row["face_id"]),
                _number(row["identity_id"]),
                row["key"],
            )
            for row in lines[whole:]
        ),
        _accept(first["accept"], number) if whole else None,
        _wild(next((row["suggested"] for row in lines if row["suggested"]), "")).strip(),
        _number(first["suggested_id"]) if whole else None,
    )


def _checked(one: Planned) -> Planned:
    """What can be seen without the gallery; the rest is compared with it when it is applied."""
    if one.kind not in KINDS:
        raise ValueError(f"a finding of kind {one.kind!r}, expected one of {', '.join(KINDS)}")
    if not 0 <= one.probability <= 1:
        raise ValueError(f"finding {one.id} has probability {one.probability}, expected 0 to 1")
    if not one.members or (one.kind == "misfiled" and len(one.members) > 1):
        wanted = "one" if one.kind == "misfiled" else "at least one"
        raise ValueError(f"finding {one.id} has {len(one.members)} members, expected {wanted}")
    for m in one.members:
        if not _KEY.fullmatch(m.key) and (m.key or one.kind == "people"):
            raise ValueError(
                f"finding {one.id} has the key {m.key[:100]!r}, expected a photo's 64 hexadecimal"
                " digits and four numbers"
            )
    if one.kind == "people" and not _PERSON.fullmatch(one.id):
        raise ValueError(f"finding {one.id[:100]!r} is of people, expected p- and its number")
    return one


def _accept(value: object, finding: str) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _ACCEPTS:
        return _ACCEPTS[value.strip().lower()]
    raise ValueError(f"finding {finding} has accept {value!r}, expected yes, no or nothing")


def _number(value: object) -> int | None:
    if value is None or value == "":
        return None
    number = int(str(value))
    if not 0 < number <= _LARGEST_ID:
        raise ValueError(f"an id of {str(value)[:100]}, expected 1 to {_LARGEST_ID}")
    return number
