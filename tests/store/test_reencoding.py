"""Encodings of two encoders side by side: switched, kept, set aside and dropped."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from gallery.admin.npz import import_faces
from gallery.encoders.weights import DLIB_RESNET
from gallery.errors import CannotReencode
from gallery.store import (
    corrections,
    encoders,
    faces,
    identities,
    kept_images,
    merges,
    reencoding,
)
from gallery.store.change_log import pending_scrub
from gallery.store.database import Database
from gallery.store.encoders import EncoderState
from gallery.store.records import KeptImage, NewFace
from gallery.types import Box, Encodings, Face, Photo
from tests.conftest import AddFace, UnitRows

A = (DLIB_RESNET.name, DLIB_RESNET.sha256)
B, C = ("onnx", "b" * 64), ("onnx", "c" * 64)
EncoderName = tuple[str, str]
BOX = Box(1.5, 2.0, 101.25, 120.0)


@pytest.fixture
def people(database: Database, unit_rows: UnitRows, add_face: AddFace) -> Database:
    """Ada and Countess share photo 2: faces 1, 2 and 3, encoded by A."""
    for i, (name, photo) in enumerate([("Ada", 1), ("Ada", 2), ("Countess", 2)]):
        add_face(database, name, unit_rows(3, 1).row(i), photo)
    return database


def record_of(session: Session, name: EncoderName) -> encoders.EncoderRecord:
    return encoders.get_or_add(session, *name, spec=name[0])


def encode_all(database: Database, name: EncoderName, rows: Encodings, *skipped: int) -> None:
    """Begin re-encoding and encode every face but `skipped`, face i as row i - 1."""
    with database.writing() as session:
        record = record_of(session, name)
        reencoding.begin(session, *name, spec=name[0])
        for face in list(reencoding.to_encode(session, record.id)):
            if face.id not in skipped:
                reencoding.save(session, record.id, face.id, rows.row(face.id - 1))


def test_importing_encodings_by_the_new_encoder_brings_left_faces_back(
    people: Database, unit_rows: UnitRows, tmp_path: Path
) -> None:
    before, after = unit_rows(3, 1), unit_rows(3, 2)
    encode_all(people, B, after, 2, 3)
    switch_to(people, B)
    with people.reading() as session:
        assert faces.ids(session) == [1]
        photos = [face.photo_sha256 for face in faces.records(session)]
    file = tmp_path / "new.npz"
    np.savez(
        file,
        encoder=np.array(B),
        names=np.array(["Ada", "Ada", "Countess"]),
        encodings=after.vectors,
        photo_sha256=np.array(photos),
    )
    assert import_faces(people, file, B) == (2, 1)
    assert import_faces(people, file, B) == (0, 3)
    with people.reading() as session:
        assert faces.ids(session) == [1, 2, 3]
        stored = faces.encodings_by_id(session, [1, 2, 3]).encodings.vectors
        assert np.array_equal(stored, after.vectors)
        assert faces.records(session)[1].box == BOX  # the archive has none
    switch_to(people, A)  # the way back
    with people.reading() as session:
        stored = faces.encodings_by_id(session, [1, 2, 3]).encodings.vectors
        assert np.array_equal(stored, before.vectors)


def switch_to(database: Database, name: EncoderName) -> None:
    with database.writing() as session:
        reencoding.switch(session, record_of(session, name).id)


def enroll(
    database: Database,
    encoder: EncoderName,
    number: int,
    row: Encodings,
    box: Box = BOX,
) -> int:
    """Enrol a face of Ada from the photo with this number; return the face's id."""
    sha256 = hashlib.sha256(str(number).encode()).hexdigest()
    photo = Photo(np.zeros((1, 1, 3), np.uint8), 1.0, 640, 480, sha256, "again.jpg")
    face = Face(box, np.ones((5, 2), np.float32), 0.999, 50.0)
    with database.writing() as session:
        encoder_id, ada = record_of(session, encoder).id, identities.get(session, "Ada").id
        return faces.add(session, ada, photo, NewFace(face, row, 2), encoder_id)


def searchable(database: Database) -> dict[int, bytes]:
    """Return the searchable encodings by face id."""
    with database.reading() as session:
        stored = faces.encodings_of(session, identities.ids(session))
    vectors = stored.encodings.vectors
    return {int(i): row.tobytes() for i, row in zip(stored.face_ids, vectors, strict=True)}


def journals(database: Database) -> str:
    """Return the journals of merges and plans as text."""
    with database.reading() as session:
        rows = [
            *session.scalars(text("SELECT others FROM merges")),
            *session.scalars(text("SELECT kept FROM applied_steps")),
        ]
    return " ".join(map(str, rows))


def set_faces_aside(database: Database) -> int:
    """Set face 3 aside by a merge and face 1 by a plan; return the merge's id."""
    with database.writing() as session:
        number = merges.merge(session, "Ada", ["Countess"]).merge_id
        corrections.record_step(
            session, corrections.begin_application(session), corrections.drop(session, 1)
        )
    return number


def base64_of(rows: Encodings, i: int) -> str:
    return base64.b64encode(rows.vectors[i].tobytes()).decode()


def test_interrupted_rollback_can_be_resumed(people: Database, unit_rows: UnitRows) -> None:
    first = searchable(people)
    encode_all(people, B, unit_rows(3, 2))
    switch_to(people, B)
    assert enroll(people, B, 3, unit_rows(1, 9)) == 4  # not encoded by A
    for name, skipped in ((A, (4,)), (C, (2,))):  # both are interrupted
        encode_all(people, name, unit_rows(4, 3), *skipped)
    with people.reading() as session:
        last = encoders.in_state(session, EncoderState.PREVIOUS)
        assert last is not None and (last.name, last.weights_sha256) == A
        assert [face.id for face in reencoding.to_encode(session, last.id)] == [4]
    encode_all(people, A, unit_rows(4, 4))
    switch_to(people, A)
    assert searchable(people) == first | {4: unit_rows(4, 4).vectors[3].tobytes()}


def test_dropping_images_includes_faces_set_aside(people: Database) -> None:
    contents = {1: b"of face 1" * 9, 3: b"of face 3" * 9}
    with people.writing() as session:
        for face, content in contents.items():
            kept_images.save(session, face, KeptImage("chip", content, np.ones((5, 2), np.float32)))
    number = set_faces_aside(people)
    packed = [base64.b64encode(content).decode() for content in contents.values()]
    assert all(content in journals(people) for content in packed)
    with people.writing() as session:
        assert pending_scrub(session) is None
        assert kept_images.drop_all(session) == 2
        assert pending_scrub(session) is not None
    assert not any(content in journals(people) for content in packed)
    with people.writing() as session:
        merges.undo(session, number)
        (step,) = corrections.steps(session, 1)
        assert corrections.put_back(session, step)
        assert kept_images.count_and_bytes(session) == (0, 0)
        assert faces.count(session) == 3


def test_finish_leaves_one_encoding_of_faces_set_aside(
    people: Database, unit_rows: UnitRows
) -> None:
    first, second = unit_rows(3, 1), unit_rows(3, 2)
    encode_all(people, B, second)
    number = set_faces_aside(people)  # encoded by A, with B's beside it
    switch_to(people, B)
    assert base64_of(first, 2) in journals(people)
    with people.writing() as session:
        assert reencoding.finish(session) == 1 + 2  # of face 2, and of those set aside
        assert pending_scrub(session) is not None
    for i in (0, 2):
        assert base64_of(first, i) not in journals(people)
        assert base64_of(second, i) in journals(people)
    with people.writing() as session:
        merges.undo(session, number)
    assert searchable(people) == {i: second.vectors[i - 1].tobytes() for i in (2, 3)}


def test_merge_undone_after_a_rollback_is_searchable(people: Database, unit_rows: UnitRows) -> None:
    first = searchable(people)
    encode_all(people, B, unit_rows(3, 2))
    switch_to(people, B)
    with people.writing() as session:
        number = merges.merge(session, "Ada", ["Countess"]).merge_id
    switch_to(people, A)
    with people.writing() as session:
        merges.undo(session, number)
    assert searchable(people) == first
    switch_to(people, B)  # its encoding is beside A's again
    assert searchable(people) == {i: unit_rows(3, 2).vectors[i - 1].tobytes() for i in (1, 2, 3)}


@pytest.mark.parametrize("another", [False, True], ids=["the same face", "another face"])
def test_face_left_out_of_reencoding_is_enrolled_again(
    people: Database, unit_rows: UnitRows, another: bool
) -> None:
    first = searchable(people)
    picture = KeptImage("chip", b"chip", np.ones((5, 2), np.float32))
    with people.writing() as session:
        kept_images.save(session, 2, picture)
        kept_images.add_thumbnail(session, 2, b"old")
    encode_all(people, B, unit_rows(3, 2), 2)
    switch_to(people, B)
    encode_all(people, C, unit_rows(3, 3))
    assert set(searchable(people)) == {1, 3}

    rows = unit_rows(1, 9)
    box = Box(300.0, 2.0, 400.0, 120.0) if another else BOX
    assert enroll(people, B, 2, rows, box) == 2
    with people.writing() as session:
        # Images of another face are deleted; what a rollback needs is not.
        assert (kept_images.get(session, 2) is None) is another
        left = [f.id for f in reencoding.to_encode(session, record_of(session, C).id)]
        assert left == ([2] if another else [])
        assert (pending_scrub(session) is not None) is another
        kept_images.add_thumbnail(session, 2, b"new")
        assert kept_images.thumbnail(session, 2) == b"new"
    assert searchable(people)[2] == rows.vectors[0].tobytes()
    switch_to(people, A)
    assert searchable(people) == first
    switch_to(people, B)
    assert searchable(people)[2] == rows.vectors[0].tobytes()


def test_encoding_for_a_finished_encoder_is_refused(people: Database, unit_rows: UnitRows) -> None:
    rows = unit_rows(3, 2)
    encode_all(people, B, rows, 3)
    with people.writing() as session:
        assert reencoding.finish(session) == 2
        number = record_of(session, B).id
        with pytest.raises(CannotReencode, match="ended meanwhile"):
            reencoding.save(session, number, 3, rows.row(2))
        with pytest.raises(CannotReencode, match="ended meanwhile"):
            reencoding.switch(session, number)
        assert reencoding.progress(session, number) == (0, 3)
    encode_all(people, B, rows)  # started again
    switch_to(people, B)
    assert len(searchable(people)) == 3
