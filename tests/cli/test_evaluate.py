"""`calibrate` and `evaluate folder` as commands, on real photos."""

from __future__ import annotations

import shutil
from itertools import islice
from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.fixture
def people(shared_faces: Path, tmp_path: Path) -> Path:
    """Eight people with three photos each; one photo is mislabelled."""
    root = tmp_path / "people"
    everyone = (
        (folder, sorted(folder.iterdir())) for folder in sorted((shared_faces / "lfw").iterdir())
    )
    several = [(folder, photos) for folder, photos in everyone if len(photos) in (3, 4)]
    for person, photos in several[:8]:
        (root / person.name).mkdir(parents=True)
        for photo in photos[:3]:
            shutil.copy(photo, root / person.name)
    first, second = sorted(root.iterdir())[:2]
    wrong = sorted(second.iterdir())[0]
    wrong.rename(first / f"wrong{wrong.suffix}")
    return root


def test_folder_page_shows_the_mislabelled_photo(
    run: Run, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GALLERY_CACHE", str(tmp_path / "cache"))
    page = tmp_path / "page.html"
    (people / "Thumbs.db").write_bytes(b"")
    deeper = sorted(people.iterdir())[0] / "2024"
    deeper.mkdir()
    shutil.copy(next(people.glob("*/wrong.*")), deeper)
    ran = run("evaluate", "folder", people, "--page", page, "--json")
    assert "not read: 1 hidden file or folder, or one of another program" in ran.err
    assert "not read: 1 photo in a folder inside a person's folder" in ran.err
    report = ran.line
    shown = [m["photo"] for kind in report["mistakes"].values() for m in kind]
    assert any(Path(photo).stem == "wrong" for photo in shown)
    assert {"euclidean", "cosine", "head"} == set(report["comparison"]["deciders"])
    text = page.read_text(encoding="utf-8")
    assert "wrong" in text and text.count("<svg") == 4 and "http://" not in text.split("<svg")[0]
    assert "data:image/jpeg;base64," in text


def test_folder_of_one_person_is_refused(run: Run, people: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copytree(sorted(people.iterdir())[2], alone / "Ada")
    ran = run("evaluate", "folder", alone, "--page", tmp_path / "page.html")
    assert ran.status == 2 and "1 people with a face" in ran.err
    assert not (tmp_path / "page.html").exists()


def test_errata_and_groups_of_real_photos(run: Run, people: Path, tmp_path: Path) -> None:
    first, *others = sorted(folder.name for folder in people.iterdir())
    errata, groups, page = (tmp_path / name for name in ("errata.csv", "groups.csv", "page.html"))
    (wrong,) = (people / first).glob("wrong.*")
    errata.write_text(
        f"kind,photo_or_name_a,photo_or_name_b\nwrong_name,{first}/{wrong.name},{others[0]}\n"
    )
    made = run("evaluate", "groups", people, groups, "--by", "conditions", "--json").line
    assert made["people"] == 8 and sum(made["groups"].values()) == 8

    promise = ("evaluate", "promise", people, "--errata", errata, "--groups", groups)
    report = run(*promise, "--json").line
    corrected = report["with_errata"]
    assert report["errata"]["photos_left_out"] == 1
    assert {row["group"] for row in report["groups"]["rows"]} == set(made["groups"])
    found = [max(row["known_found"] for row in r["galleries"]) for r in (report, corrected)]
    assert found[1] > found[0], "the photo under a wrong name was not found"
    printed = run(*promise).out
    order = ["labels as published", "by group", "errata applied", "by group"]
    places = [printed.index(order[0])]
    for text in order[1:]:
        places.append(printed.index(text, places[-1] + 1))
    assert f"({errata.name}): 1 photo to leave out, 0 names to join with another" in printed

    dedupe = run("evaluate", "dedupe", people, "--errata", errata, "--json").line
    assert dedupe["test"][0]["faces"] - dedupe["with_errata"]["test"][0]["faces"] == 1
    report = run("evaluate", "folder", people, "--page", page, "--groups", groups, "--json").line
    text = page.read_text(encoding="utf-8")
    assert "<h2>By group</h2>" in text
    assert all(f"<td>{group}</td>" in text for group in made["groups"])
    assert {row["gallery"] for row in report["promise"]["groups"]["rows"]} == {4}


def test_bad_errata_and_groups_are_refused_before_encoding(
    run: Run, people: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("kind,photo_or_name_a,photo_or_name_b\ntwins,Ada,Bea\n")
    commands = (
        ("evaluate", "promise", people, "--errata", bad),
        ("evaluate", "dedupe", people, "--errata", bad),
        ("train-head", people, "--errata", bad),
    )
    for command in commands:
        ran = run(*command)
        assert ran.status == 2 and "line 2: the kind 'twins' is not one of" in ran.err
    for command in (("promise", people), ("folder", people, "--page", tmp_path / "page.html")):
        ran = run("evaluate", *command, "--groups", bad)
        assert ran.status == 2 and "line 1: no column person, group" in ran.err
    ran = run("train-head", "--errata", bad)
    assert ran.status == 2 and "give the PEOPLE_FOLDER" in ran.err
    assert not (tmp_path / "page.html").exists()


def test_too_few_strangers_are_refused_with_how_many_more(run: Run, people: Path) -> None:
    run("enroll-identity", "--from-folder", people, "--force")
    ran = run("calibrate", "--strangers", people)
    assert ran.status == 2 and " more are needed; " in ran.err


def test_calibrate_takes_exactly_one_option(run: Run) -> None:
    assert "give one of --strangers DIR" in run("calibrate").err
    assert "give one of --strangers DIR" in run("calibrate", "--list", "--use", "1").err


def test_heads_own_point_is_in_use_without_calibrations(run: Run) -> None:
    assert "0  the head's own operating point  in use" in run("calibrate", "--list").out
    assert run("calibrate", "--use", "0").status == 0
    ran = run("calibrate", "--use", "3")
    assert ran.status == 2 and "available: none" in ran.err


@pytest.fixture
def parted_people(shared_faces: Path, tmp_path: Path) -> Path:
    """48 people to train on and 12 to test, two photos of each; split.csv is inside."""
    root = tmp_path / "parted"
    folders = (f for f in sorted((shared_faces / "lfw").iterdir()) if len(list(f.iterdir())) == 2)
    lines = ["person,split"]
    for number, folder in enumerate(islice(folders, 60)):
        shutil.copytree(folder, root / folder.name)
        lines.append(f"{folder.name},{'test' if number % 5 == 0 else 'train'}")
    (root / "split.csv").write_text("\n".join(lines) + "\n")
    return root


def test_errata_correct_both_parts_of_a_split(
    run: Run, parted_people: Path, tmp_path: Path
) -> None:
    """A wrong name among the train people, one among the test people."""
    names = sorted(folder.name for folder in parted_people.iterdir() if folder.is_dir())
    errata, plots = tmp_path / "errata.csv", tmp_path / "plots"
    wrong = [next((parted_people / names[i]).iterdir()) for i in (0, 1)]
    rows = [f"wrong_name,{photo.relative_to(parted_people).as_posix()}," for photo in wrong]
    errata.write_text("\n".join(["kind,photo_or_name_a,photo_or_name_b", *rows]) + "\n")
    given = ("--errata", errata, "--json")
    compared = run("evaluate", "compare", "--lfw", parted_people, "--plots", plots, *given).line
    assert compared["errata"]["photos_left_out"] == 2
    assert compared["with_errata"]["deciders"].keys() == compared["deciders"].keys()
    published, corrected = (
        {file.name for file in folder.glob("*.png")} for folder in (plots, plots / "with_errata")
    )
    assert published == corrected != set()
    few = run("evaluate", "dedupe", "--fit", tmp_path / "fit.json", parted_people, *given)
    assert few.status == 2 and "add photos of more people" in few.err
    grouped = run("evaluate", "dedupe", parted_people, *given).line
    assert grouped["test"][0]["faces"] - grouped["with_errata"]["test"][0]["faces"] == 1
