"""A folder of people is judged as a whole: one odd name, photo or file keeps nobody else out."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from gallery import Gallery
from gallery.errors import FolderForgotten, NoPeople, PhotoUnreadable, SettingInvalid
from gallery.store import photo_cache
from gallery.types import Refusal
from gallery.vision.folder import LeftOut, Why
from tests.enrolment.outcomes import faces_by_name, outcomes


def test_misfiled_photo_is_held_back_and_keeps_nobody_out(gallery: Gallery, people: Path) -> None:
    enrolments = list(gallery.enroll_folder(people))
    assert faces_by_name(gallery) == {"Bob": 3, "Cat": 3}
    (held_back,) = [e for e in enrolments if e.refusal is not None]
    assert Path(held_back.photo).name == "stray.png" and held_back.refusal is Refusal.MISFILED
    assert held_back.reason.startswith("it looks like Cat, not Bob")


def test_force_enrols_a_misfiled_photo(gallery: Gallery, people: Path) -> None:
    list(gallery.enroll_folder(people, force=True))
    assert faces_by_name(gallery) == {"Bob": 4, "Cat": 3}


def test_misfiled_photo_is_held_back_from_people_enrolled_before(
    gallery: Gallery, people: Path
) -> None:
    shutil.move(people / "Bob" / "stray.png", people / "later.png")
    list(gallery.enroll_folder(people))
    shutil.move(people / "later.png", people / "Bob" / "stray.png")
    done = list(gallery.enroll_folder(people))
    assert outcomes(done)["stray.png"] == "refused"
    assert {e.outcome.value for e in done} == {"already", "refused"}


def test_face_unlike_its_namesakes_refuses_nobody(
    gallery: Gallery, people: Path, collins: Path
) -> None:
    for i in range(3):
        gallery.enroll("Bob", people / "Bob" / f"{i}.jpg")
    odd = gallery.enroll("Bob", collins)
    assert odd.unlike
    for i in range(3):
        enrolled = gallery.enroll("Cat", people / "Cat" / "2024" / f"{i}.jpg")
        assert enrolled.outcome == "enrolled", enrolled.reason
    wrong = gallery.enroll("Cat", people / "Bob" / "0.jpg")  # Bob's others still count
    assert wrong.refusal is Refusal.MATCHES_ANOTHER


def test_of_several_faces_the_one_in_the_other_photos_is_taken(
    gallery: Gallery, people: Path, hopper: Path, collins: Path
) -> None:
    (people / "Bob" / "stray.png").unlink()
    sheet = Image.new("RGB", (800, 480))
    for x, photo in ((0, collins), (400, hopper)):
        with Image.open(photo) as image:
            sheet.paste(image.convert("RGB").resize((400, 480)), (x, 0))
    for name in ("Bob", "Eve"):
        (people / name).mkdir(exist_ok=True)
        sheet.save(people / name / "both.png")
    done = list(gallery.enroll_folder(people))
    assert faces_by_name(gallery) == {"Bob": 4, "Cat": 3}
    _, faces = gallery.identity("Bob")
    (both,) = [face for face in faces if face.photo.endswith("both.png")]
    assert both.box.centre[0] > 400  # Hopper, on the right
    (refused,) = [e for e in done if e.refusal is not None]
    assert refused.photo.endswith("Eve/both.png") and refused.refusal is Refusal.SEVERAL_FACES


def test_odd_names_stop_nobody(gallery: Gallery, people: Path, hopper: Path) -> None:
    for name in (b"A\nB", b"J\xf6rg"):
        folder = os.fsencode(people) + b"/" + name
        os.mkdir(folder)
        shutil.copy(os.fsencode(hopper), folder + b"/x.jpg")
    done = list(gallery.enroll_folder(people))
    errors = [e.reason for e in done if e.outcome == "error"]
    assert errors[0].startswith(r"the name 'A\nB' has '\n'")
    assert errors[1] == r"the name 'J\udcf6rg' is not valid UTF-8; rename the folder"
    assert faces_by_name(gallery) == {"Bob": 3, "Cat": 3}


def test_what_was_not_looked_at_is_reported(gallery: Gallery, people: Path) -> None:
    for name in ("loose.jpg", "Cat/raw.CR2", "Cat/notes.txt", "@eaDir/x.jpg", "Cat/Thumbs.db"):
        (people / name).parent.mkdir(exist_ok=True)
        (people / name).touch()
    (people / "Nobody").mkdir()
    left_out: list[LeftOut] = []
    list(gallery.enroll_folder(people, left_out=left_out))
    assert {(other.path.name, other.why) for other in left_out} == {
        ("loose.jpg", Why.LOOSE),
        ("raw.CR2", Why.RAW),
        ("notes.txt", Why.NO_PHOTO),
        ("@eaDir", Why.CLUTTER),
        ("Thumbs.db", Why.CLUTTER),
        ("Nobody", Why.EMPTY),
    }


def test_interrupted_enrolment_goes_on_with_what_was_read(gallery: Gallery, people: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(_step: str, done: int, _total: int) -> None:
        if done == 4:
            raise Stopped

    with pytest.raises(Stopped):
        list(gallery.enroll_folder(people, progress=stop))
    assert gallery.identities() == []
    steps: list[int] = []
    list(gallery.enroll_folder(people, progress=lambda _step, done, _total: steps.append(done)))
    assert steps[0] == 4
    assert faces_by_name(gallery) == {"Bob": 3, "Cat": 3}


def test_erasing_a_person_erases_what_was_read(gallery: Gallery, people: Path) -> None:
    list(gallery.enroll_folder(people))
    gallery.forget("Cat")
    with gallery.database.reading() as session:
        assert photo_cache.count(session) == 0


def test_folder_without_people_is_refused(gallery: Gallery, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoPeople):
        list(gallery.enroll_folder(tmp_path / "empty"))
    with pytest.raises(PhotoUnreadable):
        list(gallery.enroll_folder(tmp_path / "nowhere"))


# The same folder again


def test_folders_of_near_names_are_one_person(gallery: Gallery, people: Path) -> None:
    shutil.move(people / "Bob" / "stray.png", people / "Cat")
    shutil.copytree(people / "Bob", people / "BOB")
    for photo in (people / "BOB").glob("?.jpg"):
        photo.rename(photo.with_name(f"again{photo.name}"))
    done = list(gallery.enroll_folder(people))
    assert faces_by_name(gallery) == {"BOB": 3, "Cat": 4}
    assert [e.notes for e in done if e.notes] == [
        ("'Bob' is taken to be 'BOB'; use new if it is another person",)
    ] * 3
    assert [e.outcome.value for e in done if Path(e.photo).parent.name == "Bob"] == ["already"] * 3


def test_folder_of_a_near_name_is_judged_with_the_enrolled_person(
    gallery: Gallery, people: Path, hopper: Path
) -> None:
    gallery.enroll("Björn", hopper)
    (people / "Bob").rename(people / "bjorn")
    done = list(gallery.enroll_folder(people))
    assert faces_by_name(gallery) == {"Björn": 4, "Cat": 3}
    assert [e.refusal for e in done if e.refusal is not None] == [Refusal.MISFILED]


def test_folder_whose_name_may_be_two_peoples_is_refused(
    gallery: Gallery, people: Path, hopper: Path, collins: Path
) -> None:
    gallery.enroll("BOB", hopper)
    gallery.enroll("bob", collins, new=True)
    shutil.move(people / "Bob" / "stray.png", people)
    done = list(gallery.enroll_folder(people))
    of_bob = [e.refusal for e in done if Path(e.photo).is_relative_to(people / "Bob")]
    assert of_bob == [Refusal.NAME_AMBIGUOUS] * 3
    list(gallery.enroll_folder(people, new=True, force=True))
    assert faces_by_name(gallery)["Bob"] == 3


def test_link_is_judged_as_the_photo_that_it_leads_to(gallery: Gallery, people: Path) -> None:
    (people / "Bob" / "stray.png").unlink()
    (people / "Bob" / "link.jpg").symlink_to(people / "Cat" / "2024" / "0.jpg")
    done = list(gallery.enroll_folder(people))
    assert faces_by_name(gallery) == {"Bob": 3, "Cat": 3}
    assert [Path(e.photo).name for e in done if e.refusal is Refusal.MISFILED] == ["link.jpg"]


def test_distinct_does_not_enrol_a_misfiled_photo(gallery: Gallery, people: Path) -> None:
    done = list(gallery.enroll_folder(people, distinct=True))
    assert [e.refusal for e in done if e.refusal is not None] == [Refusal.MISFILED]
    assert faces_by_name(gallery) == {"Bob": 3, "Cat": 3}


def test_wrong_option_is_refused_at_once(gallery: Gallery, people: Path) -> None:
    with pytest.raises(SettingInvalid, match="several is 'most'"):
        gallery.enroll_folder(people, several="most")


def test_person_erased_while_photos_are_read_stops_the_enrolment(
    gallery: Gallery, people: Path, hopper: Path
) -> None:
    gallery.enroll("Zed", hopper)

    def erase(step: str, done: int, _total: int) -> None:
        if step == "reading photos" and done == 3:
            gallery.forget("Zed")

    with pytest.raises(FolderForgotten, match="run it again"):
        list(gallery.enroll_folder(people, progress=erase))
    assert gallery.identities() == []
    list(gallery.enroll_folder(people))
    assert faces_by_name(gallery) == {"Bob": 3, "Cat": 3}
