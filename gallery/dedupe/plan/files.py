"""Read and write the files of a plan, JSON and CSV.

The CSV has one row for each finding (`line` 0) and one for each of its members (`line` 1 and up),
and may be sorted in any way. `accept` is the finding's on the first and the member's on the others.
"""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

from gallery.dedupe.plan.model import KINDS, Member, Plan, PlannedFinding
from gallery.errors import PlanUnusable
from gallery.names import escape_csv_cell, printable, unescape_csv_cell

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
_MOST_BYTES = 512 * 2**20
_LARGEST_ID = 2**63 - 1
_ACCEPTS = {"": None, "yes": True, "y": True, "true": True, "1": True, "no": False, "n": False,
            "false": False, "0": False}  # fmt: skip
_KEY = re.compile(r"[0-9a-f]{64}( -?[0-9]{1,9}){4}")
_PERSON = re.compile(r"p-[0-9A-Za-z]{1,16}")


def plan_json(plan: Plan) -> dict[str, Any]:
    """The contents of plan.json."""
    return {
        "form": FORM,
        "plan": plan.id,
        "findings": [
            {
                "finding": finding.id,
                "kind": finding.kind,
                "accept": finding.accept,
                "suggested": finding.suggested,
                "suggested_id": finding.suggested_id,
                "probability": round(finding.probability, 6),
                "why": finding.why,
                "members": [
                    {
                        "member": m.member,
                        "accept": m.accept,
                        "box": list(m.box),
                        "face_id": m.face_id,
                        "identity_id": m.identity_id,
                        "key": m.key,
                    }
                    for m in finding.members
                ],
            }
            for finding in plan.findings
        ],
    }


def plan_csv(plan: Plan) -> str:
    """The contents of plan.csv."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(_COLUMNS)
    for finding in plan.findings:
        whole = Member(f"all {len(finding.members)}", finding.accept)
        for line, m in enumerate((whole, *finding.members)):
            writer.writerow(
                [
                    plan.id,
                    finding.id,
                    line,
                    finding.kind,
                    {None: "", True: "yes", False: "no"}[m.accept],
                    _text_cell(m.member),
                    _text_cell(finding.suggested) if line == 0 else "",
                    f"{finding.probability:.6f}",
                    _text_cell(finding.why),
                    " ".join(f"{v:.1f}" for v in m.box),
                    _id_cell(m.face_id),
                    _id_cell(m.identity_id),
                    m.key,
                    _id_cell(finding.suggested_id) if line == 0 else "",
                ]
            )
    return file.getvalue()


def _id_cell(number: int | None) -> str:
    return "" if number is None else str(number)


def _text_cell(text: str) -> str:
    return escape_csv_cell(printable(text))


def read_plan(path: Path) -> Plan:
    """Read a plan from a file, or from the file of its folder that was changed last.

    Raises PlanUnusable.
    """
    file = _latest_file(path) if path.is_dir() else path
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise PlanUnusable(f"{file} is larger than {_MOST_BYTES:,} bytes, so it is not a plan")
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise PlanUnusable(
            f"{file} does not exist; plans are deleted when a person is erased; make a new one with"
            " `gallery dedupe --plan DIR`"
        ) from error
    except UnicodeDecodeError as error:
        raise PlanUnusable(f"{file} is not UTF-8: {error}; save it as UTF-8") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise PlanUnusable(
            f"{file} cannot be read: {reason}; name a file or folder written by --plan"
        ) from error
    try:
        plan = _from_json(text) if text.lstrip().startswith("{") else _from_csv(text)
    except RecursionError as error:
        raise PlanUnusable(f"{file} is not a plan: nested too deeply") from error
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, csv.Error) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise PlanUnusable(
            f"{file} is not a valid plan: {reason}; correct it, or make a new one with --plan"
        ) from error
    ids = [finding.id for finding in plan.findings]
    if len(set(ids)) != len(ids):
        raise PlanUnusable(f"{file} has a finding twice; make a new plan with --plan")
    return plan


def _latest_file(folder: Path) -> Path:
    """plan.csv if it was changed after plan.json, else plan.json."""
    as_json, as_csv = folder / JSON_FILE, folder / CSV_FILE
    try:
        return as_csv if as_csv.stat().st_mtime_ns > as_json.stat().st_mtime_ns else as_json
    except OSError:
        return as_csv if as_csv.exists() and not as_json.exists() else as_json


def _from_json(text: str) -> Plan:
    document = json.loads(text)
    if document.get("form") != FORM:
        raise ValueError(f"its form is {document.get('form')!r}, expected {FORM!r}")
    return Plan(
        str(document["plan"]),
        tuple(
            _checked(
                PlannedFinding(
                    id=str(row["finding"]),
                    kind=str(row["kind"]),
                    probability=float(row["probability"]),
                    why=str(row["why"]),
                    accept=_accept(row["accept"], str(row["finding"])),
                    suggested=str(row.get("suggested") or "").strip(),
                    suggested_id=_id(row.get("suggested_id")),
                    members=tuple(
                        Member(
                            str(m["member"]),
                            _accept(m.get("accept"), str(row["finding"])),
                            tuple(float(v) for v in m.get("box", ())),
                            _id(m.get("face_id")),
                            _id(m.get("identity_id")),
                            str(m.get("key") or ""),
                        )
                        for m in row["members"]
                    ),
                )
            )
            for row in document["findings"]
        ),
    )


def _from_csv(text: str) -> Plan:
    head = text[:4_096]
    delimiter = ";" if head.count(";") > head.count(",") else ","  # as some spreadsheets save it
    rows = list(csv.DictReader(io.StringIO(text), delimiter=delimiter))
    missing = set(_COLUMNS) - set(rows[0] if rows else ())
    if missing:
        raise ValueError(f"it has no column {', '.join(sorted(missing))}")
    lines_of: dict[str, dict[int, dict[str, str]]] = {}
    for row in rows:
        lines, line = lines_of.setdefault(row["finding"], {}), int(row["line"])
        if line in lines:
            raise ValueError(f"line {line} of finding {row['finding']} appears twice")
        lines[line] = row
    plans = {row["plan"] for row in rows}
    if len(plans) != 1:
        raise ValueError("its lines belong to several plans")
    return Plan(
        plans.pop(),
        tuple(
            _checked(_from_lines(finding_id, [lines[line] for line in sorted(lines)], 0 in lines))
            for finding_id, lines in lines_of.items()
        ),
    )


def _from_lines(finding_id: str, lines: list[dict[str, str]], has_whole: bool) -> PlannedFinding:
    """lines : by number.  has_whole : whether the first is the row of the finding itself."""
    first = lines[0]
    return PlannedFinding(
        finding_id,
        first["kind"],
        float(first["probability"]),
        unescape_csv_cell(first["why"]),
        tuple(
            Member(
                unescape_csv_cell(row["member"]),
                _accept(row["accept"], finding_id),
                tuple(float(v) for v in row["box"].split()),
                _id(row["face_id"]),
                _id(row["identity_id"]),
                row["key"],
            )
            for row in lines[has_whole:]
        ),
        _accept(first["accept"], finding_id) if has_whole else None,
        unescape_csv_cell(
            next((row["suggested"] for row in lines if row["suggested"]), "")
        ).strip(),
        _id(first["suggested_id"]) if has_whole else None,
    )


def _checked(finding: PlannedFinding) -> PlannedFinding:
    """Check what does not depend on the gallery; the rest is checked when the plan is applied."""
    if finding.kind not in KINDS:
        raise ValueError(f"a finding of kind {finding.kind!r}, expected one of {', '.join(KINDS)}")
    if not 0 <= finding.probability <= 1:
        raise ValueError(
            f"finding {finding.id} has probability {finding.probability}, expected 0 to 1"
        )
    if not finding.members or (finding.kind == "misfiled" and len(finding.members) > 1):
        expected = "one" if finding.kind == "misfiled" else "at least one"
        raise ValueError(
            f"finding {finding.id} has {len(finding.members)} members, expected {expected}"
        )
    for m in finding.members:
        if not _KEY.fullmatch(m.key) and (m.key or finding.kind == "people"):
            raise ValueError(
                f"finding {finding.id} has the key {m.key[:100]!r}, expected a photo's 64"
                " hexadecimal digits and four numbers"
            )
    if finding.kind == "people" and not _PERSON.fullmatch(finding.id):
        raise ValueError(
            f"finding {finding.id[:100]!r} is of kind people, expected an id of p- and letters or"
            " digits"
        )
    return finding


def _accept(value: object, finding: str) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _ACCEPTS:
        return _ACCEPTS[value.strip().lower()]
    raise ValueError(f"finding {finding} has accept {value!r}, expected yes, no or empty")


def _id(value: object) -> int | None:
    if value is None or value == "":
        return None
    number = int(str(value))
    if not 0 < number <= _LARGEST_ID:
        raise ValueError(f"an id of {str(value)[:100]}, expected 1 to {_LARGEST_ID}")
    return number
