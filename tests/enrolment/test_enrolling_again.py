"""A folder that is enrolled again: names and photos are recognised, also after changes."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from gallery import Gallery
from gallery.config import DATABASE_FILE
from gallery.demo.photos import alterations, altered
from gallery.enrolment.seen_before import same_picture
from gallery.store import recalled
from gallery.types import Box, Face, Photo, Refusal
from gallery.vision.pipeline import FacePipeline
from tests.enrolment.outcomes import faces_by_name


def saved_again(photo: Path, file: Path) -> None:
    """The same picture, smaller and compressed anew."""
    with Image.open(photo) as image:
        half = image.width // 2, image.height // 2
        image.convert("RGB").resize(half, Image.Resampling.LANCZOS).save(file, quality=80)


@pytest.fixture
def named(gallery: Gallery, people: Path) -> Path:
    """The folder, with everybody in it enrolled under the right name."""
    (people / "Bob" / "stray.png").unlink()
    list(gallery.enroll_folder(people))
    return people


def test_folder_of_a_renamed_person_is_enrolled_already(gallery: Gallery, named: Path) -> None:
    gallery.rename("Bob", "Robert")
    done = list(gallery.enroll_folder(named))
    assert {e.outcome.value for e in done} == {"already"}
    assert {e.identity.name for e in done if e.identity} == {"Robert", "Cat"}
    assert faces_by_name(gallery) == {"Cat": 3, "Robert": 3}


def test_new_photo_in_a_former_name_joins_the_identity(
    gallery: Gallery, named: Path, hopper: Path
) -> None:
    gallery.rename("Bob", "Robert")
    gallery.merge("Cat", ["Robert"])
    for photo in (named / "Bob").glob("*.jpg"):
        photo.unlink()
    (named / "Bob" / "new.jpg").write_bytes(altered(hopper, alterations()[3]))
    (done, *_) = gallery.enroll_folder(named)
    assert done.identity is not None and done.identity.name == "Cat"
    assert faces_by_name(gallery) == {"Cat": 7}


def test_somebody_else_of_a_former_name_is_a_new_identity(
    gallery: Gallery, named: Path, hopper: Path, collins: Path
) -> None:
    gallery.rename("Bob", "Robert")
    gallery.forget("Cat")
    shutil.rmtree(named / "Cat")
    for photo in (named / "Bob").glob("*.jpg"):
        photo.unlink()
    shutil.copy(collins, named / "Bob")
    list(gallery.enroll_folder(named))
    assert faces_by_name(gallery) == {"Bob": 1, "Robert": 3}


def test_undone_merge_leaves_no_former_name(gallery: Gallery, named: Path) -> None:
    gallery.rename("Bob", "Robert")
    merged = gallery.merge("Cat", ["Robert"])
    gallery.undo_merge(merged.merge_id)
    with gallery.database.reading() as session:
        of = {record.name: recalled.names(session, record.id) for record in gallery.identities()}
    assert of == {"Cat": [], "Robert": ["Bob"]}


def test_picture_saved_again_is_enrolled_already(
    gallery: Gallery, tmp_path: Path, hopper: Path, collins: Path
) -> None:
    gallery.enroll("Grace Hopper", hopper)
    gallery.enroll("Eileen Collins", collins)
    (tmp_path / "people" / "G. Hopper").mkdir(parents=True)
    saved_again(hopper, tmp_path / "people" / "G. Hopper" / "small.jpg")
    shutil.copy(hopper, tmp_path / "people" / "G. Hopper" / "same.jpg")
    done = list(gallery.enroll_folder(tmp_path / "people"))
    assert {e.reason for e in done} == {"this picture is already enrolled, as Grace Hopper"}
    assert {e.outcome.value for e in done} == {"already"}


def test_erased_face_does_not_come_back_unnoticed(gallery: Gallery, named: Path) -> None:
    _, faces = gallery.identity("Bob")
    gallery.forget_faces([faces[0].id])
    (back,) = [e for e in gallery.enroll_folder(named) if e.outcome != "already"]
    assert back.refusal is Refusal.FORGOTTEN and back.photo == faces[0].photo
    assert "warning" in gallery.enroll("Bob", Path(back.photo)).reason
    gallery.forget_faces([gallery.identity("Bob")[1][-1].id])
    (again,) = [e for e in gallery.enroll_folder(named, force=True) if e.outcome != "already"]
    assert again.outcome == "enrolled"
    assert {e.outcome.value for e in gallery.enroll_folder(named)} == {"already"}


def test_erasing_a_person_erases_what_was_recalled(gallery: Gallery, named: Path) -> None:
    gallery.rename("Bob", "Robert Q. Robertson")
    gallery.rename("Robert Q. Robertson", "Robert")
    _, faces = gallery.identity("Robert")
    gallery.forget_faces([faces[0].id])
    gallery.forget("Robert")
    gallery.close()
    content = b"".join(file.read_bytes() for file in gallery.settings.home.iterdir())
    assert b"Robertson" not in content
    with closing(sqlite3.connect(gallery.settings.home / DATABASE_FILE)) as connection:
        assert connection.execute("SELECT count(*) FROM recalled").fetchone() == (0,)


def test_near_names_of_two_enrolled_people_stay_two(gallery: Gallery, people: Path) -> None:
    (people / "Bob" / "stray.png").unlink()
    (people / "Cat").rename(people / "bob")
    list(gallery.enroll_folder(people, new=True))
    assert faces_by_name(gallery) == {"Bob": 3, "bob": 3}
    assert {e.outcome.value for e in gallery.enroll_folder(people)} == {"already"}


def test_moved_photo_is_enrolled_already(gallery: Gallery, people: Path) -> None:
    list(gallery.enroll_folder(people, force=True))
    (stray,) = [f for f in gallery.faces() if f.photo.endswith("stray.png")]
    gallery.move_face(stray.id, "Cat")
    done = list(gallery.enroll_folder(people))
    assert {e.outcome.value for e in done} == {"already"}
    (moved,) = [e for e in done if e.photo.endswith("stray.png")]
    assert moved.reason == "this photo is already enrolled, as Cat"


def test_face_is_known_by_its_place_in_the_file_whomever_it_was_moved_to(
    gallery: Gallery, people: Path
) -> None:
    list(gallery.enroll_folder(people))
    face = next(f for f in gallery.faces() if f.identity.name == "Bob")
    gallery.move_face(face.id, "Cat")  # whose other faces are unlike it, so that nobody matches
    known = partial(same_picture, gallery.database, picture_hash=None, candidates=[])
    found = known(face.photo_sha256, replace(face.box, left=face.box.left + 3))
    assert found is not None, (face.box, gallery.faces())
    assert (found.id, found.identity.name) == (face.id, "Cat")
    beside = Box(face.box.right, face.box.top, face.box.right + face.box.width, face.box.bottom)
    assert known(face.photo_sha256, beside) is None and known("0" * 64, face.box) is None


def test_new_does_not_follow_a_former_name(gallery: Gallery, people: Path, collins: Path) -> None:
    list(gallery.enroll_folder(people))
    gallery.rename("Bob", "Robert")
    (note,) = {n for e in gallery.enroll_folder(people) for n in e.notes}
    assert note == "'Bob' is a former name of 'Robert'; use new if it is another person"
    list(gallery.enroll_folder(people, new=True, force=True))
    assert faces_by_name(gallery)["Bob"] == 4


def test_group_photo_alone_follows_a_former_name(
    gallery: Gallery, named: Path, together: Path
) -> None:
    gallery.rename("Bob", "Robert")
    for photo in (named / "Bob").glob("*.*"):
        photo.unlink()
    shutil.copy(together, named / "Bob")
    done = {e.photo: e for e in gallery.enroll_folder(named)}
    assert faces_by_name(gallery) == {"Cat": 3, "Robert": 4}
    assert done[str(named / "Bob" / together.name)].identity == gallery.identity("Robert")[0].ref


def test_two_shots_of_a_scene_are_two_pictures(gallery: Gallery, people: Path) -> None:
    """Unlike copies, they differ in more than compression: here, in a bright corner."""
    list(gallery.enroll_folder(people))
    for photo in (people / "Bob").glob("0.jpg"):
        with Image.open(photo) as image:
            other = image.convert("RGB")
        width, height = other.size
        other.paste((250, 250, 250), (0, 0, width // 5, height // 2))
        other.paste((5, 5, 5), (width - width // 5, height // 2, width, height))
        other.save(people / "Bob" / "next.png")
    list(gallery.enroll_folder(people))
    assert faces_by_name(gallery) == {"Bob": 4, "Cat": 3}


def test_photo_without_a_face_is_not_searched_twice(
    gallery: Gallery, people: Path, no_one: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(no_one[0], people / "Cat" / "none.png")
    list(gallery.enroll_folder(people))
    searched: list[str] = []
    find = type(gallery.pipeline).faces

    def counted(pipeline: FacePipeline, photo: Photo) -> list[Face]:
        searched.append(photo.source)
        return find(pipeline, photo)

    monkeypatch.setattr(type(gallery.pipeline), "faces", counted)
    done = list(gallery.enroll_folder(people))
    (refused,) = [e for e in done if e.photo.endswith("none.png")]
    assert refused.refusal is Refusal.NO_FACE and searched == []
