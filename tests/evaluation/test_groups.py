"""Groups: reading the file, measuring each group, and making groups from encodings or photos."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gallery import Gallery
from gallery.errors import ProtocolUnusable, TrainingDataTooSmall
from gallery.evaluation import evaluate
from gallery.evaluation.evaluate import evaluate_promise, make_groups
from gallery.evaluation.groups import NO_GROUP, group_rows, read_groups, sentences
from gallery.evaluation.make_groups import cluster_groups, condition_groups
from gallery.training.dataset import people_in
from gallery.training.encode import EncodedPeople
from gallery.training.identification import TopCandidates
from tests.people import people_on_disk

HEADER = "person,group\n"


@pytest.fixture
def people(tmp_path: Path) -> EncodedPeople:
    """Sixty people with three photos each; twenty of them, from person 20 on, are alike."""
    drawn = people_on_disk(tmp_path / "people", 60, 3, seed=4)
    vectors = drawn.probes.vectors.astype(np.float64)
    alike = (drawn.people >= 20) & (drawn.people < 40)
    vectors[alike] += 3 * vectors[alike].mean(axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    faces = replace(drawn.probes, vectors=vectors.astype(np.float32))
    return replace(drawn, probes=faces, enrolled=faces)


@pytest.fixture
def root(people: EncodedPeople) -> Path:
    return Path(people.photos[0]).parents[1]


@pytest.fixture
def file(root: Path) -> Path:
    """The people who are alike are "twins", the first twenty "others", the last have no group."""
    rows = [f"person {i:02},{'twins' if i >= 20 else 'others'}\n" for i in range(40)]
    file = root.parent / "groups.csv"
    file.write_text(HEADER + "".join(rows))
    return file


def queries(
    people: list[int], known: list[int], right: list[int], matched: list[int]
) -> tuple[TopCandidates, np.ndarray]:
    flags = (np.array(flag, dtype=np.bool_) for flag in (known, right, matched))
    is_known, is_right, matches = flags
    return TopCandidates(np.array(people), is_known, is_right, np.zeros(len(people))), matches


def test_rows_count_what_happened_to_each_group() -> None:
    groups = ("b", "b", "b", NO_GROUP, "a")
    first = queries([0, 0, 0, 1, 2, 3], [1, 1, 1, 0, 0, 1], [1, 1, 0, 0, 0, 0], [1, 0, 1, 1, 0, 1])
    second = queries([0, 1], [0, 1], [0, 1], [0, 1])
    row, none = group_rows(groups, [first, second], 2, 0.01, seed=0)
    assert (row["group"], none["group"]) == ("b", NO_GROUP)  # nobody of "a" was a query
    assert (row["people"], row["known"], row["known_people"]) == (3, 4, 2)
    assert (row["strangers"], row["stranger_people"]) == (3, 3)
    assert row["known_found"] == 2 / 4 and row["known_misnamed"] == 1 / 4
    assert row["strangers_named"] == 1 / 3
    assert (none["known_found"], none["known_misnamed"]) == (0.0, 1.0)
    assert none["strangers_named"] is None and none["strangers_named_interval"] == [0.0, 1.0]
    assert not none["above_promised"]


def test_sentence_needs_a_lower_bound_above_the_rate_and_enough_people() -> None:
    def row(people: int, hits: int, rate: float) -> dict[str, object]:
        owners = np.repeat(np.arange(people), 2).tolist()
        matched = [1] * hits + [0] * (2 * people - hits)
        zeros = [0] * (2 * people)
        gallery = queries(owners, zeros, zeros, matched)
        return group_rows(("x",) * people, [gallery], 1_000, rate, seed=0)[0]

    often = row(100, 30, 0.05)
    assert sentences([often]) == [
        "strangers of x are named 15.0 % of the time, 3.0 times the stated rate, in a gallery of"
        " 1,000"
    ]
    assert sentences([row(100, 30, 0.12), row(100, 2, 0.009), row(4, 8, 0.01)]) == []
    assert len(sentences([row(5, 10, 0.01)])) == 1


def test_alike_people_are_named_too_often_and_the_report_says_so(
    gallery: Gallery, people: EncodedPeople, root: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "encode_folder", lambda *_, **__: people)
    plain = evaluate_promise(gallery, root)
    report = evaluate_promise(gallery, root, groups=file)
    groups = report.pop("groups")
    assert report == plain, "groups change no other figure"
    assert groups["promised"] == 0.01 and groups["file"] == file.name
    rows = {row["group"]: row for row in groups["rows"]}
    assert list(rows) == ["others", "twins", NO_GROUP]
    assert {row["gallery"] for row in groups["rows"]} == {10}
    assert all(row["people"] == 20 for row in rows.values())
    assert rows["twins"]["strangers_named"] > 0.1 > rows["others"]["strangers_named"]
    assert len(groups["sentences"]) == 1
    assert groups["sentences"][0].startswith("strangers of twins are named ")
    overall = next(row for row in report["galleries"] if row["promised"] == 0.01)
    for figure, count in (("known_found", "known"), ("strangers_named", "strangers")):
        total = sum(row[figure] * row[count] for row in rows.values())
        assert total / sum(row[count] for row in rows.values()) == pytest.approx(overall[figure])


def test_the_settings_rate_is_measured(
    gallery: Gallery,
    cache: Path,
    people: EncodedPeople,
    root: Path,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluate, "encode_folder", lambda *_, **__: people)

    def twins_named(opened: Gallery) -> float:
        groups = evaluate_promise(opened, root, groups=file)["groups"]
        assert groups["promised"] == opened.settings.false_positive_identification_rate
        (share,) = [r["strangers_named"] for r in groups["rows"] if r["group"] == "twins"]
        return float(share)

    rate = {"false_positive_identification_rate": 0.05}
    with Gallery.open(root.parent / "other", cache=cache, threads=1, **rate) as generous:
        assert twins_named(generous) > twins_named(gallery)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("person\n", r"line 1: no column group; the first line must name the columns"),
        (HEADER + "person 00,a\nNobody,a\n", r"line 3: .* has no person 'Nobody'"),
        (HEADER + "person 00,\n", r"line 2: no group for 'person 00'; write one"),
        (HEADER + "person 00,a\nperson 00,a\n", r"line 3: 'person 00' is listed twice"),
    ],
)
def test_bad_file_is_one_error_with_its_line(root: Path, text: str, message: str) -> None:
    file = root.parent / "bad.csv"
    file.write_text(text)
    with pytest.raises(ProtocolUnusable, match=message):
        read_groups(file, root)


def test_clusters_of_encodings_are_files_of_groups(
    gallery: Gallery, people: EncodedPeople, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "encode_folder", lambda *_, **__: people)
    out = root.parent / "made" / "clusters.csv"
    report = make_groups(gallery, root, out, clusters=2)
    read = read_groups(out, root)
    assert read is not None and len(read.by_name) == 60
    twins = {read.by_name[f"person {i:02}"] for i in range(20, 40)}
    assert twins == {"cluster 2"}, "the smaller cluster"
    assert Counter(read.by_name.values()) == report["groups"]
    assert report["groups"]["cluster 2"] == 20 and report["without_a_group"] == 0
    assert cluster_groups(people, 2, seed=0) == read.by_name


def test_more_clusters_than_people_are_refused(people: EncodedPeople) -> None:
    with pytest.raises(TrainingDataTooSmall, match=r"60 people .* fewer than 61 clusters; ask"):
        cluster_groups(people, 61, seed=0)


def test_conditions_are_read_from_the_middle_of_the_photos(
    tmp_path: Path, gallery: Gallery
) -> None:
    def save(name: str, *colours: tuple[int, int, int]) -> None:
        (tmp_path / "people" / name).mkdir(parents=True)
        for number, colour in enumerate(colours):
            photo = Image.new("RGB", (64, 64), (255, 255, 255))  # a bright border does not count
            photo.paste(colour, (16, 16, 48, 48))
            photo.save(tmp_path / "people" / name / f"{number}.png")

    save("Ada", (60, 20, 10), (70, 30, 20), (250, 240, 220))
    save("Bea", (130, 120, 90))
    save("Cid", (250, 240, 200))
    save("Dan", (90, 90, 91), (200, 200, 200), (250, 100, 50))
    (tmp_path / "people" / "Eve").mkdir()
    (tmp_path / "people" / "Eve" / "broken.jpg").write_bytes(b"no photo")
    folder = people_in(tmp_path / "people")
    assert condition_groups(folder, gallery.pipeline) == {
        "Ada": "dark",
        "Bea": "medium",
        "Cid": "bright",
        "Dan": "grey",
    }
    report = make_groups(gallery, tmp_path / "people", tmp_path / "out.csv")
    assert report["without_a_group"] == 1 and report["groups"]["grey"] == 1
