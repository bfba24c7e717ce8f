"""Identities are found, described, renamed and removed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gallery.errors import (
    GalleryError,
    IdentityExists,
    IdentityNotFound,
    InvalidName,
)
from gallery.gallery import Gallery
from gallery.store import faces, identities, merges
from gallery.store.change_log import changed_since
from gallery.store.database import Database
from tests.store.queries import face_ids, latest_position, names, photo_count, remove


def test_name_is_unique(database: Database) -> None:
    with database.writing() as session:
        identities.add(session, "Ada")
    with pytest.raises(IdentityExists, match="Ada"), database.writing() as session:
        identities.add(session, " Ada ")
    with (
        closing(sqlite3.connect(database.file)) as connection,
        pytest.raises(sqlite3.IntegrityError),
    ):
        connection.execute(
            "INSERT INTO identities (name, details, created_at, updated_at)"
            " VALUES ('Ada', '{}', '2024-01-01', '2024-01-01')"
        )


def test_name_is_found_composed_or_decomposed(database: Database) -> None:
    composed, decomposed = "Jos\u00e9 N\u00fa\u00f1ez", "Jose\u0301 Nu\u0301n\u0303ez"
    with database.writing() as session:
        made = identities.add(session, decomposed)
    with database.reading() as session:
        for name in (composed, decomposed, f"  {decomposed}\n"):
            record = identities.find(session, name)
            assert record is not None and (record.id, record.name) == (made, composed)
        assert identities.find(session, "Jose Nunez") is None


def test_name_takes_precedence_over_id(database: Database) -> None:
    with database.writing() as session:
        ada, two = identities.add(session, "Ada"), identities.add(session, "1")
        assert identities.get(session, "Ada").id == ada
        assert identities.get(session, "1").id == two == 2  # although Ada's id is 1
        assert identities.get(session, "2").id == two
        for unknown in ("Bob", "3", "99999999999999999999999999", "-1", "1.0"):
            with pytest.raises(IdentityNotFound, match="identities list"):
                identities.get(session, unknown)


@pytest.mark.parametrize("name", ["a/b", "", " ", "x" * 201, "tab\there", "\ud800"])
def test_invalid_name_is_refused(database: Database, name: str) -> None:
    with database.reading() as session, pytest.raises((IdentityNotFound, InvalidName)):
        identities.get(session, name)
    with database.writing() as session, pytest.raises(InvalidName):
        identities.add(session, name)


def test_rename(database: Database) -> None:
    with database.writing() as session:
        ada, _ = identities.add(session, "Ada"), identities.add(session, "Bob")
    with database.writing() as session:
        renamed = identities.rename(session, "Ada", " Ada Lovelace ")
        assert (renamed.id, renamed.name) == (ada, "Ada Lovelace")
        assert identities.rename(session, str(ada), "Ada Lovelace").name == "Ada Lovelace"
    for new, error in (("Bob", IdentityExists), ("a/b", InvalidName)):
        with pytest.raises(error), database.writing() as session:
            identities.rename(session, "Ada Lovelace", new)
    with pytest.raises(IdentityNotFound), database.writing() as session:
        identities.rename(session, "Ada", "Bob")
    assert names(database) == ["Ada Lovelace", "Bob"]


def test_timestamps_are_utc_and_aware(database: Database, unit_rows, add_face) -> None:
    before = datetime.now(UTC)
    add_face(database, "Ada", unit_rows(1, 12), 1)
    with database.writing() as session:
        new = identities.describe(session, "Ada", "A-1", {})
    with database.reading() as session:
        read, (face,) = identities.get(session, "Ada"), faces.records(session)
    for record in (new, read):
        assert before <= record.created_at <= record.updated_at <= datetime.now(UTC)
    assert new == read
    assert before <= face.created_at <= datetime.now(UTC)


def test_describe(database: Database) -> None:
    with database.writing() as session:
        identities.add(session, "Ada")
        identities.add(session, "Bob")
        described = identities.describe(session, "Ada", "A-1", {"team": "Engines", "floor": "2"})
        assert described.external_id == "A-1"
        assert described.details == {"team": "Engines", "floor": "2"}
    with database.writing() as session:  # None leaves the external id; an empty value removes
        described = identities.describe(session, "Ada", None, {"floor": "", "room": "é"})
        assert described.external_id == "A-1" and described.details == {
            "team": "Engines",
            "room": "é",
        }
    with pytest.raises(IdentityExists, match=r"Ada.*A-1"), database.writing() as session:
        identities.describe(session, "Bob", "A-1", {})
    with database.writing() as session:
        assert identities.describe(session, "Ada", "A-1", {}).external_id == "A-1"
        assert identities.describe(session, "Ada", "", {}).external_id is None
        assert identities.describe(session, "Bob", "", {}).external_id is None
        with pytest.raises(IdentityNotFound):
            identities.describe(session, "Eve", "E", {})


@pytest.mark.parametrize(("external_id", "details"), [("\ud800", {}), (None, {"note": "\ud800"})])
def test_invalid_unicode_in_a_description_is_refused(
    tmp_path: Path, external_id: str | None, details: dict[str, str]
) -> None:
    with Gallery.open(tmp_path / "home") as opened:
        with opened.database.writing() as session:
            identities.add(session, "Ada")
        try:
            opened.describe("Ada", external_id=external_id, details=details)
        except GalleryError:
            return
        assert opened.identity("Ada")[0].details == details


def test_remove_deletes_faces_and_unshared_photos(database: Database, unit_rows, add_face) -> None:
    rows = unit_rows(4, 17)
    a1, a2 = add_face(database, "Ada", rows.row(0), 1), add_face(database, "Ada", rows.row(1), 2)
    b1 = add_face(database, "Bob", rows.row(2), 1)  # two people in one photo
    assert photo_count(database) == 2
    before = latest_position(database)
    assert remove(database, "Ada") == [a1, a2]
    assert names(database) == ["Bob"] and face_ids(database) == [b1]
    assert photo_count(database) == 1 and database.problems() == []
    with database.reading() as session:
        assert sorted(changed_since(session, before)) == [a1, a2]
    remove(database, "Bob")
    assert photo_count(database) == 0


def test_ids_are_never_reused(database: Database, unit_rows, add_face) -> None:
    rows = unit_rows(3, 18)
    seen_faces, seen_people = set(), set()
    for i in range(3):
        face = add_face(database, "Ada", rows.row(i), i)
        with database.reading() as session:
            person = identities.get(session, "Ada").id
        assert face not in seen_faces and person not in seen_people
        seen_faces.add(face)
        seen_people.add(person)
        remove(database, "Ada")
        database.scrub()


def test_identity_with_many_faces_can_be_merged_and_removed(
    database: Database, unit_rows, add_face
) -> None:
    add_face(database, "Ada", unit_rows(1, 19), 0)
    count = 33_000  # SQLite takes 32,766 parameters
    with closing(sqlite3.connect(database.file)) as connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            " INSERT INTO photos SELECT i, CAST(printf('%032d', i) AS BLOB), 1, 1 FROM n, photos",
            [count],
        )
        columns = [row[1] for row in connection.execute("PRAGMA table_info(faces)")]
        chosen = ", ".join(
            {"id": "p.id", "photo_id": "p.id"}.get(column, f'f."{column}"') for column in columns
        )
        connection.execute(
            f"INSERT INTO faces SELECT {chosen} FROM faces f, photos p WHERE p.id > 1"
        )
        connection.commit()
    with database.writing() as session:
        identities.add(session, "Countess")
        assert merges.merge(session, "Countess", ["Ada"]).identity.faces == count
    assert len(remove(database, "Countess")) == count
    assert face_ids(database) == [] and photo_count(database) == 0


def test_pages_hold_everyone_once_in_the_order_of_folded_names(database: Database) -> None:
    everyone = ["Zoe", "\u00c9mile", "emil", "Ada", "ADA", "\u00c4da", "Bob", "adam", "Emilia"]
    in_order = ["Ada", "ADA", "\u00c4da", "adam", "Bob", "emil", "\u00c9mile", "Emilia", "Zoe"]
    with database.writing() as session:
        for name in everyone:
            identities.add(session, name)
        assert [record.name for record in identities.list_all(session)] == in_order
        for limit in range(1, len(everyone) + 1):
            found, after = [], None
            while True:
                page = identities.page(session, after=after, limit=limit)
                assert page.total == len(everyone) and len(page.identities) <= limit
                found += [record.name for record in page.identities]
                if not page.has_more:
                    break
                after = page.identities[-1].name, page.identities[-1].id
            assert found == in_order
            offsets = range(0, len(everyone), limit)
            skipped = [identities.page(session, limit=limit, offset=o).identities for o in offsets]
            assert [record.name for page_ in skipped for record in page_] == in_order


def test_page_after_someone_who_is_gone_leaves_nobody_out(database: Database) -> None:
    with database.writing() as session:
        for name in ("Ada", "Bob", "Cleo", "Dora"):
            identities.add(session, name)
        last = identities.page(session, limit=2).identities[-1]
        identities.remove(session, last.id)
        identities.remove(session, identities.get(session, "Ada").id)
        page = identities.page(session, after=(last.name, last.id))
        assert [record.name for record in page.identities] == ["Cleo", "Dora"]


def test_search_finds_parts_of_names_as_they_are_written(database: Database) -> None:
    written = ["J\u00fcrgen M\u00fcller", "100% Sure", "under_score", "O'Neil", "Stra\u00dfe"]
    with database.writing() as session:
        for name in written:
            identities.add(session, name)
        for search, found in (
            ("MULL", written[:1]),
            ("n mu", written[:1]),
            ("%", written[1:2]),  # no placeholder, as in LIKE
            ("r_s", written[2:3]),
            ("rs", []),
            ("\u2019neil", written[3:4]),
            ("asse", written[4:]),
            ("*", []),
            ("\0", []),
            ("\udcff", []),
            ("", sorted(written)),
        ):
            assert sorted(r.name for r in identities.list_all(session, search)) == found, search
            page = identities.page(session, search, limit=1)
            assert page.total == len(found) and page.has_more == (len(found) > 1), search


def test_pages_and_searches_sort_nothing_and_read_one_index(database: Database) -> None:
    statements: list[str] = []
    with database.reading() as session:
        connection = session.connection().connection.driver_connection
        assert connection is not None
        connection.set_trace_callback(statements.append)
        identities.page(session, "ada", after=("Bob", 7))
        identities.page(session, offset=3)
        identities.page(session, near="Ada")
        connection.set_trace_callback(None)
        listing = [s for s in statements if "FROM identities" in s]
        for statement in listing:
            plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}"))
            assert "ix_identities_folded_name" in plan and "TEMP B-TREE" not in plan, plan
    assert len(listing) == 4
