"""What a plan says of a group of faces: one person, not one, or some of them not the others."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from gallery import Gallery
from gallery.dedupe.findings import Findings, FoundFace, Person
from gallery.dedupe.plan.files import as_json, read_plan
from gallery.dedupe.plan.model import Member
from gallery.demo.photos import alterations, altered
from gallery.errors import PlanUnusable, UndoImpossible
from gallery.store import decisions, photo_cache
from gallery.store.decisions import NOT_ONE, Sets
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
    """marks : by the photo's name without its ending, after an underscore."""
    gallery.write_plan(found, tmp_path, tmp_path / "plan")
    plan = read_plan(tmp_path / "plan")

    def mark(member: Member) -> Member:
        return replace(member, accept=marks.get(f"_{Path(member.member).stem}"))

    findings = tuple(
        replace(one, accept=accept, members=tuple(map(mark, one.members)))
        if one.kind == "people"
        else one
        for one in plan.findings
    )
    (tmp_path / "decided.json").write_text(json.dumps(as_json(replace(plan, findings=findings))))
    return gallery.apply_plan(tmp_path / "decided.json").lines


def kept_decisions(gallery: Gallery) -> set[FaceDecision]:
    with gallery.database.reading() as session:
        return set(photo_cache.decisions(session))


def apart(first: int, second: int) -> FaceDecision:
    low, high = sorted((key(first), key(second)))
    return FaceDecision(low, high, False, "")


def together(first: int, second: int) -> FaceDecision:
    low, high = sorted((key(first), key(second)))
    return FaceDecision(low, high, True, "abc")


def test_a_no_to_a_group_says_nothing_of_any_two(gallery: Gallery, tmp_path: Path) -> None:
    lines = apply(gallery, group(*range(300)), tmp_path, False)
    assert lines == ("300 faces are not one person",)
    kept = kept_decisions(gallery)
    assert {one.second for one in kept} == {key(i) for i in range(300)}
    assert len(kept) == 300 and decisions.pairs_in(kept) == []
    assert len({one.first for one in kept}) == 1
    assert apply(gallery, group(*range(300)), tmp_path, False) == ()
    gallery.undo_plan()
    assert kept_decisions(gallery) == set()


def test_a_no_to_two_faces_is_of_these_two(gallery: Gallery, tmp_path: Path) -> None:
    apply(gallery, group(1, 2), tmp_path, False)
    assert kept_decisions(gallery) == {apart(1, 2)}


def test_not_this_one_needs_no_yes_to_the_rest(gallery: Gallery, tmp_path: Path) -> None:
    lines = apply(gallery, group(1, 2, 3), tmp_path, None, _3=False)
    assert lines == ("1 faces are none of 2 others",)
    assert kept_decisions(gallery) == {apart(1, 3), apart(2, 3)}
    apply(gallery, group(1, 2, 3), tmp_path, True, _3=False)
    assert kept_decisions(gallery) == {apart(1, 3), apart(2, 3), together(1, 2)}


def test_those_that_are_marked_belong_together_and_the_others_are_open(
    gallery: Gallery, tmp_path: Path
) -> None:
    apply(gallery, group(1, 2, 3, 4), tmp_path, None, _1=True, _2=True, _4=False)
    assert kept_decisions(gallery) == {together(1, 2), apart(1, 4), apart(2, 4)}
    with pytest.raises(PlanUnusable, match=r"accepts 3\.jpg alone"):
        apply(gallery, group(1, 2, 3, 4), tmp_path, None, _3=True)


def test_a_no_to_the_group_is_of_those_that_are_not_marked(
    gallery: Gallery, tmp_path: Path
) -> None:
    apply(gallery, group(1, 2, 3), tmp_path, False, _1=True, _2=True)
    assert kept_decisions(gallery) == {together(1, 2), apart(1, 3), apart(2, 3)}


def test_a_yes_outweighs_an_earlier_no_and_a_no_an_earlier_yes(
    gallery: Gallery, tmp_path: Path
) -> None:
    apply(gallery, group(1, 2, 3), tmp_path, False)
    rejected = kept_decisions(gallery)
    apply(gallery, group(1, 2, 3), tmp_path, True)
    assert kept_decisions(gallery) == {together(1, 2), together(1, 3)}
    apply(gallery, group(1, 2, 3, 4), tmp_path, False)  # of which three are one person still
    assert kept_decisions(gallery) > {together(1, 2), together(1, 3)}
    apply(gallery, group(1, 2, 3), tmp_path, False)
    assert decisions.pairs_in(kept_decisions(gallery)) == []
    for number in (4, 3, 2):
        assert gallery.undo_plan()[0] == number
    assert kept_decisions(gallery) == rejected


def test_decisions_are_taken_back_from_the_last(gallery: Gallery, tmp_path: Path) -> None:
    apply(gallery, group(1, 2), tmp_path, True)
    apply(gallery, group(1, 2), tmp_path, False)
    with pytest.raises(UndoImpossible, match="plan 1 cannot be undone: some of its decisions"):
        gallery.undo_plan(1)
    assert kept_decisions(gallery) == {apart(1, 2)}
    gallery.undo_plan(2)
    assert kept_decisions(gallery) == {together(1, 2)}
    gallery.undo_plan(1)
    assert kept_decisions(gallery) == set()


def test_a_set_of_which_a_face_was_erased_is_none() -> None:
    whole = decisions.not_one([key(1), key(2), key(3)])
    there = [key(i) for i in range(5)]
    assert Sets(whole, NOT_ONE).within(there) == whole
    assert Sets(whole, NOT_ONE).within(there[:3]) == []
    assert Sets(whole[1:], NOT_ONE).within(there) == []
    assert decisions.not_one([key(1), key(1)]) == []


def test_a_group_that_is_not_one_person_is_not_proposed_again(
    gallery: Gallery, hopper: Path, tmp_path: Path
) -> None:
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
    (folder / "1.jpg").rename(tmp_path / "1.jpg")  # without which it is another group
    assert [len(person.faces) for person in gallery.dedupe_folder(folder).people] == [3]
    (tmp_path / "1.jpg").rename(folder / "1.jpg")
    gallery.undo_plan()
    assert gallery.dedupe_folder(folder).people == found.people
