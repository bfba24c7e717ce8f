"""Plans for tests: findings of drawn faces, decided on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from gallery import Gallery
from gallery.dedupe.findings import Findings, FoundFace, SameIdentities
from gallery.dedupe.plan.files import plan_json, read_plan
from gallery.dedupe.plan.model import Plan, PlannedFinding
from gallery.store import plans
from gallery.store.decisions import face_key
from gallery.types import Box

BOX = Box(1.5, 2.0, 101.25, 120.0)


def face(number: int) -> FoundFace:
    sha256 = hashlib.sha256(str(number).encode()).hexdigest()
    return FoundFace(f"photos/{number}.jpg", BOX, face_key(sha256, BOX), number)


def written(gallery: Gallery, findings: Findings, out: Path) -> Plan:
    with gallery.database.reading() as session:
        state = plans.state_of(session)
    gallery.write_plan(replace(findings, state=state), None, out)
    return read_plan(out)


def saved(plan: Plan, file: Path, change: Any) -> Path:
    """The file of the plan with each finding changed."""
    findings = tuple(change(finding) for finding in plan.findings)
    file.write_text(json.dumps(plan_json(replace(plan, findings=findings))))
    return file


def decided(plan: Plan, file: Path, **accept: bool) -> Path:
    """The file of the plan with findings decided, by kind or by id."""
    return saved(plan, file, lambda f: replace(f, accept=accept.get(f.kind, accept.get(f.id))))


def marked(finding: PlannedFinding, **accept: bool) -> PlannedFinding:
    """The finding with its members decided, by name."""
    members = tuple(replace(m, accept=accept.get(m.member)) for m in finding.members)
    return replace(finding, members=members)


def pairs(*names: str) -> Findings:
    """Findings that each two names, "Ada Cy", are one person; with the ids of `three`."""
    ids = {"Ada": 1, "Ben": 2, "Cy": 3}
    return Findings(
        3,
        3,
        identities=tuple(
            SameIdentities((a, b), (ids[a], ids[b]), 0.9, (face(ids[a]), face(ids[b])), "why")
            for a, b in (name.split() for name in names)
        ),
    )


def counts(gallery: Gallery) -> dict[str, int]:
    return {record.name: record.faces for record in gallery.identities()}
