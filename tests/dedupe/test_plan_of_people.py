"""Decisions on a group of faces: one person, not one person, or some of them apart."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from gallery import Gallery
from gallery.dedupe.findings import Findings, FoundFace, Person
from gallery.dedupe.plan.files import plan_json, read_plan
from gallery.dedupe.plan.model import Member
from gallery.demo.photos import alterations, altered
from gallery.errors import PlanUnusable, UndoImpossible
from gallery.store import decisions, photo_cache
from gallery.store.decisions import NOT_ONE_PERSON, FaceSets
from gallery.store.photo_cache import FaceDecision
from gallery.types import Box, Outcome

BOX = Box(1.0, 2.0, 30.0, 40.0)


def key(number: int) -> str:
    return decisions.face_key(hashlib.sha256(str(number).encode()).hexdigest(), BOX)


def group(*numbers: int) -> Findings:
    faces = tuple(FoundFace(f"{i}.jpg", BOX, key(i)) for i in numbers)
    person = Person("abc", faces, 0.8, (faces[0], faces[1]), "why")
    return Findings(len(faces), len(faces), people=(person,))


def apply(
    gallery: Gallery, found: Findings, tmp_path: Path, accept: bool | None, **marks: bool
) -> tuple[str, ...]:
    """marks : decisions on members, by an underscore and the photo's stem."""
    gallery.write_plan(found, tmp_path, tmp_path / "plan")
    plan = read_plan(tmp_path / "plan")

    def mark(member: Member) -> Member:
        return replace(member, accept=marks.get(f"_{Path(member.member).stem}"))

    findings = tuple(
        replace(f, accept=accept, members=tuple(map(mark, f.members))) if f.kind == "people" else f
        for f in plan.findings
    )
    (tmp_path / "decided.json").write_text(json.dumps(plan_json(replace(plan, findings=findings))))
    return gallery.apply_plan(tmp_path / "decided.json").lines


def stored_decisions(gallery: Gallery) -> set[FaceDecision]:
    with gallery.database.reading() as session:
        return set(photo_cache.all_decisions(session))


def apart(first: int, second: int) -> FaceDecision:
    low, high = sorted((key(first), key(second)))
    return FaceDecision(low, high, False, "")


def together(first: int, second: int) -> FaceDecision:
    low, high = sorted((key(first), key(second)))
    return FaceDecision(low, high, True, "abc")


def test_rejected_group_decides_no_pair(gallery: Gallery, tmp_path: Path) -> None:
    lines = apply(gallery, group(*range(300)), tmp_path, False)
    assert lines == ("300 faces are not one person",)
    stored = stored_decisions(gallery)
    assert {decision.second for decision in stored} == {key(i) for i in range(300)}
    assert len(stored) == 300 and decisions.pair_decisions(stored) == []
    assert len({decision.first for decision in stored}) == 1
    assert apply(gallery, group(*range(300)), tmp_path, False) == ()
    gallery.undo_plan()
    assert stored_decisions(gallery) == set()


def test_rejected_group_of_two_decides_the_pair(gallery: Gallery, tmp_path: Path) -> None:
    apply(gallery, group(1, 2), tmp_path, False)
    assert stored_decisions(gallery) == {apart(1, 2)}


def test_rejected_member_is_apart_from_the_undecided_rest(gallery: Gallery, tmp_path: Path) -> None:
    lines = apply(gallery, group(1, 2, 3), tmp_path, None, _3=False)
    assert lines == ("1 of 3 faces told apart from the rest",)
    assert stored_decisions(gallery) == {apart(1, 3), apart(2, 3)}
    apply(gallery, group(1, 2, 3), tmp_path, True, _3=False)
    assert stored_decisions(gallery) == {apart(1, 3), apart(2, 3), together(1, 2)}


def test_accepted_members_belong_together_and_the_rest_is_undecided(
    gallery: Gallery, tmp_path: Path
) -> None:
    apply(gallery, group(1, 2, 3, 4), tmp_path, None, _1=True, _2=True, _4=False)
    assert stored_decisions(gallery) == {together(1, 2), apart(1, 4), apart(2, 4)}
    with pytest.raises(PlanUnusable, match=r"accepts 3\.jpg alone"):
        apply(gallery, group(1, 2, 3, 4), tmp_path, None, _3=True)


def test_rejected_group_rejects_its_unmarked_members(gallery: Gallery, tmp_path: Path) -> None:
    apply(gallery, group(1, 2, 3), tmp_path, False, _1=True, _2=True)
    assert stored_decisions(gallery) == {together(1, 2), apart(1, 3), apart(2, 3)}


def test_later_decision_replaces_the_earlier_one(gallery: Gallery, tmp_path: Path) -> None:
    apply(gallery, group(1, 2, 3), tmp_path, False)
    rejected = stored_decisions(gallery)
    apply(gallery, group(1, 2, 3), tmp_path, True)
    assert stored_decisions(gallery) == {together(1, 2), together(1, 3)}
    apply(gallery, group(1, 2, 3, 4), tmp_path, False)  # three of them are still one person
    assert stored_decisions(gallery) > {together(1, 2), together(1, 3)}
    apply(gallery, group(1, 2, 3), tmp_path, False)
    assert decisions.pair_decisions(stored_decisions(gallery)) == []
    for number in (4, 3, 2):
        assert gallery.undo_plan()[0] == number
    assert stored_decisions(gallery) == rejected


def test_decisions_are_undone_from_the_last(gallery: Gallery, tmp_path: Path) -> None:
    apply(gallery, group(1, 2), tmp_path, True)
    apply(gallery, group(1, 2), tmp_path, False)
    with pytest.raises(UndoImpossible, match="plan 1 cannot be undone: some of its decisions"):
        gallery.undo_plan(1)
    assert stored_decisions(gallery) == {apart(1, 2)}
    gallery.undo_plan(2)
    assert stored_decisions(gallery) == {together(1, 2)}
    gallery.undo_plan(1)
    assert stored_decisions(gallery) == set()


def test_set_with_an_erased_face_is_dropped() -> None:
    whole = decisions.not_one_person([key(1), key(2), key(3)])
    keys = [key(i) for i in range(5)]
    assert FaceSets(whole, NOT_ONE_PERSON).within(keys) == whole
    assert FaceSets(whole, NOT_ONE_PERSON).within(keys[:3]) == []
    assert FaceSets(whole[1:], NOT_ONE_PERSON).within(keys) == []
    assert decisions.not_one_person([key(1), key(1)]) == []


def test_rejected_group_is_not_found_again(gallery: Gallery, hopper: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(hopper, folder / "first.jpg")
    for i, alteration in enumerate(alterations()[:3]):
        (folder / f"{i}.jpg").write_bytes(altered(hopper, alteration))
    found = gallery.dedupe_folder(folder)
    assert [len(person.faces) for person in found.people] == [4]
    gallery.enroll("Grace", folder / "first.jpg")
    apply(gallery, found, tmp_path, False)
    assert gallery.dedupe_folder(folder).people == ()
    assert gallery.query(folder / "0.jpg").outcome is Outcome.MATCH
    (folder / "1.jpg").rename(tmp_path / "1.jpg")  # the rest is another group
    assert [len(person.faces) for person in gallery.dedupe_folder(folder).people] == [3]
    (tmp_path / "1.jpg").rename(folder / "1.jpg")
    gallery.undo_plan()
    assert gallery.dedupe_folder(folder).people == found.people
