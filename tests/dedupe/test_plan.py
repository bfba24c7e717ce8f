"""Plans: written, read, decided, applied finding by finding, and undone as a whole."""

from __future__ import annotations

import csv
import io
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gallery import Gallery
from gallery.dedupe.findings import Findings
from gallery.dedupe.plan.files import plan_csv, plan_json, read_plan
from gallery.dedupe.plan.model import Plan, plan_of
from gallery.errors import PlanOutdated, PlanUnusable
from tests.dedupe.plans import counts, decided, marked, pairs, saved, written
from tests.store.queries import snapshot


def test_json_and_csv_hold_the_same_plan(findings: Findings, tmp_path: Path) -> None:
    plan = plan_of(findings, "0123")
    (tmp_path / "a.json").write_text(json.dumps(plan_json(plan)))
    (tmp_path / "a.csv").write_text(plan_csv(plan))
    assert read_plan(tmp_path / "a.json") == read_plan(tmp_path / "a.csv") == plan
    semicolons = plan_csv(plan).replace(",", ";")
    (tmp_path / "b.csv").write_text(semicolons, encoding="utf-8-sig")
    assert read_plan(tmp_path / "b.csv") == plan
    decisions = tuple(replace(f, accept=f.kind != "misfiled") for f in plan.findings)
    last = marked(decisions[-1], **{"photos/2.jpg": False})
    accepted = replace(plan, findings=(*decisions[:-1], last))
    (tmp_path / "a.json").write_text(json.dumps(plan_json(accepted)))
    (tmp_path / "b.csv").write_text(plan_csv(accepted).replace(",", ";"), encoding="utf-8-sig")
    assert read_plan(tmp_path / "a.json") == read_plan(tmp_path / "b.csv") == accepted


def test_a_sorted_csv_is_the_same_plan(findings: Findings, tmp_path: Path) -> None:
    plan = plan_of(findings, "0123")
    plan = replace(plan, findings=tuple(replace(f, accept=True) for f in plan.findings))
    head, *rows = csv.reader(io.StringIO(plan_csv(plan)))
    random.Random(1).shuffle(rows)
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    read = read_plan(tmp_path / "a.csv")
    assert {f.id: f for f in read.findings} == {f.id: f for f in plan.findings}
    with (tmp_path / "b.csv").open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows, rows[0]])
    with pytest.raises(PlanUnusable, match="appears twice"):
        read_plan(tmp_path / "b.csv")


def test_csv_line_decides_its_member_alone(
    filled: Gallery, findings: Findings, tmp_path: Path
) -> None:
    written(filled, findings, tmp_path / "plan")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "plan" / "plan.csv").read_text())))
    for row in rows:
        row["accept"] = "yes" if (row["kind"], row["line"]) == ("identities", "2") else ""
    file = tmp_path / "one.csv"
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(PlanUnusable, match="accepts Countess alone"):
        filled.apply_plan(file)


def test_name_like_a_formula_is_escaped_in_csv(findings: Findings, tmp_path: Path) -> None:
    same = replace(findings.identities[0], names=("=1+1", "'Ada"))
    plan = plan_of(replace(findings, identities=(same,)), "0123")
    assert "\n0123,i1,1,identities,,'=1+1," in plan_csv(plan).replace("\r", "")
    (tmp_path / "a.csv").write_text(plan_csv(plan))
    assert read_plan(tmp_path / "a.csv") == plan


def test_name_written_into_the_csv_keeps_every_character(
    filled: Gallery, findings: Findings, tmp_path: Path
) -> None:
    written(filled, findings, tmp_path / "plan")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "plan" / "plan.csv").read_text())))
    for row in rows:
        is_whole = (row["kind"], row["line"]) == ("misfiled", "0")
        row["accept"] = "yes" if is_whole else ""
        row["suggested"] = "''t Hooft" if is_whole else ""
    file = tmp_path / "named.csv"
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert filled.apply_plan(file).lines == ("photos/5.jpg is now ''t Hooft, not Bob",)


@pytest.mark.parametrize("name", ["ADA", "countess"])
def test_suggested_name_may_be_near(
    filled: Gallery, findings: Findings, tmp_path: Path, name: str
) -> None:
    before = {record.name for record in filled.identities()}
    plan = written(filled, findings, tmp_path / "plan")
    file = saved(
        plan,
        tmp_path / "yes.json",
        lambda f: replace(
            f, accept=f.kind == "misfiled" or None, suggested=name, suggested_id=None
        ),
    )
    (line,) = filled.apply_plan(file).lines
    assert line.split(",")[0].removeprefix("photos/5.jpg is now ") in before
    assert {record.name for record in filled.identities()} == before


def test_suggested_name_near_two_is_refused(
    filled: Gallery, findings: Findings, tmp_path: Path
) -> None:
    filled.rename("Countess", "ada", new=True)
    plan = written(filled, replace(findings, identities=()), tmp_path / "plan")
    file = saved(
        plan,
        tmp_path / "yes.json",
        lambda f: replace(
            f, accept=f.kind == "misfiled" or None, suggested="ADA", suggested_id=None
        ),
    )
    with pytest.raises(PlanUnusable, match=r"'ADA' may be 'Ada' \(id 1\) or 'ada' \(id 2\)"):
        filled.apply_plan(file)


def test_undecided_plan_changes_nothing(
    filled: Gallery, findings: Findings, tmp_path: Path
) -> None:
    before = snapshot(filled.database)
    written(filled, findings, tmp_path / "plan")
    assert filled.apply_plan(tmp_path / "plan").lines == ()
    assert snapshot(filled.database) == before


def test_outdated_plan_is_refused_naming_the_change(
    filled: Gallery, findings: Findings, tmp_path: Path
) -> None:
    plan = written(filled, findings, tmp_path / "plan")
    filled.rename("Bob", "Robert")
    file = decided(plan, tmp_path / "yes.json", identities=True)
    with pytest.raises(PlanOutdated, match="Robert has another name"):
        filled.apply_plan(file)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", "a,b\n1,2\n", '{"form": "gallery-dedupe-plan-1"}', "[" * 100_000]
)
def test_invalid_plan_is_refused(filled: Gallery, tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(PlanUnusable):
        filled.apply_plan(tmp_path / "plan.json")
    with pytest.raises(PlanUnusable):
        filled.apply_plan(tmp_path / "nowhere.json")


def test_accept_other_than_yes_or_no_is_refused(
    filled: Gallery, findings: Findings, tmp_path: Path
) -> None:
    written(filled, findings, tmp_path / "plan")
    text = (
        (tmp_path / "plan" / "plan.csv").read_text().replace(",misfiled,,", ",misfiled,maybe,", 1)
    )
    (tmp_path / "plan" / "plan.csv").write_text(text)
    with pytest.raises(PlanUnusable, match="maybe"):
        filled.apply_plan(tmp_path / "plan" / "plan.csv")


def test_people_told_apart_are_not_merged_through_a_third(three: Gallery, tmp_path: Path) -> None:
    three.keep_distinct("Ada", "Ben")
    plan = written(three, pairs("Ada Cy", "Ben Cy"), tmp_path / "plan")
    before = snapshot(three.database)
    with pytest.raises(PlanUnusable, match=r"i2 \(Ben and Cy\).*i1 \(Ada and Cy\).*Ben and Ada"):
        three.apply_plan(decided(plan, tmp_path / "yes.json", identities=True))
    assert snapshot(three.database) == before and three.applied_plans() == []
    three.apply_plan(decided(plan, tmp_path / "one.json", i1=True))
    assert counts(three) == {"Ada": 2, "Ben": 1}


def test_rejection_in_the_same_plan_prevents_a_merge(three: Gallery, tmp_path: Path) -> None:
    plan = written(three, pairs("Ada Ben", "Ada Cy", "Ben Cy"), tmp_path / "plan")
    before = snapshot(three.database)
    with pytest.raises(PlanUnusable, match=r"finding i3.*i2.*finding i1 tells them apart"):
        three.apply_plan(decided(plan, tmp_path / "no.json", i1=False), accept_over=0.5)
    assert snapshot(three.database) == before
    done = three.apply_plan(decided(plan, tmp_path / "two.json", i1=False, i2=True))
    assert done.lines == ("merged Ada and Cy, called Ada", "Ada and Ben are two people")
    assert three.undo_plan()[0] == done.number
    assert snapshot(three.database) == before


def test_plan_is_refused_if_the_gallery_changed_since_the_comparison(
    filled: Gallery, findings: Findings, tmp_path: Path
) -> None:
    found = filled.findings()
    assert found.state is not None
    filled.keep_distinct("Ada", "Bob")
    with pytest.raises(PlanOutdated, match=r"was compared: Ada has different decisions, Bob"):
        filled.write_plan(found, None, tmp_path / "plan")
    assert not (tmp_path / "plan").exists() or list((tmp_path / "plan").iterdir()) == []
    with pytest.raises(PlanUnusable, match="do not say in which state"):
        filled.write_plan(findings, None, tmp_path / "plan")
    filled.write_plan(filled.findings(), None, tmp_path / "plan")


def test_decision_after_the_plan_makes_it_outdated(
    filled: Gallery, findings: Findings, tmp_path: Path
) -> None:
    plan = written(filled, findings, tmp_path / "plan")
    file = decided(plan, tmp_path / "yes.json", misfiled=True)
    filled.call_right(5)
    with pytest.raises(PlanOutdated, match="Bob has different decisions"):
        filled.apply_plan(file)
    filled.call_right(5, right=False)
    assert len(filled.apply_plan(file).lines) == 1


def test_wrong_name_without_a_suggestion_is_not_accepted_by_probability(
    filled: Gallery, findings: Findings, tmp_path: Path
) -> None:
    wrong = replace(findings.misfiled[0], suggested=None, suggested_id=None)
    written(filled, replace(findings, misfiled=(wrong,)), tmp_path / "plan")
    assert filled.apply_plan(tmp_path / "plan", accept_over=0.9).lines == (
        "merged Ada and Countess, called Ada",
    )


def test_impossible_finding_is_refused_before_any_change(
    filled: Gallery, findings: Findings, tmp_path: Path
) -> None:
    wrong = replace(findings.misfiled[0], suggested=None, suggested_id=None)
    plan = written(filled, replace(findings, misfiled=(wrong,)), tmp_path / "plan")
    before = snapshot(filled.database)
    for dry_run in (True, False):
        file = decided(plan, tmp_path / "yes.json", identities=True, misfiled=True)
        with pytest.raises(PlanUnusable, match="without a name"):
            filled.apply_plan(file, dry_run=dry_run)
    assert snapshot(filled.database) == before and filled.applied_plans() == []


def test_suggested_name_follows_a_merge_of_the_same_plan(
    filled: Gallery, findings: Findings, tmp_path: Path
) -> None:
    wrong = replace(findings.misfiled[0], suggested="Countess", suggested_id=2)
    plan = written(filled, replace(findings, misfiled=(wrong,)), tmp_path / "plan")
    file = decided(plan, tmp_path / "yes.json", identities=True, misfiled=True)
    assert filled.apply_plan(file).lines[1] == "photos/5.jpg is now Ada, not Bob"
    assert counts(filled) == {"Ada": 4, "Bob": 1}
    filled.undo_plan()

    def edited(name: str) -> Path:
        return saved(
            plan,
            tmp_path / "edited.json",
            lambda f: (
                replace(f, accept=True, suggested=name)
                if f.kind == "misfiled"
                else replace(f, accept=f.kind == "identities" or None)
            ),
        )

    filled.apply_plan(edited("Eve"))
    assert counts(filled) == {"Ada": 3, "Bob": 1, "Eve": 1}
    filled.undo_plan()
    with pytest.raises(PlanUnusable, match="finding m1: the name"):
        filled.apply_plan(edited("..\x07"))


def test_rejecting_one_of_two_names_tells_them_apart(
    filled: Gallery, findings: Findings, tmp_path: Path
) -> None:
    plan = written(filled, findings, tmp_path / "plan")
    file = saved(
        plan,
        tmp_path / "not.json",
        lambda f: marked(f, Countess=False) if f.kind == "identities" else f,
    )
    assert filled.apply_plan(file).lines == ("Ada and Countess are two people",)


def tampered(plan: Plan, file: Path, finding_id: str, member: dict[str, Any], **more: Any) -> Path:
    """The plan with all accepted, and one finding and its first member edited."""
    document = plan_json(plan)
    for finding in document["findings"]:
        finding["accept"] = True
        if finding["finding"] == finding_id:
            finding |= more
            for m in finding["members"][:1]:
                m |= member
    file.write_text(json.dumps(document))
    return file


@pytest.mark.parametrize(
    ("finding", "member", "more"),
    [
        ("i1", {"identity_id": 99}, {}),
        ("i1", {"identity_id": None}, {}),
        ("i1", {"identity_id": 10**30}, {}),
        ("i1", {"identity_id": -1}, {}),
        ("m1", {"face_id": 10**30}, {}),
        ("m1", {"face_id": "1e3"}, {}),
        ("m1", {"face_id": 99}, {}),
        ("m1", {"face_id": None}, {}),
        ("m1", {"face_id": 4}, {}),
        ("m1", {"identity_id": 1}, {}),
        ("m1", {}, {"suggested_id": 99}),
        ("m1", {}, {"members": []}),
        ("m1", {}, {"probability": 10**400}),
        ("m1", {}, {"probability": float("nan")}),
        ("p-abc", {"key": "0" * 64 + " x y"}, {}),
        ("p-abc", {"key": "0" * 64 + " 1 2 3"}, {}),
        ("p-abc", {"key": "not-one 0123456789abcdef"}, {}),
        ("p-abc", {"key": ""}, {}),
        ("p-abc", {}, {"finding": "p-" + "x" * 100}),
    ],
)
def test_tampered_plan_is_refused_and_changes_nothing(
    filled: Gallery,
    findings: Findings,
    tmp_path: Path,
    finding: str,
    member: dict[str, Any],
    more: dict[str, Any],
) -> None:
    plan = written(filled, findings, tmp_path / "plan")
    before = snapshot(filled.database)
    with pytest.raises(PlanUnusable):
        filled.apply_plan(tampered(plan, tmp_path / "bad.json", finding, member, **more))
    assert snapshot(filled.database) == before
    filled.apply_plan(tampered(plan, tmp_path / "good.json", finding, {}))


def test_plan_of_a_folder_does_not_change_the_gallery(
    filled: Gallery, findings: Findings, tmp_path: Path
) -> None:
    filled.write_plan(findings, tmp_path, tmp_path / "plan")
    before = snapshot(filled.database)
    file = decided(
        read_plan(tmp_path / "plan"),
        tmp_path / "yes.json",
        identities=True,
        misfiled=True,
        people=True,
    )
    assert filled.apply_plan(file).lines == ("3 faces are one person",)
    assert snapshot(filled.database) == before
