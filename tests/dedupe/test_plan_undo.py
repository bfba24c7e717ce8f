"""An applied plan is undone whole, or not at all."""

from __future__ import annotations

import csv
import io
import os
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from gallery import Gallery
from gallery.dedupe.findings import Copies, Findings
from gallery.dedupe.plan import apply
from gallery.errors import PlanOutdated, UndoImpossible
from gallery.store import corrections, identities, merges
from gallery.store.database import Session
from tests.conftest import AddFace, UnitRows
from tests.dedupe.plans import counts, decided, face, saved, written
from tests.store.queries import snapshot


def test_accepted_findings_are_applied_and_undone(
    filled: Gallery, findings: Findings, tmp_path: Path
) -> None:
    before = snapshot(filled.database)
    plan = written(filled, findings, tmp_path / "plan")
    file = decided(plan, tmp_path / "yes.json", identities=True, misfiled=True)
    trial = filled.apply_plan(file, dry_run=True)
    assert snapshot(filled.database) == before and len(trial.lines) == 2
    done = filled.apply_plan(file)
    assert done.lines == trial.lines
    assert {r.name: r.faces for r in filled.identities()} == {"Ada": 4, "Bob": 1}
    with pytest.raises(PlanOutdated, match=r"Ada has .*identity 2 is gone.*Bob has"):
        filled.apply_plan(file)
    assert filled.undo_plan()[0] == done.number
    assert snapshot(filled.database) == before
    with pytest.raises(UndoImpossible):
        filled.undo_plan()


def test_rejected_findings_are_stored_and_can_be_undone(
    filled: Gallery, findings: Findings, tmp_path: Path
) -> None:
    before = snapshot(filled.database)
    plan = written(filled, findings, tmp_path / "plan")
    file = decided(plan, tmp_path / "no.json", identities=False, misfiled=False, people=False)
    filled.apply_plan(file)
    assert snapshot(filled.database)["distinct"] == {(1, 2)}
    filled.undo_plan()
    assert snapshot(filled.database) == before


def test_undo_after_further_edits_is_refused_and_changes_nothing(
    filled: Gallery, findings: Findings, tmp_path: Path
) -> None:
    plan = written(filled, findings, tmp_path / "plan")
    filled.apply_plan(decided(plan, tmp_path / "yes.json", identities=True, misfiled=True))
    filled.merge("Bob", ["Ada"])
    after = snapshot(filled.database)
    with pytest.raises(UndoImpossible):
        filled.undo_plan()
    assert snapshot(filled.database) == after


def test_forgetting_removes_plan_files_and_undo_steps(
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


def test_error_midway_names_the_number_that_undoes_it(
    filled: Gallery, findings: Findings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(filled.database)
    plan = written(filled, findings, tmp_path / "plan")
    file = decided(plan, tmp_path / "yes.json", identities=True, misfiled=True)
    writing, transactions = filled.database.writing, 0

    def interfered() -> AbstractContextManager[Session]:
        """The first transaction is the trial, the second merges, the third finds a change."""
        nonlocal transactions
        transactions += 1
        if transactions == 3:
            with writing() as session:
                identities.rename(session, "Bob", "Robert")
        return writing()

    monkeypatch.setattr(filled.database, "writing", interfered)
    with pytest.raises(PlanOutdated, match=r"another process .*`gallery undo 1` undoes them"):
        filled.apply_plan(file)
    monkeypatch.undo()
    assert counts(filled) == {"Ada": 3, "Robert": 2}
    filled.rename("Robert", "Bob")
    assert filled.undo_plan(1)[0] == 1
    assert snapshot(filled.database) == before


def test_application_without_steps_is_not_listed(filled: Gallery) -> None:
    with filled.database.writing() as session:
        corrections.begin_application(session)
    assert filled.applied_plans() == []
    with pytest.raises(UndoImpossible, match="no applied dedupe plan"):
        filled.undo_plan()


@pytest.mark.parametrize("edit", ["details", "external id", "expiry", "name", "distinct", ""])
def test_undo_keeps_a_new_identity_that_was_edited_since(
    filled: Gallery, findings: Findings, tmp_path: Path, edit: str
) -> None:
    plan = written(filled, findings, tmp_path / "plan")
    file = saved(
        plan,
        tmp_path / "new.json",
        lambda f: replace(f, accept=f.kind == "misfiled" or None, suggested="Eve"),
    )
    filled.apply_plan(file)
    with filled.database.writing() as session:
        if edit == "details":
            identities.describe(session, "Eve", None, {"born": "1900"})
        elif edit == "external id":
            identities.describe(session, "Eve", "e1", {})
        elif edit == "expiry":
            identities.set_expiry(session, "Eve", identities.get(session, "Eve").created_at)
        elif edit == "name":
            identities.rename(session, "Eve", "Eva")
        elif edit == "distinct":
            merges.keep_distinct(session, identities.get(session, "Eve").id, [1])
    filled.undo_plan()
    remaining = {"": {}, "name": {"Eva": 0}}.get(edit, {"Eve": 0})
    assert counts(filled) == {"Ada": 2, "Countess": 1, "Bob": 2} | remaining


def test_undo_is_refused_if_the_photo_was_enrolled_again(
    filled: Gallery, findings: Findings, unit_rows: UnitRows, add_face: AddFace, tmp_path: Path
) -> None:
    copies = Copies(("photos/1.jpg", "photos/2.jpg"), 0.9, ("1", "2"), "why", (face(1), face(2)))
    plan = written(filled, replace(findings, copies=(copies,)), tmp_path / "plan")
    filled.apply_plan(decided(plan, tmp_path / "yes.json", copies=True))
    again = add_face(filled.database, "Ada", unit_rows(1, 9).row(0), 2)
    with pytest.raises(UndoImpossible, match="face 2 was enrolled again"):
        filled.undo_plan()
    assert counts(filled)["Ada"] == 2
    filled.move_face(again, "Bob")
    filled.undo_plan()
    assert counts(filled) == {"Ada": 2, "Countess": 1, "Bob": 3}


def test_face_removed_and_restored_is_still_right(
    filled: Gallery, findings: Findings, tmp_path: Path
) -> None:
    filled.call_right(2)
    copies = Copies(("photos/1.jpg", "photos/2.jpg"), 0.9, ("1", "2"), "why", (face(1), face(2)))
    plan = written(filled, replace(findings, copies=(copies,)), tmp_path / "plan")
    filled.apply_plan(decided(plan, tmp_path / "yes.json", copies=True))
    filled.undo_plan()
    with filled.database.reading() as session:
        assert corrections.confirmed_faces(session) == {(2, 1)}


def test_undo_leaves_decisions_made_by_hand(
    filled: Gallery, findings: Findings, tmp_path: Path
) -> None:
    filled.keep_distinct("Ada", "Countess")
    filled.call_right(5)
    plan = written(filled, findings, tmp_path / "plan")
    no = decided(plan, tmp_path / "no.json", identities=False, misfiled=False)
    assert filled.apply_plan(no) == apply.Applied(None, ())  # both were decided before
    filled.keep_distinct("Ada", "Countess", distinct=False)
    filled.call_right(5, right=False)
    for kind in ("identities", "misfiled"):
        plan = written(filled, findings, tmp_path / "plan")
        filled.apply_plan(decided(plan, tmp_path / "no.json", **{kind: False}))
    filled.call_right(5, right=False)
    filled.keep_distinct("Ada", "Countess", distinct=False)
    for number, _, _ in filled.applied_plans():
        with pytest.raises(UndoImpossible, match="decided otherwise since"):
            filled.undo_plan(number)
    filled.call_right(5)
    filled.undo_plan()
    with filled.database.reading() as session:
        assert corrections.confirmed_faces(session) == set()


def test_copies_decided_to_be_kept_are_not_reported_until_undone(
    gallery: Gallery, tmp_path: Path, hopper: Path
) -> None:
    again = tmp_path / "again.png"
    Image.open(hopper).save(again)
    for photo in (hopper, again):
        gallery.enroll("Grace", photo, force=True)
    found = gallery.findings()
    assert [face.name for face in found.copies[0].faces] == ["Grace", "Grace"]
    gallery.write_plan(found, None, tmp_path / "plan")
    file = tmp_path / "plan" / "plan.csv"
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    rows[0]["accept"] = "no"
    os.utime(tmp_path / "plan" / "plan.json", ns=(1, 1))  # the CSV was changed last
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    done = gallery.apply_plan(tmp_path / "plan")
    (line,) = done.lines
    assert "again.png" in line and "not be reported again" in line
    assert gallery.findings().copies == ()
    gallery.undo_plan(done.number)
    assert len(gallery.findings().copies) == 1
