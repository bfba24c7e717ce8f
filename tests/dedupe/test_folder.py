"""Copies, people and wrong names in folders of real photos; photos are read only once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gallery import Gallery
from gallery.dedupe import scan
from gallery.dedupe.findings import Findings
from gallery.demo.photos import alterations, altered
from gallery.errors import FolderForgotten, NoPhotos, PhotoUnreadable, SettingInvalid
from gallery.store import decisions, photo_cache
from gallery.store.photo_cache import FaceDecision
from gallery.types import Photo
from gallery.vision import workers
from gallery.vision.pipeline import FacePipeline, PhotoSource


@pytest.fixture
def folder(tmp_path: Path, hopper: Path, collins: Path, no_one: list[Path]) -> Path:
    """Two people, a cat, coffee; copies of three of them, links, and a broken file."""
    root = tmp_path / "photos"
    (root / "copies").mkdir(parents=True)
    shutil.copy(hopper, root / "hopper.jpg")
    for i, alteration in enumerate(alterations()):
        (root / "copies" / f"{i}.jpg").write_bytes(altered(hopper, alteration))
    shutil.copy(collins, root / "collins.png")
    shutil.copy(no_one[0], root / "cat.png")
    shutil.copy(no_one[0], root / "same cat.png")
    with Image.open(no_one[1]) as coffee:
        coffee.save(root / "coffee.png")
        width, height = coffee.size
        coffee.crop((12, 9, width - 20, height - 7)).save(
            root / "copies" / "coffee.jpg", quality=50
        )
    (root / "broken.jpg").write_bytes(hopper.read_bytes()[:3000])
    (root / "loop.jpg").symlink_to(root / "loop.jpg")
    (root / "link.png").symlink_to(root / "cat.png")
    (root / "copies" / "up").symlink_to(root)
    return root


def recorded_reads(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the photos that are opened from now on."""
    names: list[str] = []
    original = gallery.pipeline.open

    def recorded(source: PhotoSource) -> Photo:
        names.append(Path(str(source)).name)
        return original(source)

    monkeypatch.setattr(gallery.pipeline, original.__name__, recorded)
    return names


@pytest.fixture
def found(gallery: Gallery, folder: Path) -> Findings:
    return gallery.dedupe_folder(folder)


def test_copies_are_found_by_bytes_hashes_and_faces(found: Findings) -> None:
    copies = [sorted(Path(p).name for p in group.photos) for group in found.copies]
    assert copies[0] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg", "hopper.jpg"]
    assert sorted(copies[1:]) == [["cat.png", "same cat.png"], ["coffee.jpg", "coffee.png"]]
    assert all(group.probability > 0.5 for group in found.copies)


def test_faces_of_one_person_are_one_group(found: Findings) -> None:
    (person,) = found.people
    assert len(person.faces) == 1 + len(alterations())
    assert 0.5 < person.probability < 1.0
    assert not any("collins" in face.photo for face in person.faces)


def test_unreadable_files_are_listed_as_skipped(found: Findings) -> None:
    skipped = {Path(photo).name: reason for photo, reason in found.skipped}
    assert skipped.keys() == {"broken.jpg", "loop.jpg", "link.png"}
    assert "symbolic" in skipped["loop.jpg"] and "link" in skipped["link.png"]
    assert (found.photos, found.faces) == (12, 8)


def test_only_changed_photos_are_read_again(
    gallery: Gallery, folder: Path, found: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = recorded_reads(gallery, monkeypatch)
    assert gallery.dedupe_folder(folder) == found
    assert names == ["broken.jpg"]  # which may be complete by now
    shutil.copy(folder / "collins.png", folder / "cat.png")
    names.clear()
    gallery.dedupe_folder(folder)
    assert sorted(names) == ["broken.jpg", "cat.png"]


def test_unusable_photos_are_read_again(
    gallery: Gallery, cache: Path, folder: Path, pipeline: FacePipeline
) -> None:
    home = gallery.settings.home
    with Gallery.open(home, cache=cache, threads=1, max_photo_pixels=1_000) as small:
        skipped = dict(small.dedupe_folder(folder).skipped)
    assert any("GALLERY_MAX_PHOTO_PIXELS" in reason for reason in skipped.values())
    assert gallery.dedupe_folder(folder).photos == 12


def test_erasure_during_the_scan_is_an_error(gallery: Gallery, folder: Path) -> None:
    def erase(step: str, _done: int, _total: int) -> None:
        if step == "comparing photos":
            with gallery.database.writing() as session:
                photo_cache.forget_photos(session, ())

    with pytest.raises(FolderForgotten, match="run it again"):
        gallery.dedupe_folder(folder, progress=erase)


def test_nothing_read_before_an_erasure_is_stored_after_it(
    gallery: Gallery, folder: Path, hopper: Path
) -> None:
    gallery.enroll("Grace", hopper)

    def erase(step: str, done: int, _total: int) -> None:
        if step == "reading photos" and done == 3:
            gallery.forget("Grace")

    with pytest.raises(FolderForgotten, match="run it again"):
        gallery.dedupe_folder(folder, progress=erase)
    with gallery.database.reading() as session:
        assert photo_cache.count(session) == 0


def test_unusable_photo_may_have_any_name(gallery: Gallery, folder: Path) -> None:
    raw = os.fsencode(folder) + b"/J\xf6.jpg"
    with open(raw, "wb") as file:
        file.write(b"no photo")
    skipped = dict(gallery.dedupe_folder(folder).skipped)
    assert r"J\udcf6.jpg" in skipped[os.fsdecode(raw)]


def test_confirmed_group_keeps_its_id_when_photos_are_missing(
    gallery: Gallery, folder: Path
) -> None:
    (person,) = gallery.dedupe_folder(folder).people
    keys = [face.key for face in person.faces]
    confirmed = [FaceDecision(keys[0], key, True, "mine") for key in keys[1:]]
    with gallery.database.writing() as session:
        decisions.save(session, confirmed)
    (person,) = gallery.dedupe_folder(folder).people
    assert (person.id, person.confirmed, person.why) == ("mine", True, "as you said")
    first = keys[0].split(" ")[0]
    for face in person.faces:  # the face that all its decisions refer to
        if face.key.startswith(first):
            Path(face.photo).unlink()
    shutil.copy(folder / "collins.png", folder / "collins again.png")
    people = {person.id: person for person in gallery.dedupe_folder(folder).people}
    assert people["mine"].why == "as you said" and len(people["mine"].faces) == len(keys) - 1
    with gallery.database.writing() as session:  # one face is not confirmed any more
        decisions.drop(session, [decisions.ordered_pair(keys[0], keys[-1])])
    people = {person.id: person for person in gallery.dedupe_folder(folder).people}
    assert not people["mine"].confirmed and people["mine"].probability < 1.0


def test_photos_read_before_an_interruption_are_stored(gallery: Gallery, folder: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(_step: str, done: int, _total: int) -> None:
        if done == 5:
            raise Stopped

    with pytest.raises(Stopped):
        gallery.dedupe_folder(folder, progress=stop)
    with gallery.database.reading() as session:
        assert photo_cache.count(session) == 5


def test_photo_that_changes_while_it_is_read_is_skipped(
    pipeline: FacePipeline, folder: Path
) -> None:
    ((photo,), _) = scan.list_photos([folder / "cat.png"], pipeline, 2)
    os.utime(photo.path, (1, 1))
    assert "changed while it was read" in scan.read_photo(pipeline, photo, 2).reason


def test_worker_processes_give_the_same_findings(
    gallery: Gallery, folder: Path, found: Findings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_LEAST_PHOTOS", 1)
    with Gallery.open(tmp_path / "other", cache=gallery.settings.cache, threads=1) as other:
        assert other.dedupe_folder(folder) == found


def test_forgetting_anyone_erases_stored_scans(
    gallery: Gallery, found: Findings, hopper: Path
) -> None:
    gallery.enroll("Grace", hopper)
    with gallery.database.reading() as session:
        assert photo_cache.count(session) > 0
    gallery.forget("Grace")
    with gallery.database.reading() as session:
        assert photo_cache.count(session) == 0


def test_folder_without_photos_is_refused(gallery: Gallery, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoPhotos):
        gallery.dedupe_folder(tmp_path / "empty")
    with pytest.raises(PhotoUnreadable):
        gallery.dedupe_folder(tmp_path / "nowhere")


def test_precision_out_of_range_is_refused(gallery: Gallery, folder: Path) -> None:
    with pytest.raises(SettingInvalid):
        gallery.dedupe_folder(folder, precision=1.0)


def test_empty_gallery_has_no_duplicates(gallery: Gallery) -> None:
    report = gallery.dedupe()
    assert (report.identities, report.same_people, report.same_faces) == (0, (), ())


def test_people_and_wrong_names_among_research_photos(
    gallery: Gallery, shared_faces: Path, tmp_path: Path
) -> None:
    """Eight people, a folder each; one photo is in the wrong one, one person is in two."""
    people = sorted(f for f in (shared_faces / "lfw").iterdir() if len(list(f.iterdir())) in (4, 5))
    drawn = np.random.default_rng(0).choice(len(people), 8, replace=False)
    root = tmp_path / "people"
    for i in drawn:
        shutil.copytree(people[i], root / people[i].name)
    first, second, third = (people[i].name for i in drawn[:3])
    wrong = sorted((root / first).iterdir())[-1]
    shutil.move(wrong, root / second / wrong.name)
    (root / "Another Name").mkdir()
    for photo in sorted((root / third).iterdir())[:2]:
        shutil.move(photo, root / "Another Name" / photo.name)
    found = gallery.dedupe_folder(root)
    names_in = [{Path(f.photo).stem[:-5] for f in group.faces} for group in found.people]
    assert all(len(names) == 1 for names in names_in), names_in
    assert found.folders_are_people
    assert [(Path(w.face.photo).name, w.identity, w.suggested) for w in found.misfiled] == [
        (wrong.name, second, first)
    ]
    assert [set(same.names) for same in found.identities] == [{third, "Another Name"}]


@pytest.mark.parametrize(("bobs", "cats"), [(3, 3), (2, 1)])
def test_one_photo_of_somebody_else_does_not_hide_that_folders_are_people(
    gallery: Gallery, shared_faces: Path, tmp_path: Path, bobs: int, cats: int
) -> None:
    several = (f for f in sorted((shared_faces / "lfw").iterdir()) if len(list(f.iterdir())) == 7)
    bob, cat = (sorted(next(several).iterdir()) for _ in range(2))
    for name, photos in (("Bob", [*bob[:bobs], cat[6]]), ("Cat", cat[:cats])):
        (tmp_path / "people" / name / "2024").mkdir(parents=True)
        for photo in photos:
            shutil.copy(photo, tmp_path / "people" / name / "2024")
    (tmp_path / "people" / "@eaDir").mkdir()
    shutil.copy(cat[5], tmp_path / "people" / "@eaDir" / "thumbnail.png")
    found = gallery.dedupe_folder(tmp_path / "people")
    assert found.folders_are_people
    assert [(Path(w.face.photo).name, w.suggested) for w in found.misfiled] == [
        (cat[6].name, "Cat")
    ]
    assert [other.path.name for other in found.left_out] == ["@eaDir"]


def test_photos_of_one_sitting_are_not_copies(
    gallery: Gallery, shared_faces: Path, tmp_path: Path
) -> None:
    root = tmp_path / "studio"
    for person in sorted((shared_faces / "orl").iterdir())[:2]:
        shutil.copytree(person, root / person.name)
    assert gallery.dedupe_folder(root).copies == ()
