"""Faces and encodings are stored exactly, and invalid ones refused; the change log."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from gallery.encoders.weights import DLIB_RESNET
from gallery.errors import (
    EncoderChanged,
    InvalidEncoding,
)
from gallery.gallery import Gallery
from gallery.store import encoders, faces, identities
from gallery.store.change_log import changed_since, latest_change
from gallery.store.database import Database
from gallery.store.records import NewFace
from gallery.types import Box, Encodings, Face, Float32, Photo
from tests.store.queries import face_ids, latest_position, names, photo_count, remove


def test_encodings_are_stored_exactly(database: Database, unit_rows, add_face) -> None:
    rows = unit_rows(25, 7)
    rows.vectors[3] = np.eye(128, dtype=np.float32)[5]
    rows.vectors[3, :2] = (-0.0, 1e-40)  # a negative zero and a subnormal number
    ids = [add_face(database, f"person {i % 4}", rows.row(i), i) for i in range(25)]
    with database.reading() as session:
        stored = faces.encodings_by_id(session, [*reversed(ids), 999])
        blocks = list(faces.all_encodings(session, block=7))
    assert stored.face_ids.tolist() == sorted(ids) == ids
    assert stored.encodings.vectors.dtype == np.float32 == stored.encodings.norms.dtype
    assert stored.encodings.vectors.tobytes() == rows.vectors.tobytes()
    assert stored.encodings.norms.tobytes() == rows.norms.tobytes()
    assert [len(block.face_ids) for block in blocks] == [7, 7, 7, 4]
    joined = np.concatenate([block.encodings.vectors for block in blocks])
    assert joined.tobytes() == rows.vectors.tobytes()
    assert np.concatenate([b.face_ids for b in blocks]).tolist() == ids


def test_empty_gallery_has_no_faces(database: Database) -> None:
    with database.reading() as session:
        stored = faces.encodings_by_id(session, [1, 2])
        assert stored.encodings.vectors.shape == (0, 128) and len(stored.face_ids) == 0
        assert list(faces.all_encodings(session)) == [] and faces.records_by_id(session, []) == {}
        assert faces.count(session) == identities.count(session) == latest_change(session) == 0


def _too_long(rows: Encodings) -> Encodings:
    return Encodings(rows.vectors * np.float32(1.01), rows.norms, rows.agreement)


def _norms_and_agreement(rows: Encodings) -> tuple[Float32, Float32]:
    return rows.norms, rows.agreement


def _with(value: float) -> Callable[[Encodings], Encodings]:
    def altered(rows: Encodings) -> Encodings:
        vectors = rows.vectors.copy()
        vectors[0, 7] = value
        return Encodings(vectors, rows.norms, rows.agreement)

    return altered


@pytest.mark.parametrize(
    "altered",
    [
        pytest.param(_too_long, id="too long"),
        pytest.param(lambda r: Encodings(0 * r.vectors, *_norms_and_agreement(r)), id="zero"),
        pytest.param(_with(np.nan), id="NaN"),
        pytest.param(_with(np.inf), id="infinity"),
        pytest.param(
            lambda r: Encodings(r.vectors.astype(float), *_norms_and_agreement(r)), id="float64"
        ),
        pytest.param(
            lambda r: Encodings(r.vectors.astype(np.float16), *_norms_and_agreement(r)),
            id="float16",
        ),
        pytest.param(lambda r: Encodings(r.vectors[0], *_norms_and_agreement(r)), id="one axis"),
        pytest.param(
            lambda r: Encodings(np.tile(r.vectors, (2, 1)), *_norms_and_agreement(r)), id="two rows"
        ),
        pytest.param(
            lambda r: Encodings(r.vectors[:, :64], *_norms_and_agreement(r)), id="half a row"
        ),
    ],
)
def test_invalid_encoding_is_refused(
    database: Database, unit_rows, add_face, altered: Callable[[Encodings], Encodings]
) -> None:
    with pytest.raises(InvalidEncoding, match="expected"):
        add_face(database, "Ada", altered(unit_rows(1, 8)), 1)
    assert names(database) == [] and face_ids(database) == []
    assert photo_count(database) == 0 and latest_position(database) == 0


def test_face_record_has_what_was_stored(database: Database, unit_rows, add_face) -> None:
    rows = unit_rows(2, 9)
    first, second = (
        add_face(database, "Ada", rows.row(0), 1),
        add_face(database, "B", rows.row(1), 2),
    )
    with database.reading() as session:
        record, other = faces.records(session)
        assert faces.records_by_id(session, [second, 77]) == {second: other}
        assert faces.records(session, identity_id=record.identity.id) == [record]
        assert faces.face_id_of(session, record.identity.id, record.photo_sha256) == first
        assert faces.face_id_of(session, other.identity.id, record.photo_sha256) is None
    assert (record.id, record.identity.name, record.photo) == (first, "Ada", "photos/1.jpg")
    assert record.photo_sha256 == hashlib.sha256(b"1").hexdigest()
    assert record.box == Box(1.5, 2.0, 101.25, 120.0)
    assert (record.probability, record.sharpness) == (0.999, 50.0)
    assert record.norm == pytest.approx(float(rows.norms[0]))


def test_photo_name_that_is_not_unicode_can_be_stored(database: Database, unit_rows) -> None:
    source = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")  # as Python decodes such a name
    photo = Photo(np.zeros((1, 1, 3), np.uint8), 1.0, 640, 480, "0" * 64, source)
    face = Face(Box(0, 0, 100, 100), np.ones((5, 2), np.float32), 0.999, 50.0)
    with database.writing() as session:
        encoder = faces.encoder_id(session, DLIB_RESNET.name, DLIB_RESNET.sha256)
        ada = identities.add(session, "Ada")
        faces.add(session, ada, photo, NewFace(face, unit_rows(1, 10), 1), encoder)
    with database.reading() as session:
        (record,) = faces.records(session)
    assert record.photo.startswith("caf") and record.photo.endswith(".jpg")


def test_encodings_of_another_encoder_are_refused(database: Database, unit_rows, add_face) -> None:
    with database.reading() as session:
        encoders.check_current(session, "any other", "f" * 64, None)  # nothing is stored yet
    add_face(database, "Ada", unit_rows(1, 11), 1)
    for name, sha256 in ((DLIB_RESNET.name, "f" * 64), ("other", DLIB_RESNET.sha256)):
        with pytest.raises(EncoderChanged, match="enrol the photos again"), database.reading() as s:
            encoders.check_current(s, name, sha256, None)
        with pytest.raises(EncoderChanged), database.writing() as s:
            faces.encoder_id(s, name, sha256)
    with database.writing() as session:
        encoders.check_current(session, DLIB_RESNET.name, DLIB_RESNET.sha256, None)
        first = faces.encoder_id(session, DLIB_RESNET.name, DLIB_RESNET.sha256)
        assert first == faces.encoder_id(session, DLIB_RESNET.name, DLIB_RESNET.sha256)


def test_gallery_of_another_encoder_is_refused(tmp_path: Path, unit_rows, add_face) -> None:
    with Gallery.open(tmp_path / "home") as opened:
        add_face(opened.database, "Ada", unit_rows(1, 12), 1)
    with closing(sqlite3.connect(tmp_path / "home" / "gallery.db")) as connection:
        connection.execute("UPDATE encoders SET weights_sha256 = ?", ["f" * 64])
        connection.commit()
    with pytest.raises(EncoderChanged, match="--home"):
        Gallery.open(tmp_path / "home")


def test_change_log_only_grows(database: Database, unit_rows, add_face) -> None:
    rows = unit_rows(12, 20)
    random = np.random.default_rng(21)
    positions = [0]
    for i in range(12):
        name = f"person {random.integers(3)}"
        face = add_face(database, name, rows.row(i), i)
        with database.reading() as session:
            assert changed_since(session, positions[-1]) == [face]
        positions.append(latest_position(database))
        if i % 3 == 2:
            removed = remove(database, name)
            with database.reading() as session:
                assert sorted(changed_since(session, positions[-1])) == removed
            positions.append(latest_position(database))
            database.scrub()
            assert latest_position(database) == positions[-1]
    assert all(a < b for a, b in pairwise(positions))


def test_faces_below_limits_are_those_with_a_known_value_under_one(
    database: Database, unit_rows, add_face
) -> None:
    rows = unit_rows(6, 3)
    rows.norms[:] = 0.0, 1.0, 2.0, 2.5, 3.0, 1.0
    rows.agreement[:] = 0.5, 0.0, 0.9, 0.9, 0.9, 0.5
    ids = [add_face(database, "Ada", rows.row(i), i) for i in range(6)]  # of sharpness 50
    with database.reading() as session:
        for limits, expected in (
            ({}, []),
            ({"norm": 2.5}, [1, 2, 5]),  # 0 is unknown, and the limit itself is no fault
            ({"norm": 1.5, "agreement": 0.6}, [0, 1, 5]),
            ({"sharpness": 50.5}, [0, 1, 2, 3, 4, 5]),
        ):
            found = faces.records_below(session, limits)
            assert [record.id for record in found] == [ids[i] for i in expected], limits


def test_more_names_are_looked_up_than_a_statement_has_parameters(database: Database) -> None:
    with database.writing() as session:
        identities.add(session, "Ada")
        folds = [f"{i}\U0001f600" for i in range(40_000)] + ["ada"]
        assert identities.names_by_fold(session, folds) == {"ada": ["Ada"]}
