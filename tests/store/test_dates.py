"""The dates of photos go where their faces go, and are erased with them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from gallery.admin.backup import restore
from gallery.errors import DateInvalid, FaceNotFound
from gallery.gallery import Gallery
from gallery.store import corrections, encoders, faces, identities, reencoding
from gallery.store.database import Database
from gallery.store.records import NewFace
from gallery.types import Box, Encodings, Face, Photo
from tests.conftest import AddFace, UnitRows


def dates(gallery: Gallery) -> dict[int, str | None]:
    return {face.id: face.taken for face in gallery.faces()}


@pytest.fixture
def two(gallery: Gallery, add_face: AddFace, unit_rows: UnitRows) -> Gallery:
    """Ada has faces 1 and 2, the Countess faces 3, of the same photo as 2, and 4."""
    rows = unit_rows(4, 3)
    for i, (name, photo) in enumerate([("Ada", 1), ("Ada", 2), ("Countess", 2), ("Countess", 3)]):
        add_face(gallery.database, name, rows.row(i), photo)
    return gallery


def test_date_is_set_corrected_and_removed(two: Gallery) -> None:
    assert set(dates(two).values()) == {None}
    assert two.set_taken(1, "1998").taken == "1998"
    assert two.set_taken(1, "1998-07").taken == "1998-07"
    assert dates(two) == {1: "1998-07", 2: None, 3: None, 4: None}
    assert two.set_taken(1, None).taken is None
    with pytest.raises(DateInvalid, match="'soon'"):
        two.set_taken(1, "soon")
    with pytest.raises(FaceNotFound, match="no face 9"):
        two.set_taken(9, "1998")


def test_dates_of_identities(two: Gallery) -> None:
    two.set_taken(1, "1998")
    two.set_taken(4, "2004-07-14")
    with two.database.reading() as session:
        assert faces.dates_of(session, [1, 2]) == {1: ["1998"], 2: ["2004-07-14"]}
        assert faces.dates_of(session, [2]) == {2: ["2004-07-14"]}
        assert faces.dates_of(session, []) == {}
    two.move_face(4, "Ada")
    with two.database.reading() as session:
        assert sorted(faces.dates_of(session, [1, 2])[1]) == ["1998", "2004-07-14"]


def test_merged_and_dropped_faces_return_with_their_dates(two: Gallery) -> None:
    for face, taken in ((1, "1998"), (2, "1999-01"), (3, "1999-01-02"), (4, "2004")):
        two.set_taken(face, taken)
    before = dates(two)
    merged = two.merge("Ada", ["Countess"])
    assert dates(two) == {1: "1998", 2: "1999-01", 4: "2004"}
    two.undo_merge(merged.merge_id)
    assert dates(two) == before
    with two.database.writing() as session:
        step = corrections.drop(session, 3)
    assert dates(two).keys() == {1, 2, 4}
    with two.database.writing() as session:
        assert corrections.put_back(session, step)
    assert dates(two) == before


def test_faces_dropped_before_dates_were_stored_return_without(two: Gallery) -> None:
    with two.database.writing() as session:
        step = corrections.drop(session, 3)
        assert step.kept is not None
        del step.kept["taken"]
    with two.database.writing() as session:
        assert corrections.put_back(session, step)
    assert dates(two)[3] is None


def enroll_again(
    database: Database, row: Encodings, exif: str | None, given: str | None = None
) -> int:
    """Enrol Ada's photo 1 again, by the encoder in use."""
    photo_sha256 = hashlib.sha256(b"1").hexdigest()
    photo = Photo(np.zeros((1, 1, 3), np.uint8), 1.0, 640, 480, photo_sha256, "1.jpg", exif)
    face = Face(Box(1.5, 2.0, 101.25, 120.0), np.ones((5, 2), np.float32), 0.999, 50.0)
    with database.writing() as session:
        current = encoders.current(session)
        assert current is not None
        ada = identities.get(session, "Ada").id
        return faces.add(session, ada, photo, NewFace(face, row, 2, taken=given), current.id)


@pytest.mark.parametrize(
    ("stored", "exif", "given", "expected"),
    [
        ("1998", "2011-01-02", None, "1998"),
        ("1998", "2011-01-02", "2000", "2000"),
        (None, "2011-01-02", None, "2011-01-02"),
        (None, None, None, None),
    ],
)
def test_face_enrolled_again_after_a_reencoding_keeps_its_date(
    two: Gallery,
    unit_rows: UnitRows,
    stored: str | None,
    exif: str | None,
    given: str | None,
    expected: str | None,
) -> None:
    rows = unit_rows(4, 5)
    two.set_taken(1, stored)
    two.set_taken(4, "2004")
    with two.database.writing() as session:
        reencoding.begin(session, "other", "f" * 64, spec="other")
        record = next(r for r in encoders.with_encodings(session) if r.name == "other")
        for face in list(reencoding.to_encode(session, record.id)):
            if face.id != 1:
                reencoding.save(session, record.id, face.id, rows.row(face.id - 1))
        reencoding.switch(session, record.id)
        assert faces.dates_of(session, [1, 2]) == {2: ["2004"]}  # face 1 is in no search
    assert enroll_again(two.database, rows.row(0), exif, given) == 1
    assert dates(two) == {1: expected, 2: None, 3: None, 4: "2004"}


def test_erasing_a_face_erases_its_date(two: Gallery) -> None:
    two.set_taken(1, "1871-10-18")
    two.forget_faces([1])
    files = [file for file in two.settings.home.iterdir() if file.is_file()]
    assert not any(b"1871-10-18" in file.read_bytes() for file in files)


def test_dates_are_in_a_backup(two: Gallery, tmp_path: Path) -> None:
    two.set_taken(1, "1998-07")
    two.back_up(tmp_path / "x.backup")
    settings = two.settings.model_copy(update={"home": tmp_path / "restored"})
    restore(tmp_path / "x.backup", settings)
    with Gallery(settings) as restored:
        assert dates(restored)[1] == "1998-07"
