"""An erasure rebuilds the database only if bytes of the person may be left outside its rows."""

from __future__ import annotations

import hashlib
import random
import secrets
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from gallery.config import DATABASE_FILE
from gallery.erasure.search import Traces, search
from gallery.errors import HomeUnusable
from gallery.gallery import Gallery
from gallery.store import identities
from gallery.store.change_log import clear_unsought, pending_scrub, request_scrub, unsought
from gallery.store.database import Database
from gallery.types import Encodings
from tests.conftest import AddFace, SmallDisk, UnitRows
from tests.erasure.conftest import PICTURES

LEAF = 13  # the kind of page that holds rows


def rebuilds(gallery: Gallery) -> int:
    """A number that grows with each VACUUM, and with changes of the schema."""
    with gallery.database.reading() as session:
        return int(session.execute(text("PRAGMA schema_version")).scalar_one())


def is_pending(gallery: Gallery) -> bool:
    with gallery.database.reading() as session:
        return pending_scrub(session) is not None


def content_of(gallery: Gallery) -> bytes:
    folders = (gallery.settings.home, gallery.settings.cache)
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    return b"\0".join(file.read_bytes() for file in files)


def plant(file: Path, content: bytes) -> None:
    """Write bytes where a page with rows has room, as SQLite leaves them there."""
    data = bytearray(file.read_bytes())
    for page in range(4096, len(data), 4096):
        kind, _, count, begin, _ = struct.unpack_from(">BHHHB", data, page)
        if kind == LEAF and count and 8 + 2 * count + 100 + len(content) < begin:
            data[page + begin - len(content) : page + begin] = content
            file.write_bytes(data)
            return
    raise AssertionError("no page has room")


@pytest.fixture
def reopened(people: Gallery) -> Iterator[Gallery]:
    """The people, opened again after `plant`: the file may be changed until it is first used."""
    people.close()
    with closing(sqlite3.connect(people.database.file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    yield people


def again(closed: Gallery) -> Gallery:
    return Gallery.open(closed.settings.home, cache=closed.settings.cache, threads=1)


def test_nothing_is_rebuilt_if_nothing_is_left(people: Gallery, rows: Encodings) -> None:
    before = rebuilds(people)
    photos = [face.photo_sha256 for face in people.identity("Ada Lovelace")[1]]
    size = people.database.file.stat().st_size
    assert people.forget("Ada Lovelace").faces == 3
    assert rebuilds(people) == before and not is_pending(people)
    assert people.database.file.stat().st_size >= size
    left = content_of(people)
    erased = [b"Ada Lovelace", b"photos/1.jpg", *(photo.encode() for photo in photos)]
    erased += [bytes.fromhex(photo) for photo in photos]
    erased += [picture[1000:1040] for picture in PICTURES]
    for row in rows.vectors[:3]:
        for number in (np.float16, np.float32, np.float64):
            erased += [row.astype(number).tobytes()[start : start + 32] for start in (0, 96, 200)]
    assert [trace for trace in erased if trace in left] == []
    assert rows.vectors[3].tobytes() in left and b"Annabel" in left
    assert people.index.problems() == [] and people.database.problems() == []


@pytest.mark.parametrize("trace", ["name", "photo", "hash", "encoding"])
def test_trace_in_a_page_that_is_not_touched_is_erased(
    reopened: Gallery, rows: Encodings, trace: str
) -> None:
    traces = {"name": b"Ada Lovelace", "photo": b"photos/1.jpg", "encoding": rows.vectors[2]}
    traces["hash"] = hashlib.sha256(b"1").digest()  # of her second photo
    left = bytes(traces[trace])
    plant(reopened.database.file, b"\1\2\3" + left + b"\4")
    with again(reopened) as opened:
        before = rebuilds(opened)
        assert b"\1\2\3" + left in content_of(opened)
        assert opened.forget("Ada Lovelace").faces == 3
        assert rebuilds(opened) > before and not is_pending(opened)
        assert left not in content_of(opened)
        assert opened.database.problems() == []


@pytest.mark.parametrize(("planted", "is_rebuilt"), [(b"\1Bo Li\2", True), (b"\1BoLi\2", False)])
def test_short_name_is_searched_for_outside_of_rows(
    reopened: Gallery, rows: Encodings, add_face: AddFace, planted: bytes, is_rebuilt: bool
) -> None:
    with again(reopened) as opened:
        add_face(opened.database, "Bo L", rows.row(8), 8)
        add_face(opened.database, "Bo Lindgren", rows.row(9), 9)
        opened.database.empty_log()
    plant(reopened.database.file, planted)
    with again(reopened) as opened:
        before = rebuilds(opened)
        assert opened.forget("Bo L").too_plain
        assert (rebuilds(opened) > before) is is_rebuilt
        assert (planted in content_of(opened)) is not is_rebuilt
        assert b"Bo Lindgren" in content_of(opened)


def test_traces_in_rows_of_others_are_no_reason(
    people: Gallery, rows: Encodings, add_face: AddFace
) -> None:
    add_face(people.database, "Annabel Lee", rows.row(4), 4)
    people.describe("Annabel", details={"room": "12", "city": "Zürich 8001"})
    people.describe("Annabel Lee", details={"room": "12", "city": "Zürich 8001"})
    people.database.scrub()
    before = rebuilds(people)
    assert people.forget("Annabel").faces == 1
    assert rebuilds(people) == before
    assert b"Annabel Lee" in content_of(people)


def test_erasure_after_one_that_is_unfinished_rebuilds(people: Gallery) -> None:
    with people.database.writing() as session:
        identities.remove(session, identities.get(session, "Annabel").id)
    before = rebuilds(people)
    people.forget("Ada Lovelace")
    assert rebuilds(people) > before and not is_pending(people)


def test_note_of_others_is_kept(people: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process deletes rows while the bytes of these are erased."""
    empty_log = Database.empty_log

    def meanwhile(database: Database) -> None:
        with database.writing() as session:
            request_scrub(session)
        empty_log(database)

    with monkeypatch.context() as patch:
        patch.setattr(Database, "empty_log", meanwhile)
        people.forget("Annabel")
    assert is_pending(people)


def test_encrypted_database_is_rebuilt(
    tmp_path: Path, cache: Path, rows: Encodings, add_face: AddFace
) -> None:
    key = tmp_path / "key"
    key.write_text(secrets.token_hex(32) + "\n")
    with Gallery.open(tmp_path / "home", cache=cache, key_file=key, threads=1) as opened:
        for number, name in enumerate(("Ada Lovelace", "Annabel")):
            add_face(opened.database, name, rows.row(number), number)
        before = rebuilds(opened)
        opened.forget("Ada Lovelace")
        assert rebuilds(opened) > before


def test_index_that_cannot_be_written_is_reported(
    people: Gallery, rows: Encodings, small_disk: SmallDisk
) -> None:
    assert rows.vectors[0].astype(np.float16).tobytes() in people.index.file.read_bytes()
    with small_disk(300), pytest.raises(HomeUnusable, match=r"faces\.index cannot be written"):
        people.index.overwrite()
    left = people.index.file.with_name("faces.index0.part")
    left.write_bytes(b"half of it")
    people.index.overwrite()
    assert not left.exists() and people.index.problems() == []


def test_copy_that_sqlite_leaves_of_a_row_that_grew_is_erased(
    gallery: Gallery, unit_rows: UnitRows, add_face: AddFace
) -> None:
    """Rows that grow are moved between pages, and are not overwritten in those that they leave."""
    rows, choice = unit_rows(3, 9), random.Random(4)
    people = [f"Person Number {number:03}" for number in range(600)]
    with gallery.database.writing() as session:
        for name in people:
            identities.add(session, name)
    for length in (20, 60, 200, 500):
        with gallery.database.writing() as session:
            for name in choice.sample(people, len(people)):
                note = choice.randbytes(length // 2).hex()
                identities.describe(session, name, external_id=note[:99], details={"a": note})
    with gallery.database.writing() as session:  # as if none of these had been replaced
        clear_unsought(session, unsought(session) or "")
    gallery.database.empty_log()
    traces = Traces(rows.vectors[:0], people, [])
    copies = {
        people[hit.trace.number]
        for hit in search([gallery.database.file], traces, unused=True).hits
    }
    copied, other = min(copies), min(set(people) - copies)
    for number, name in enumerate((other, copied)):
        add_face(gallery.database, name, rows.row(number), number)
        before = rebuilds(gallery)
        gallery.forget(name)
        assert (rebuilds(gallery) > before) is (name == copied)
        left = content_of(gallery)
        assert name.encode() not in left and rows.vectors[number].tobytes() not in left
    assert gallery.database.problems() == []


def test_file_name_of_the_database_is_followed(people: Gallery, tmp_path: Path) -> None:
    """A home whose database is a link to another disk is searched where the database is."""
    people.close()
    elsewhere = tmp_path / "disk" / DATABASE_FILE
    elsewhere.parent.mkdir()
    people.database.file.rename(elsewhere)
    people.database.file.symlink_to(elsewhere)
    plant(elsewhere, b"Ada Lovelace")
    with again(people) as opened:
        opened.forget("Ada Lovelace")
    assert b"Ada Lovelace" not in elsewhere.read_bytes()


def test_file_is_rebuilt_if_bytes_were_replaced_that_nobody_knows_any_more(people: Gallery) -> None:
    people.describe("Ada Lovelace", external_id="first-id", details={"phone": "0123 456"})
    before = rebuilds(people)
    people.describe("Ada Lovelace", details={"phone": "0123 456", "street": "Ockham Park"})
    people.forget("Annabel")
    assert rebuilds(people) == before  # nothing was replaced
    people.describe("Ada Lovelace", details={"phone": "0987 654"})
    people.forget("Ada Lovelace")
    assert rebuilds(people) > before and not is_pending(people)
    with people.database.reading() as session:
        assert unsought(session) is None
