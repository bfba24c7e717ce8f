"""Dates of photos at the command line: enrolled, shown, corrected, compared with a query's."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from gallery.gallery import Gallery
from tests.cli.conftest import Run


@pytest.fixture
def dated(tmp_path: Path, hopper: Path) -> Path:
    """Grace Hopper, mirrored, with an EXIF date."""
    file = tmp_path / "dated.jpg"
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "1984:01:26 09:00:00"
    with Image.open(hopper) as image:
        ImageOps.mirror(image.convert("RGB")).save(file, quality=90, exif=exif)
    return file


def test_enrolled_photos_have_dates(run: Run, hopper: Path, dated: Path, tmp_path: Path) -> None:
    run("enroll-identity", "Grace Hopper", dated)
    run("enroll-identity", "Grace Hopper", hopper)
    shown = run("identities", "show", "Grace Hopper")
    assert "    photos taken 1984; 1 without a date\n" in shown.out
    assert shown.out.count(", taken ") == 1 and ", taken 1984-01-26\n" in shown.out
    identity = run("identities", "show", "Grace Hopper", "--json").line
    assert [face["taken"] for face in identity["enrolled"]] == ["1984-01-26", None]
    assert (identity["years"], identity["undated"]) == ([[1984, 1984]], 1)

    corrected = run("faces", "date", "2", "1943-12")
    assert corrected.out == "the photo of face 2 (Grace Hopper) is dated 1943-12\n"
    assert "    photos taken 1943, 1984\n" in run("identities", "show", "Grace Hopper").out
    assert run("faces", "date", "2", "", "--json").line["taken"] is None
    run("faces", "date", "1", "")
    assert "taken" not in run("identities", "show", "Grace Hopper").out

    run("faces", "date", "1", "1984")
    run("export", tmp_path / "faces.csv")
    with (tmp_path / "faces.csv").open() as file:
        assert [row["taken"] for row in csv.DictReader(file)] == ["1984", ""]
    run("export", tmp_path / "faces.npz")
    assert run("import", tmp_path / "faces.npz", at=tmp_path / "other").status == 0
    other = run("identities", "show", "Grace Hopper", "--json", at=tmp_path / "other").line
    assert [face["taken"] for face in other["enrolled"]] == ["1984", None]


def test_given_date_goes_before_the_exif_date(run: Run, dated: Path, collins: Path) -> None:
    run("enroll-identity", "Grace Hopper", dated, "--taken", "1983")
    run("enroll-identity", "Eileen Collins", collins, "--taken", "1998-07-14")
    enrolled = [
        run("identities", "show", name, "--json").line["enrolled"][0]["taken"]
        for name in ("Grace Hopper", "Eileen Collins")
    ]
    assert enrolled == ["1983", "1998-07-14"]
    again = run("enroll-identity", "Grace Hopper", dated, "--taken", "1985", "--json").line
    assert again["outcome"] == "already"
    assert again["reason"].endswith(", its date neither: `gallery faces date 1 1985` sets it")


@pytest.mark.parametrize("command", [("enroll-identity", "Ada"), ("query",)])
@pytest.mark.parametrize("date", ["soon", "98", "1998-13", "2999", ""])
def test_wrong_date_is_one_clear_error(
    run: Run, home: Path, hopper: Path, command: tuple[str, ...], date: str
) -> None:
    Gallery.open(home).close()
    ran = run(*command, hopper, "--taken", date)
    assert ran.status == 2 and ran.out == ""
    *_, error = ran.err.splitlines()  # after the advice on encoders, if any
    assert error.startswith("error: ") and "1998-07-14" in error
    assert run("identities", "list", "--json").lines == []


def test_wrong_face_or_date_is_refused(two: Run) -> None:
    missing = two("faces", "date", "9", "1998")
    assert missing.status == 2
    assert missing.err == "error: no face 9; `gallery identities show NAME` lists them\n"
    assert "write a year" in two("faces", "date", "1", "July 1998").err


def test_query_names_the_years_to_the_nearest_photo(
    two: Run, hopper: Path, collins: Path, dated: Path
) -> None:
    two("faces", "date", "1", "1960")
    match = two("query", dated, "--json").line  # by its EXIF date, 1984-01-26
    assert (match["outcome"], match["identity"]["name"]) == ("match", "Grace Hopper")
    assert match["decided_by"]["years_apart"] == 23.6
    assert match["runner_up"]["years_apart"] is None
    assert match["reason"] == (
        f"only Grace Hopper matches, by {hopper};"
        " the photo nearest in time was taken 24 years before this one"
    )
    explained = two("query", dated, "--explain").out
    assert f"(face 1, {hopper}); nearest date 24 years away\n" in explained
    assert f"(face 2, {collins})\n" in explained
    near = two("query", dated, "--taken", "1958", "--json").line
    assert near["decided_by"]["years_apart"] == 2.0
    assert near["reason"] == f"only Grace Hopper matches, by {hopper}"
    undated = two("query", hopper, "--json").line
    assert [c["years_apart"] for c in undated["candidates"]] == [None, None]
    assert near["probability"] == match["probability"] and near["outcome"] == "match"


def test_stranger_near_a_child_is_told_what_to_add(run: Run, hopper: Path, collins: Path) -> None:
    run("enroll-identity", "Eileen Collins", collins, "--taken", "1999")
    unknown = run("query", hopper, "--taken", "2011-06", "--all-faces")
    assert unknown.status == 1
    assert unknown.out.endswith(
        "unknown; no identity matches; the nearest is Eileen Collins, whose photo nearest in time"
        " was taken 12 years before this one: if it is them, add one nearer to this age\n"
    )
