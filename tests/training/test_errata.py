"""Errata: reading the file, and correcting people, BLUFR's lists and training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gallery import Gallery
from gallery.errors import ProtocolUnusable, SettingInvalid
from gallery.evaluation import evaluate
from gallery.evaluation.protocols import Blufr, BlufrTrial, corrected_blufr
from gallery.training import train_head as training
from gallery.training.encode import EncodedPeople
from gallery.training.errata import Errata, read_errata
from tests.people import people_on_disk

HEADER = "kind,photo_or_name_a,photo_or_name_b\n"


@pytest.fixture
def people(tmp_path: Path) -> EncodedPeople:
    """Forty people with three photos each, person 00 to person 39."""
    return people_on_disk(tmp_path / "people", 40, 3, seed=4)


@pytest.fixture
def root(people: EncodedPeople) -> Path:
    return Path(people.photos[0]).parents[1]


def errata(root: Path, *rows: str) -> Errata:
    file = root.parent / "errata.csv"
    file.write_text(HEADER + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    read = read_errata([file], root)
    assert read is not None
    return read


def short(people: EncodedPeople) -> set[str]:
    return {"/".join(Path(photo).parts[-2:]) for photo in people.photos}


def test_no_file_is_no_errata(root: Path) -> None:
    assert read_errata([], root) is None


def test_each_kind_does_what_it_says(people: EncodedPeople, root: Path) -> None:
    read = errata(
        root,
        "two_names,person 00,person 01",
        "wrong_name,person 02/0.jpg,person 03",
        "wrong_name,person 02/1.jpg,",
        "same_picture,person 04/0.jpg,person 05/1.jpg",
        "doubtful,person 06/0.jpg,person 07/2.jpg",
    )
    applied = read.applied(people)
    assert short(people) - short(applied) == {
        "person 02/0.jpg",
        "person 02/1.jpg",
        "person 04/0.jpg",
        "person 05/1.jpg",
        "person 06/0.jpg",
        "person 07/2.jpg",
    }
    assert [(applied.people == number).sum() for number in range(4)] == [6, 0, 1, 3]
    assert applied.names == people.names and applied.skipped == people.skipped
    assert read.as_json()["photos_left_out"] == 6 and read.as_json()["names_joined"] == 1


def test_three_names_of_one_person_are_joined_in_any_order(
    people: EncodedPeople, root: Path
) -> None:
    read = errata(root, "two_names,person 00,person 01", "two_names,person 02,person 01")
    assert set(read.applied(people).people[:9].tolist()) == {2}
    assert len(read.applied(people)) == len(people)


def test_several_files_are_one(people: EncodedPeople, root: Path) -> None:
    files = [root.parent / "first.csv", root.parent / "second.csv"]
    files[0].write_text(HEADER + "two_names,person 00,person 01\n")
    files[1].write_text("\ufeff" + HEADER + "doubtful,person 06/0.jpg,person 07/2.jpg\n", "utf-8")
    read = read_errata(files, root)
    assert read is not None and read.as_json()["files"] == [file.name for file in files]
    assert len(read.applied(people)) == len(people) - 2
    assert len(np.unique(read.applied(people).people)) == 39


def test_person_with_a_name_in_each_part_is_left_out(people: EncodedPeople, root: Path) -> None:
    test_part = people_on_disk(root, 10, 3, seed=4)  # the folder has forty
    read = errata(root, "two_names,person 03,person 30", "two_names,person 04,person 05")
    applied = read.applied(test_part)
    assert short(test_part) - short(applied) == {f"person 03/{i}.jpg" for i in range(3)}
    assert len(np.unique(applied.people)) == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind,photo_or_name_a\n", r"line 1: no column photo_or_name_b; the first line must"),
        ("", r"line 1: no column kind, photo_or_name_a, photo_or_name_b"),
        (HEADER + "siblings,person 00,person 01\n", r"line 2: the kind 'siblings' is not one of"),
        (HEADER + "two_names,person 00,Nobody\n", r"line 2: .* has no person 'Nobody'; write"),
        (HEADER + "two_names,person 00,..\n", r"line 2: .* has no person '\.\.'"),
        (HEADER + "two_names,person 00,\n", r"line 2: .* has no person ''"),
        (HEADER + "two_names,person 00\n", r"line 2: fewer values than columns"),
        (
            HEADER + "two_names,person 00,person 01\n\ndoubtful,person 00/0.jpg,person 01/9.jpg\n",
            r"line 4: .* has no photo 'person 01/9\.jpg'; write it as NAME/FILE",
        ),
        (HEADER + "doubtful,person 00,person 01\n", r"line 2: .* has no photo 'person 00'"),
        (HEADER + "wrong_name,person 00/0.jpg,Nobody\n", r"line 2: .* has no person 'Nobody'"),
        (HEADER + '"two_names', r"cannot be read as CSV in UTF-8"),
    ],
)
def test_bad_file_is_one_error_with_its_line(root: Path, text: str, message: str) -> None:
    file = root.parent / "bad.csv"
    file.write_text(text)
    with pytest.raises(ProtocolUnusable, match=message):
        read_errata([file], root)


def test_absent_file_is_an_error(root: Path) -> None:
    with pytest.raises(ProtocolUnusable, match=r"absent\.csv cannot be read"):
        read_errata([root / "absent.csv"], root)


def test_blufr_lists_are_corrected(people: EncodedPeople, root: Path) -> None:
    """Person n has photos 3n to 3n + 2; 0 to 9 are trained on, 1 is also 11, and 12 is also 13."""
    photos = tuple("/".join(Path(photo).parts[-2:]) for photo in people.photos)
    trial = BlufrTrial(
        np.arange(30), np.array([36, 39, 42]), np.array([37, 40, 43, 46]), np.arange(30, 120)
    )
    read = errata(
        root,
        "two_names,person 11,person 01",
        "two_names,person 12,person 13",
        "wrong_name,person 14/1.jpg,person 15",
        "doubtful,person 02/0.jpg,person 16/0.jpg",
    )
    protocol = corrected_blufr(Blufr(photos, people.people, (trial,)), read)
    (lists,) = protocol.trials
    assert set(range(30)) - set(lists.training.tolist()) == {3, 4, 5, 6}
    assert lists.gallery.tolist() == [36, 39, 42]
    assert protocol.people[lists.gallery].tolist() == [12, 12, 14]
    assert lists.probes.tolist() == [37, 40, 46]
    assert set(range(30, 120)) - set(lists.testing.tolist()) == {43, 48}


def test_evaluate_promise_measures_both_ways(
    gallery: Gallery, people: EncodedPeople, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every fourth person has a second name; under it they are strangers who are matched."""
    second = np.flatnonzero(people.people % 4 == 1)
    people.probes.vectors[second] = people.probes.vectors[second - 3]
    noise = 0.01 * np.random.default_rng(0).normal(size=people.probes.vectors[second].shape)
    people.probes.vectors[second] += noise.astype(np.float32)
    people.probes.vectors[:] /= np.linalg.norm(people.probes.vectors, axis=1, keepdims=True)
    calls: list[int] = []

    def encode(*_: object, **__: object) -> EncodedPeople:
        calls.append(1)
        return people

    monkeypatch.setattr(evaluate, "encode_folder", encode)
    rows = [f"two_names,person {i:02},person {i + 1:02}" for i in range(0, 40, 4)]
    files = errata(root, *rows).files
    report = evaluate.evaluate_promise(gallery, root, errata=files)
    plain = evaluate.evaluate_promise(gallery, root)
    assert report["galleries"] == plain["galleries"] and "errata" not in plain
    assert len(calls) == 2, "encoded once for both ways"
    assert report["errata"] == {
        "files": [files[0].name],
        "photos_left_out": 0,
        "names_joined": 10,
    }
    corrected = report["with_errata"]
    assert (report["people"], corrected["people"]) == (40, 30)
    published = report["galleries"][1]["strangers_named"]
    assert published > 0.05 > corrected["galleries"][1]["strangers_named"]


def test_training_leaves_out_the_photos_and_says_so(
    gallery: Gallery, people: EncodedPeople, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "encode_folder", lambda *_, **__: people)
    read = errata(root, "two_names,person 00,person 01", "wrong_name,person 02/0.jpg,")
    out = root.parent / "head"
    report = training.train_head(gallery, root, out=out, epochs=1, errata=read.files)
    plain = training.train_head(gallery, root, out=out, epochs=1)
    faces = [
        sum(card["people"][half]["faces"] for half in ("fitted", "calibrated"))
        for card in (report.card, plain.card)
    ]
    persons = [
        sum(card["people"][half]["people"] for half in ("fitted", "calibrated"))
        for card in (report.card, plain.card)
    ]
    assert faces == [119, 120] and persons == [39, 40]
    assert report.card["source"]["errata"] == read.as_json()
    assert report.card["reproduce"].endswith(f"--errata {read.files[0].name}")
    assert "errata" not in plain.card["source"]


def test_errata_of_the_gallerys_own_faces_are_refused(gallery: Gallery, root: Path) -> None:
    with pytest.raises(SettingInvalid, match="give the PEOPLE_FOLDER"):
        training.train_head(gallery, errata=[root / "errata.csv"])
