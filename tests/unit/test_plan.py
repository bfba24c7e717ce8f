"""A plan says yes and no, is done a finding at a time, and is taken back whole or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gallery import Gallery
from gallery.dedupe.findings import Findings, FoundFace, Misfiled, Person, SameIdentities
from gallery.dedupe.plan import Plan, as_csv, as_json, plan_of, read_plan
from gallery.errors import PlanOutdated, PlanUnusable, UndoImpossible
from gallery.types import Box
from tests.conftest import AddFace, UnitRows
from tests.unit.test_merging import picture

BOX = Box(1.0, 2.0, 30.0, 40.0)


@pytest.fixture
def filled(gallery: Gallery, unit_rows: UnitRows, add_face: AddFace) -> Gallery:
    """Ada 1, 2; Countess 3; Bob 4, and 5 which is Ada's."""
    rows = unit_rows(5, 3)
    for i, name in enumerate(["Ada", "Ada", "Countess", "Bob", "Bob"]):
        add_face(gallery.database, name, rows.row(i), i + 1)
    return gallery


def face(number: int) -> FoundFace:
    return FoundFace(f"photos/{number}.jpg", BOX, f"hash{number} 1 2 30 40", number)


@pytest.fixture
def findings() -> Findings:
    return Findings(
        5,
        5,
        identities=(SameIdentities(("Ada", "Countess"), (1, 2), 0.9, (face(1), face(3)), "why"),),
        misfiled=(Misfiled(face(5), "Bob", "Ada", 0.99, face(1), "why", 3, 1),),
        people=(Person("abc", (face(1), face(2), face(5)), 0.8, (face(1), face(2)), "why"),),
    )


def written(gallery: Gallery, findings: Findings, out: Path) -> Plan:
    gallery.write_plan(findings, None, out)
    return read_plan(out)


def decided(plan: Plan, file: Path, **accept: bool) -> Path:
    kinds = {kind: value for kind, value in accept.items()}
    found = tuple(replace(one, accept=kinds.get(one.kind)) for one in plan.findings)
    file.write_text(json.dumps(as_json(replace(plan, findings=found))))
    return file


def test_json_and_csv_say_the_same(findings: Findings, tmp_path: Path) -> None:
    plan = plan_of(findings, "0123")
    (tmp_path / "a.json").write_text(json.dumps(as_json(plan)))
    (tmp_path / "a.csv").write_text(as_csv(plan))
    assert read_plan(tmp_path / "a.json") == read_plan(tmp_path / "a.csv") == plan
    semicolons = as_csv(plan).replace(",", ";")
    (tmp_path / "b.csv").write_text(semicolons, encoding="utf-8-sig")
    assert [one.id for one in read_plan(tmp_path / "b.csv").findings] == ["m1", "i1", "p-abc"]


def test_a_name_like_a_formula_is_text_in_a_spreadsheet(findings: Findings, tmp_path: Path) -> None:
    same = replace(findings.identities[0], names=("=1+1", "'Ada"))
    plan = plan_of(replace(findings, identities=(same,)), "0123")
    assert "\n0123,i1,identities,,'=1+1," in as_csv(plan).replace("\r", "")
    (tmp_path / "a.csv").write_text(as_csv(plan))
    assert read_plan(tmp_path / "a.csv") == plan


def test_nothing_happens_unless_accepted(
    filled: Gallery, findings: Findings, tmp_path: Path
) -> None:
    before = picture(filled.database)
    written(filled, findings, tmp_path / "plan")
    assert filled.apply_plan(tmp_path / "plan").lines == ()
    assert picture(filled.database) == before


def test_what_is_accepted_is_done_and_undone(
    filled: Gallery, findings: Findings, tmp_path: Path
) -> None:
    before = picture(filled.database)
    plan = written(filled, findings, tmp_path / "plan")
    file = decided(plan, tmp_path / "yes.json", identities=True, misfiled=True)
    tried = filled.apply_plan(file, dry_run=True)
    assert picture(filled.database) == before and len(tried.lines) == 2
    done = filled.apply_plan(file)
    assert done.lines == tried.lines
    assert {r.name: r.faces for r in filled.identities()} == {"Ada": 4, "Bob": 1}
    with pytest.raises(PlanOutdated, match=r"Ada has .*identity 2 is gone.*Bob has"):
        filled.apply_plan(file)
    assert filled.undo_plan()[0] == done.number
    assert picture(filled.database) == before
    with pytest.raises(UndoImpossible):
        filled.undo_plan()


def test_a_no_is_remembered_and_can_be_undone(
    filled: Gallery, findings: Findings, tmp_path: Path
) -> None:
    before = picture(filled.database)
    plan = written(filled, findings, tmp_path / "plan")
    file = decided(plan, tmp_path / "no.json", identities=False, misfiled=False, people=False)
    filled.apply_plan(file)
    assert picture(filled.database)["distinct"] == {(1, 2)}
    filled.undo_plan()
    assert picture(filled.database) == before


def test_a_plan_for_another_state_names_what_changed(
    filled: Gallery, findings: Findings, tmp_path: Path
) -> None:
    plan = written(filled, findings, tmp_path / "plan")
    filled.rename("Bob", "Robert")
    file = decided(plan, tmp_path / "yes.json", identities=True)
    with pytest.raises(PlanOutdated, match="Robert has another name"):
        filled.apply_plan(file)


def test_undo_after_further_edits_is_refused_and_changes_nothing(
    filled: Gallery, findings: Findings, tmp_path: Path
) -> None:
    plan = written(filled, findings, tmp_path / "plan")
    filled.apply_plan(decided(plan, tmp_path / "yes.json", identities=True, misfiled=True))
    filled.merge("Bob", ["Ada"])
    after = picture(filled.database)
    with pytest.raises(UndoImpossible):
        filled.undo_plan()
    assert picture(filled.database) == after


def test_forgetting_removes_the_plans_files_and_what_they_did(
    filled: Gallery, findings: Findings, tmp_path: Path
) -> None:
    plan = written(filled, findings, tmp_path / "plan")
    assert (tmp_path / "plan" / "report.html").stat().st_mode & 0o077 == 0
    filled.apply_plan(decided(plan, tmp_path / "yes.json", misfiled=True))
    filled.forget("Ada")
    assert list((tmp_path / "plan").iterdir()) == []
    assert [left for _, _, left in filled.applied_plans()] == [0]
    with pytest.raises(PlanOutdated):
        filled.apply_plan(tmp_path / "yes.json")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", "a,b\n1,2\n", '{"form": "gallery-dedupe-plan-1"}', "[" * 100_000]
)
def test_what_is_no_plan_is_refused(filled: Gallery, tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(PlanUnusable):
        filled.apply_plan(tmp_path / "plan.json")
    with pytest.raises(PlanUnusable):
        filled.apply_plan(tmp_path / "nowhere.json")


def test_an_accept_that_is_neither_yes_nor_no_is_refused(
    filled: Gallery, findings: Findings, tmp_path: Path
) -> None:
    written(filled, findings, tmp_path / "plan")
    text = (tmp_path / "plan" / "plan.csv").read_text().replace(",misfiled,,", ",misfiled,maybe,")
    (tmp_path / "plan" / "plan.csv").write_text(text)
    with pytest.raises(PlanUnusable, match="maybe"):
        filled.apply_plan(tmp_path / "plan" / "plan.csv")
