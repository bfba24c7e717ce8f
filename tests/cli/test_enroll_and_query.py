"""`enroll-identity`, `query` and `compare`: answers, JSON and exit statuses."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from gallery import Gallery
from tests.cli.conftest import Run

CANDIDATE_KEYS = {
    "identity", "face_id", "photo", "similarity", "probability", "verdict", "margin",
    "years_apart",
}  # fmt: skip


@pytest.fixture
def broken(tmp_path: Path, hopper: Path) -> Path:
    file = tmp_path / "broken.jpg"
    file.write_bytes(hopper.read_bytes()[:2000])
    return file


@pytest.fixture
def mirrored(tmp_path: Path, hopper: Path) -> Path:
    file = tmp_path / "mirrored.jpg"
    with Image.open(hopper) as image:
        ImageOps.mirror(image.convert("RGB")).save(file, quality=85)
    return file


@pytest.fixture
def both(tmp_path: Path, hopper: Path, collins: Path) -> Path:
    return side_by_side(tmp_path / "both.jpg", hopper, collins)


def side_by_side(file: Path, *photos: Path) -> Path:
    images = []
    for photo in photos:
        with Image.open(photo) as image:
            images.append(image.convert("RGB").resize((400, 480)))
    sheet = Image.new("RGB", (400 * len(images), 480))
    for i, image in enumerate(images):
        sheet.paste(image, (400 * i, 0))
    sheet.save(file, quality=92)
    return file


def test_enrolled_person_is_found_and_stranger_is_not(
    run: Run, hopper: Path, collins: Path, mirrored: Path
) -> None:
    enrolled = run("enroll-identity", "Grace Hopper", hopper, "--json")
    assert enrolled.status == 0
    assert enrolled.line.keys() == {
        "photo", "outcome", "identity", "face_id", "reason", "refusal", "rivals", "notes",
        "faults",
    }  # fmt: skip
    assert enrolled.line["outcome"] == "enrolled"
    assert enrolled.line["identity"] == {"id": 1, "name": "Grace Hopper"}

    found = run("query", mirrored, "--json")
    assert found.status == 0
    answer = found.line
    assert (answer["outcome"], answer["identity"]["name"]) == ("match", "Grace Hopper")
    assert answer["photo"] == str(mirrored)
    assert 0.5 < answer["probability"] <= 1.0
    assert len(answer["face"]["box"]) == 4
    assert answer["candidates"][0].keys() == CANDIDATE_KEYS
    assert answer["candidates"][0]["verdict"] == "same"
    assert answer["decided_by"]["photo"] == str(hopper)

    stranger = run("query", collins, "--json")
    assert stranger.status == 1
    assert (stranger.line["outcome"], stranger.line["identity"]) == ("unknown", None)
    assert stranger.line["runner_up"]["identity"]["name"] == "Grace Hopper"


def test_exit_status_is_the_worst_of_all_photos(
    run: Run, hopper: Path, collins: Path, broken: Path
) -> None:
    run("enroll-identity", "Grace Hopper", hopper)
    assert run("query", hopper, hopper).status == 0
    assert run("query", hopper, collins).status == 1
    mixed = run("query", hopper, broken, collins, "--json")
    assert mixed.status == 2
    assert [line["outcome"] for line in mixed.lines] == ["match", "error", "unknown"]
    assert "broken.jpg" in mixed.lines[1]["reason"]
    shown = run("query", broken)
    assert shown.status == 2
    assert "error:" in shown.err


def test_empty_gallery_matches_nobody(
    run: Run, home: Path, hopper: Path, no_one: list[Path]
) -> None:
    Gallery.open(home).close()
    assert run("query", hopper, "--json").line["outcome"] == "unknown"
    nothing = run("query", no_one[0], "--json")
    assert (nothing.status, nothing.line["outcome"]) == (1, "no_face")


def test_enrolling_the_same_photo_again_changes_nothing(run: Run, hopper: Path) -> None:
    first = run("enroll-identity", "Grace Hopper", hopper, "--json").line
    again = run("enroll-identity", "Grace Hopper", hopper, "--json")
    assert (again.status, again.line["outcome"]) == (0, "already")
    assert again.line["face_id"] == first["face_id"]
    assert run("identities", "list", "--json").line["faces"] == 1


def test_refused_enrolment_creates_no_identity(
    run: Run, both: Path, broken: Path, no_one: list[Path]
) -> None:
    several = run("enroll-identity", "Two", both, "--json")
    assert (several.status, several.line["outcome"]) == (1, "refused")
    assert "2 faces" in several.line["reason"]
    nothing = run("enroll-identity", "Cat", no_one[0], "--json")
    assert (nothing.status, nothing.line["outcome"]) == (1, "refused")
    error = run("enroll-identity", "Broken", broken, "--json")
    assert (error.status, error.line["outcome"]) == (2, "error")
    assert error.line["identity"] is None
    assert run("identities", "list", "--json").lines == []


def test_largest_accepts_a_photo_with_several_faces(run: Run, both: Path, hopper: Path) -> None:
    taken = run("enroll-identity", "Grace Hopper", both, "--largest", "--json")
    assert (taken.status, taken.line["outcome"]) == (0, "enrolled")
    assert run("query", hopper, "--json").line["outcome"] == "match"


def test_face_of_another_identity_needs_force(run: Run, hopper: Path, mirrored: Path) -> None:
    run("enroll-identity", "Grace Hopper", hopper)
    refused = run("enroll-identity", "Someone Else", mirrored, "--json")
    assert (refused.status, refused.line["outcome"]) == (1, "refused")
    assert "Grace Hopper" in refused.line["reason"]
    assert refused.line["refusal"] == "matches_another" and "force" in refused.line["reason"]
    forced = run("enroll-identity", "Someone Else", mirrored, "--force", "--json")
    assert (forced.status, forced.line["outcome"]) == (0, "enrolled")
    assert "warning: it matches Grace Hopper" in forced.line["reason"]
    ambiguous = run("query", hopper, "--json")
    assert (ambiguous.status, ambiguous.line["outcome"]) == (1, "ambiguous")
    assert ambiguous.line["identity"] is None
    duplicates = run("dedupe", "--json").line
    assert duplicates["identities"][0]["names"] == ["Grace Hopper", "Someone Else"]
    assert [len(copies["photos"]) for copies in duplicates["copies"]] == [2]
    assert {"copies", "people", "identities", "misfiled", "skipped"} <= duplicates.keys()


def test_group_photos(run: Run, both: Path, hopper: Path, collins: Path) -> None:
    run("enroll-identity", "Grace Hopper", hopper)
    run("enroll-identity", "Eileen Collins", collins)
    assert run("query", both, "--json").line["outcome"] == "several_faces"
    everyone = run("query", both, "--all-faces", "--json")
    assert everyone.status == 0
    assert {line["identity"]["name"] for line in everyone.lines} == {
        "Grace Hopper",
        "Eileen Collins",
    }
    largest = run("query", both, "--largest", "--json")
    assert largest.line["outcome"] == "match"
    assert run("query", both, "--largest", "--all-faces").status == 2


def test_identity_matches_at_most_one_face_of_a_photo(
    run: Run, tmp_path: Path, hopper: Path
) -> None:
    run("enroll-identity", "Grace Hopper", hopper)
    twice = side_by_side(tmp_path / "twice.jpg", hopper, hopper)
    answers = run("query", twice, "--all-faces", "--json").lines
    assert sorted(a["outcome"] for a in answers) == ["match", "unknown"]
    assert any("another face in this photo" in a["reason"] for a in answers)


def test_compare_prints_one_or_zero(
    run: Run, hopper: Path, mirrored: Path, collins: Path, no_one: list[Path]
) -> None:
    same = run("compare", hopper, mirrored)
    assert (same.status, same.out[0]) == (0, "1")
    other = run("compare", hopper, collins, "--json")
    assert (other.status, other.line["same"]) == (1, 0)
    assert other.line["probability"] < 0.5
    assert run("compare", hopper, no_one[0]).status == 2


def test_folder_of_people_is_enrolled(
    run: Run, tmp_path: Path, hopper: Path, collins: Path
) -> None:
    for name, photo in (("Grace Hopper", hopper), ("Eileen Collins", collins)):
        folder = tmp_path / "people" / name
        folder.mkdir(parents=True)
        (folder / photo.name).write_bytes(photo.read_bytes())
    done = run("enroll-identity", "--from-folder", tmp_path / "people", "--json")
    assert [line["outcome"] for line in done.lines] == ["enrolled", "enrolled"]
    assert run("enroll-identity", "X", hopper, "--from-folder", tmp_path).status == 2
    assert run("enroll-identity", "X").status == 2
    assert run("enroll-identity", "--from-folder", tmp_path / "nowhere").status == 2


def test_bulk_enrolment_ends_with_what_was_not_enrolled(
    run: Run, tmp_path: Path, hopper: Path, no_one: list[Path], broken: Path
) -> None:
    people = tmp_path / "people"
    for name in ("Grace", "A\nB"):
        (people / name / "deep").mkdir(parents=True)
        shutil.copy(hopper, people / name / "deep")
    shutil.copy(no_one[0], people / "Grace" / "cat.png")
    shutil.copy(broken, people / "Grace" / "broken.jpg")
    (people / "Grace" / "1.NEF").touch()
    (people / "@eaDir").mkdir()
    (people / "@eaDir" / "1.jpg").touch()
    done = run("enroll-identity", "--from-folder", people)
    assert done.status == 2
    end = done.out.splitlines()[4:]
    assert end == [
        "refused, no face: 1",
        f"    {people}/Grace/cat.png",
        "could not be used: 2",
        f"    {people}/A\\nB",
        f"    {people}/Grace/broken.jpg",
        f"not read: 1 hidden file or folder, or one of another program ({people}/@eaDir)",
        f"not read: 1 raw file; export it as JPEG ({people}/Grace/1.NEF)",
        "1 enrolled, 1 refused, 2 errors",
    ]
    as_json = run("enroll-identity", "--from-folder", people, "--json")
    assert [line["outcome"] for line in as_json.lines] == ["error", "error", "refused", "already"]
    assert "not read: 1 raw file" in as_json.err


def test_warning_about_an_unlike_face_says_what_to_do(
    run: Run, hopper: Path, collins: Path
) -> None:
    warned = run("enroll-identity", "Grace Hopper", hopper, collins).out
    assert "does not look like the other photo of Grace Hopper" in warned
    assert "`gallery faces move 2 NAME`" in warned and "`gallery faces forget 2`" in warned
    assert run("faces", "forget", "2", "--yes").status == 0


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("a/b", "slashes"),
        ("x" * 5000, "5,000"),
        ("a\x00b", "slash"),
    ],
)
def test_invalid_name_is_refused_with_the_reason(
    run: Run, hopper: Path, name: str, complaint: str
) -> None:
    refused = run("enroll-identity", name, hopper)
    assert refused.status == 2
    assert complaint in refused.err


def test_photo_may_be_given_as_bytes(gallery: Gallery, hopper: Path) -> None:
    assert gallery.enroll("Grace Hopper", hopper.read_bytes()).outcome == "enrolled"
    turned = io.BytesIO()
    with Image.open(hopper) as image:
        image.rotate(5).save(turned, "PNG")
    decision = gallery.query(turned.getvalue())
    assert decision.identity is not None


def test_person_who_matches_another_is_enrolled_as_distinct(
    run: Run, hopper: Path, mirrored: Path
) -> None:
    run("enroll-identity", "Grace Hopper", hopper)
    refused = run("enroll-identity", "Grace Kelly", mirrored)
    assert refused.status == 1 and "--distinct" in refused.out
    enrolled = run("enroll-identity", "Grace Kelly", mirrored, "--distinct", "--json")
    assert enrolled.status == 0 and enrolled.line["outcome"] == "enrolled"
    assert [rival["name"] for rival in enrolled.line["rivals"]] == ["Grace Hopper"]
    assert "told apart from Grace Hopper" in enrolled.line["reason"]
    assert "which you marked as different people" in run("query", hopper).out
    again = run("enroll-identity", "Grace Kelly", mirrored, "--json")
    assert again.line["outcome"] == "already"


def test_answers_for_all_faces_say_what_they_mean_for_the_photo(
    run: Run, hopper: Path, both: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("enroll-identity", "Grace Hopper", hopper)
    assert "if all 2 were strangers, somebody would be named in about 2.0%" in (
        run("query", "--all-faces", both).out
    )
    one = run("query", "--all-faces", both, "--json").lines[0]
    assert one["false_positive_identification_rate"] == 0.01
    assert one["photo_false_positive_identification_rate"] == pytest.approx(0.0199)
    monkeypatch.setenv("GALLERY_PROMISE", "photo")
    one = run("query", "--all-faces", both, "--json").lines[0]
    assert one["false_positive_identification_rate"] == pytest.approx(0.005, abs=1e-4)
    assert one["photo_false_positive_identification_rate"] == pytest.approx(0.01)
