"""A merge is taken back whole, however it was stacked, and holds nothing of who was erased."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from gallery.errors import IdentityExists, MergeEmpty, MergeNotFound, MergeTooOld
from gallery.store import corrections, faces, identities, kept_images, merges
from gallery.store.change_log import changed_since, latest_change
from gallery.store.database import Database
from tests.conftest import AddFace, UnitRows


def picture(database: Database) -> dict[str, object]:
    """Everything of everyone that a merge may touch."""
    with database.reading() as session:
        stored = faces.encodings_of(session, identities.ids(session))
        return {
            "people": [
                (r.id, r.name, r.external_id, r.details, r.faces, r.created_at)
                for r in identities.list_all(session)
            ],
            "faces": faces.records(session),
            "encodings": stored.encodings.vectors.tobytes(),
            "distinct": merges.all_distinct(session),
            "photos": session.scalar(text("SELECT count(*) FROM photos")),
        }


def merged(database: Database, keep: str, *others: str) -> int:
    with database.writing() as session:
        return merges.merge(session, keep, others).merge_id


def undone(database: Database, merge_id: int) -> list[str]:
    with database.writing() as session:
        return [record.name for record in merges.undo(session, merge_id)]


@pytest.fixture
def people(database: Database, unit_rows: UnitRows, add_face: AddFace) -> Database:
    """Ada and Countess share photo 2; Bob; Eve."""
    rows = unit_rows(6, 1)
    for i, (name, photo) in enumerate(
        [("Ada", 1), ("Ada", 2), ("Countess", 2), ("Countess", 3), ("Bob", 4), ("Eve", 5)]
    ):
        add_face(database, name, rows.row(i), photo)
    with database.writing() as session:
        identities.describe(session, "Ada", None, {"born": "1815"})
        identities.describe(session, "Countess", "c1", {"born": "?", "title": "countess"})
        kept_images.add_thumbnail(session, 3, b"jpeg")
        bob, countess = identities.get(session, "Bob").id, identities.get(session, "Countess").id
        merges.keep_distinct(session, countess, [bob])
    return database


def test_undoing_puts_everything_back(people: Database) -> None:
    before = picture(people)
    number = merged(people, "Ada", "Countess", "Eve")
    with people.reading() as session:
        ada = identities.get(session, "Ada")
        assert (ada.faces, ada.external_id) == (4, "c1")
        assert ada.details == {"born": "1815", "title": "countess"}
        assert merges.all_distinct(session) == {
            tuple(sorted((ada.id, identities.get(session, "Bob").id)))
        }
        position = latest_change(session)
    assert undone(people, number) == ["Ada", "Countess", "Eve"]
    assert picture(people) == before and people.problems() == []
    with people.reading() as session:
        assert changed_since(session, position) == [3]  # the face that was put aside is back
        assert kept_images.thumbnail(session, 3) == b"jpeg"
        assert merges.list_merges(session) == []
    with pytest.raises(MergeNotFound, match="no merge 1"):
        undone(people, number)


def test_what_was_called_right_is_so_after_a_merge_and_its_undoing(people: Database) -> None:
    with people.writing() as session:
        ada, countess = (identities.get(session, name).id for name in ("Ada", "Countess"))
        for face, owner in ((1, ada), (3, countess), (4, countess)):
            corrections.call_right(session, face, owner)
    number = merged(people, "Ada", "Countess")  # face 3 is put aside
    with people.writing() as session:
        assert corrections.known_right(session) == {(1, ada), (4, ada)}
    undone(people, number)
    with people.writing() as session:
        assert corrections.known_right(session) == {(1, ada), (3, countess), (4, countess)}
    number = merged(people, "Ada", "Countess")
    with people.writing() as session:
        corrections.uncall_right(session, 4)
    undone(people, number)
    with people.reading() as session:
        assert corrections.known_right(session) == {(1, ada), (3, countess)}


def test_merges_on_merges_are_undone_from_the_top(people: Database) -> None:
    before = picture(people)
    first = merged(people, "Countess", "Eve")
    second = merged(people, "Ada", "Countess")
    third = merged(people, "Bob", "Ada")
    for too_old in (first, second):
        with pytest.raises(MergeTooOld):
            undone(people, too_old)
    assert undone(people, third) == ["Bob", "Ada"]
    with pytest.raises(MergeTooOld):
        undone(people, first)
    undone(people, second)
    undone(people, first)
    assert picture(people) == before and people.problems() == []


def test_what_came_since_stays_with_the_one_that_was_kept(
    people: Database, unit_rows: UnitRows, add_face: AddFace
) -> None:
    number = merged(people, "Ada", "Countess")
    new = add_face(people, "Ada", unit_rows(1, 9).row(0), 9)
    with people.writing() as session:
        identities.rename(session, "Ada", "Ada Lovelace")
        identities.describe(session, "Ada Lovelace", None, {"died": "1852"})
    assert undone(people, number) == ["Ada Lovelace", "Countess"]
    with people.reading() as session:
        ada = identities.get(session, "Ada Lovelace")
        assert ada.details["died"] == "1852"
        assert [f.id for f in faces.records(session, identity_id=ada.id)] == [1, 2, new]
        assert identities.get(session, "Countess").faces == 2


def test_a_name_that_was_taken_stops_it_and_nothing_is_changed(people: Database) -> None:
    number = merged(people, "Ada", "Countess", "Eve")
    with people.writing() as session:
        identities.add(session, "Eve")
    before = picture(people)
    with pytest.raises(IdentityExists, match="Eve"):
        undone(people, number)
    assert picture(people) == before


def test_who_is_erased_takes_what_was_merged_in_with_them(people: Database) -> None:
    first = merged(people, "Countess", "Eve")
    second = merged(people, "Ada", "Countess")
    with people.writing() as session:
        identities.remove(session, identities.get(session, "Ada").id)
    for number in (first, second):
        with pytest.raises(MergeNotFound):
            undone(people, number)
    with people.reading() as session:
        for table in ("merges", "thumbnails", "distinct_people"):
            assert session.scalar(text(f"SELECT count(*) FROM {table}")) == 0
        assert [r.name for r in identities.list_all(session)] == ["Bob"]
    assert people.problems() == []


def test_an_identity_cannot_be_merged_with_itself(people: Database) -> None:
    with pytest.raises(MergeEmpty, match="Ada"):
        merged(people, "Ada", "Ada")
    with people.reading() as session:
        assert merges.list_merges(session) == []


def test_two_people_are_told_apart_and_not(people: Database) -> None:
    with people.writing() as session:
        ada, bob = (identities.get(session, name).id for name in ("Ada", "Bob"))
        merges.keep_distinct(session, bob, [ada, bob])
        assert merges.distinct_from(session, ada) == {bob}
        merges.keep_distinct(session, ada, [bob])
        merges.forget_distinct(session, ada, bob)
        assert merges.distinct_from(session, ada) == set()
