"""Two encoders' encodings side by side in the store: swapped, kept, put aside and dropped."""

from __future__ import annotations

import base64
import hashlib

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

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
from gallery.store.change_log import to_scrub
from gallery.store.database import Database
from gallery.store.encoders import EncoderState
from gallery.store.records import NewFace, Picture
from gallery.types import Box, Encodings, Face, Photo
from tests.conftest import AddFace, UnitRows

A = (DLIB_RESNET.name, DLIB_RESNET.sha256)
B, C = ("onnx", "b" * 64), ("onnx", "c" * 64)
EncoderName = tuple[str, str]
BOX = Box(1.5, 2.0, 101.25, 120.0)


@pytest.fixture
def people(database: Database, unit_rows: UnitRows, add_face: AddFace) -> Database:
    """Ada and Countess share photo 2: faces 1, 2 and 3, seen by A."""
    for i, (name, photo) in enumerate([("Ada", 1), ("Ada", 2), ("Countess", 2)]):
        add_face(database, name, unit_rows(3, 1).row(i), photo)
    return database


def known(session: Session, name: EncoderName) -> encoders.EncoderRecord:
    return encoders.make(session, *name, spec=name[0])


def encoded(database: Database, name: EncoderName, rows: Encodings, *but: int) -> None:
    """Begin and encode every face but these, face i as row i - 1."""
    with database.writing() as session:
        record = known(session, name)
        reencoding.begin(session, *name, spec=name[0])
        for face in list(reencoding.to_encode(session, record.id)):
            if face.id not in but:
                reencoding.put(session, record.id, face.id, rows.row(face.id - 1))


def switched(database: Database, name: EncoderName) -> None:
    with database.writing() as session:
        reencoding.switch(session, known(session, name).id)


def enrolled(
    database: Database,
    encoder: EncoderName,
    number: int,
    row: Encodings,
    box: Box = BOX,
) -> int:
    """Of Ada, from the photo of this number; returns the face's."""
    sha256 = hashlib.sha256(str(number).encode()).hexdigest()
    photo = Photo(np.zeros((1, 1, 3), np.uint8), 1.0, 640, 480, sha256, "again.jpg")
    face = Face(box, np.ones((5, 2), np.float32), 0.999, 50.0)
    with database.writing() as session:
        now, ada = known(session, encoder).id, identities.get(session, "Ada").id
        return faces.add(session, ada, photo, NewFace(face, row, 2), now)


def in_use(database: Database) -> dict[int, bytes]:
    """What searches see, by face."""
    with database.reading() as session:
        stored = faces.encodings_of(session, identities.ids(session))
    vectors = stored.encodings.vectors
    return {int(i): row.tobytes() for i, row in zip(stored.face_ids, vectors, strict=True)}


def everything(database: Database) -> str:
    """What is in the journals of merges and plans."""
    with database.reading() as session:
        rows = [
            *session.scalars(text("SELECT others FROM merges")),
            *session.scalars(text("SELECT kept FROM applied_steps")),
        ]
    return " ".join(map(str, rows))


def put_aside(database: Database) -> int:
    """Face 3 by a merge, face 1 by a step of a plan; returns the merge's number."""
    with database.writing() as session:
        number = merges.merge(session, "Ada", ["Countess"]).merge_id
        corrections.note(session, corrections.begin(session), corrections.drop(session, 1))
    return number


def base64_of(rows: Encodings, i: int) -> str:
    return base64.b64encode(rows.vectors[i].tobytes()).decode()


def test_a_way_back_that_is_cut_short_stays_a_way_back(
    people: Database, unit_rows: UnitRows
) -> None:
    first = in_use(people)
    encoded(people, B, unit_rows(3, 2))
    switched(people, B)
    assert enrolled(people, B, 3, unit_rows(1, 9)) == 4  # not seen by A
    for name, but in ((A, (4,)), (C, (2,))):  # both are cut short
        encoded(people, name, unit_rows(4, 3), *but)
    with people.reading() as session:
        last = encoders.in_state(session, EncoderState.PREVIOUS)
        assert last is not None and (last.name, last.weights_sha256) == A
        assert [face.id for face in reencoding.to_encode(session, last.id)] == [4]
    encoded(people, A, unit_rows(4, 4))
    switched(people, A)
    assert in_use(people) == first | {4: unit_rows(4, 4).vectors[3].tobytes()}


def test_what_is_put_aside_has_no_picture_when_they_are_dropped(people: Database) -> None:
    contents = {1: b"of face 1" * 9, 3: b"of face 3" * 9}
    with people.writing() as session:
        for face, content in contents.items():
            kept_images.keep(session, face, Picture("chip", content, np.ones((5, 2), np.float32)))
    number = put_aside(people)
    hidden = [base64.b64encode(content).decode() for content in contents.values()]
    assert all(one in everything(people) for one in hidden)
    with people.writing() as session:
        assert to_scrub(session) is None
        assert kept_images.drop_all(session) == 2
        assert to_scrub(session) is not None
    assert not any(one in everything(people) for one in hidden)
    with people.writing() as session:
        merges.undo(session, number)
        (step,) = corrections.steps(session, 1)
        assert corrections.put_back(session, step)
        assert kept_images.size(session) == (0, 0)
        assert faces.count(session) == 3


def test_what_is_put_aside_has_one_encoding_after_the_end(
    people: Database, unit_rows: UnitRows
) -> None:
    first, second = unit_rows(3, 1), unit_rows(3, 2)
    encoded(people, B, second)
    number = put_aside(people)  # seen by A, B's beside it
    switched(people, B)
    assert base64_of(first, 2) in everything(people)
    with people.writing() as session:
        assert reencoding.finish(session) == 1 + 2  # of face 2, and of those put aside
        assert to_scrub(session) is not None
    for i in (0, 2):
        assert base64_of(first, i) not in everything(people)
        assert base64_of(second, i) in everything(people)
    with people.writing() as session:
        merges.undo(session, number)
    assert in_use(people) == {i: second.vectors[i - 1].tobytes() for i in (2, 3)}


def test_a_merge_undone_after_the_way_back_is_found(people: Database, unit_rows: UnitRows) -> None:
    first = in_use(people)
    encoded(people, B, unit_rows(3, 2))
    switched(people, B)
    with people.writing() as session:
        number = merges.merge(session, "Ada", ["Countess"]).merge_id
    switched(people, A)
    with people.writing() as session:
        merges.undo(session, number)
    assert in_use(people) == first
    switched(people, B)  # whose encoding is beside it again
    assert in_use(people) == {i: unit_rows(3, 2).vectors[i - 1].tobytes() for i in (1, 2, 3)}


@pytest.mark.parametrize("another", [False, True], ids=["the same face", "another face"])
def test_a_face_that_was_left_is_enrolled_again(
    people: Database, unit_rows: UnitRows, another: bool
) -> None:
    first = in_use(people)
    picture = Picture("chip", b"chip", np.ones((5, 2), np.float32))
    with people.writing() as session:
        kept_images.keep(session, 2, picture)
        kept_images.add_thumbnail(session, 2, b"old")
    encoded(people, B, unit_rows(3, 2), 2)
    switched(people, B)
    encoded(people, C, unit_rows(3, 3))
    assert set(in_use(people)) == {1, 3}

    rows = unit_rows(1, 9)
    box = Box(300.0, 2.0, 400.0, 120.0) if another else BOX
    assert enrolled(people, B, 2, rows, box) == 2
    with people.writing() as session:
        # What was made of another face goes; what rollback needs does not.
        assert (kept_images.get(session, 2) is None) is another
        left = [f.id for f in reencoding.to_encode(session, known(session, C).id)]
        assert left == ([2] if another else [])
        assert (to_scrub(session) is not None) is another
        kept_images.add_thumbnail(session, 2, b"new")
        assert kept_images.thumbnail(session, 2) == b"new"
    assert in_use(people)[2] == rows.vectors[0].tobytes()
    switched(people, A)
    assert in_use(people) == first
    switched(people, B)
    assert in_use(people)[2] == rows.vectors[0].tobytes()


def test_nothing_is_encoded_for_an_encoder_whose_encodings_were_dropped(
    people: Database, unit_rows: UnitRows
) -> None:
    rows = unit_rows(3, 2)
    encoded(people, B, rows, 3)
    with people.writing() as session:
        assert reencoding.finish(session) == 2
        number = known(session, B).id
        with pytest.raises(CannotReencode, match="ended meanwhile"):
            reencoding.put(session, number, 3, rows.row(2))
        with pytest.raises(CannotReencode, match="ended meanwhile"):
            reencoding.switch(session, number)
        assert reencoding.done(session, number) == (0, 3)
    encoded(people, B, rows)  # begun anew
    switched(people, B)
    assert len(in_use(people)) == 3
