"""Queries and enrolments respect the user's decisions on faces and identities."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gallery import Gallery
from gallery.demo.photos import alterations, altered
from gallery.store import decisions
from gallery.store.photo_cache import FaceDecision
from gallery.types import Box, Outcome


@pytest.fixture
def copies(tmp_path: Path, hopper: Path) -> list[Path]:
    """One person's photo and two altered copies."""
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(hopper, folder / "first.jpg")
    for i, alteration in enumerate(alterations()[:2]):
        (folder / f"copy {i}.jpg").write_bytes(altered(hopper, alteration))
    return sorted(folder.iterdir(), key=lambda p: p.name != "first.jpg")


def rejections(gallery: Gallery, photos: list[Path]) -> list[FaceDecision]:
    """Return the decisions that `dedupe --apply` stores when the group of these is rejected."""
    (person,) = gallery.dedupe_folder(photos[0].parent).people
    keys = {Path(face.photo).name: face.key for face in person.faces}
    first = keys.pop(photos[0].name)
    return [FaceDecision(first, other, False, "") for other in keys.values()]


def test_rejected_identity_is_no_candidate(gallery: Gallery, copies: list[Path]) -> None:
    gallery.enroll("Grace", copies[0])
    assert gallery.query(copies[1]).outcome is Outcome.MATCH
    rejected = rejections(gallery, copies)
    with gallery.database.writing() as session:
        decisions.save(session, rejected)
    decision = gallery.query(copies[1])
    assert decision.outcome is Outcome.UNKNOWN and decision.candidates == ()
    assert "you ruled out Grace" in decision.reason
    enrolled = gallery.enroll("Someone else", copies[1])
    assert enrolled.face_id is not None  # Grace is no rival
    assert gallery.query(copies[0]).identity is not None  # her own photo still matches
    with gallery.database.writing() as session:
        decisions.drop(session, [decisions.pair_of(decision) for decision in rejected])
    assert "Grace" in gallery.query(copies[2]).reason


def test_box_may_move_by_a_pixel_but_not_more(gallery: Gallery, copies: list[Path]) -> None:
    gallery.enroll("Grace", copies[0])
    rejected = rejections(gallery, copies)
    sha256, *edges = rejected[0].second.split(" ")
    box = Box(*(float(edge) + 1 for edge in edges))
    far = Box(box.left + 9, box.top, box.right + 9, box.bottom)
    with gallery.database.writing() as session:
        assert decisions.rejected_identities(session, sha256, box) == set()
        decisions.save(session, rejected)
        assert decisions.rejected_identities(session, sha256, box) == {1}
        assert decisions.rejected_identities(session, sha256, far) == set()
        assert decisions.rejected_identities(session, "0" * 64, box) == set()


def test_ambiguous_query_names_distinct_people(gallery: Gallery, copies: list[Path]) -> None:
    gallery.enroll("Grace", copies[0])
    gallery.enroll("Her twin", copies[1], force=True)
    assert "2 identities match" in gallery.query(copies[2]).reason
    gallery.keep_distinct("Grace", "Her twin")
    decision = gallery.query(copies[2])
    assert decision.outcome is Outcome.AMBIGUOUS
    assert "2 identities match, which you marked as different people" in decision.reason
