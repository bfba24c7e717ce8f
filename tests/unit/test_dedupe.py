"""Copies and people in a folder of real photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gallery import Gallery
from gallery.dedupe.folder import FolderReport
from gallery.demo.photos import alterations, altered
from gallery.errors import PhotoUnreadable


@pytest.fixture
def report(
    gallery: Gallery, tmp_path: Path, hopper: Path, collins: Path, no_one: list[Path]
) -> FolderReport:
    folder = tmp_path / "photos"
    (folder / "copies").mkdir(parents=True)
    (folder / "hopper.jpg").write_bytes(hopper.read_bytes())
    for i, alteration in enumerate(alterations()):
        (folder / "copies" / f"{i}.jpg").write_bytes(altered(hopper, alteration))
    (folder / "collins.png").write_bytes(collins.read_bytes())
    (folder / "cat.png").write_bytes(no_one[0].read_bytes())
    (folder / "same cat.png").write_bytes(no_one[0].read_bytes())
    (folder / "coffee.png").write_bytes(no_one[1].read_bytes())
    (folder / "broken.jpg").write_bytes(hopper.read_bytes()[:3000])
    return gallery.dedupe_folder(folder)


def test_copies_are_found_by_bytes_by_look_and_by_face(report: FolderReport) -> None:
    copies = [sorted(Path(p).name for p in group.photos) for group in report.copies]
    assert copies == [["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg", "hopper.jpg"],
                      ["cat.png", "same cat.png"]]  # fmt: skip
    assert report.copies[1].similarity == 1.0


def test_faces_of_one_person_are_one_group(report: FolderReport) -> None:
    (group,) = report.people
    assert len(group.faces) == 1 + len(alterations())
    assert group.probability > 0.5
    assert not any("collins" in face.photo for face in group.faces)


def test_what_cannot_be_read_is_listed(report: FolderReport) -> None:
    ((photo, reason),) = report.skipped
    assert (Path(photo).name, "broken.jpg" in reason) == ("broken.jpg", True)
    assert (report.photos, report.faces) == (11, 8)


def test_an_empty_folder_has_nothing_twice(gallery: Gallery, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    report = gallery.dedupe_folder(tmp_path / "empty")
    assert (report.photos, report.copies, report.people, report.skipped) == (0, (), (), ())
    with pytest.raises(PhotoUnreadable):
        gallery.dedupe_folder(tmp_path / "nowhere")


def test_an_empty_gallery_has_nothing_twice(gallery: Gallery) -> None:
    report = gallery.dedupe()
    assert (report.identities, report.same_people, report.same_faces) == (0, (), ())


def test_people_of_the_research_photos_are_not_run_together(
    gallery: Gallery, shared_faces: Path, tmp_path: Path
) -> None:
    """40 photos of 10 people: no group may hold two of them."""
    people = sorted(f for f in (shared_faces / "lfw").iterdir() if len(list(f.iterdir())) in (4, 5))
    drawn = np.random.default_rng(0).choice(len(people), 10, replace=False)
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in drawn:
        for photo in sorted(people[i].iterdir())[:4]:
            (folder / photo.name).write_bytes(photo.read_bytes())
    report = gallery.dedupe_folder(folder)
    named = [{Path(f.photo).stem[:-5] for f in group.faces} for group in report.people]
    assert all(len(names) == 1 for names in named), named
    assert sum(len(group.faces) for group in report.people) >= 20
