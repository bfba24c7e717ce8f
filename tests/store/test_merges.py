"""Merges, also nested ones, are undone completely, and hold no data of erased people."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from gallery.errors import IdentityExists, IdentityNotFound, MergeEmpty, MergeNotFound, MergeTooOld
from gallery.store import corrections, faces, identities, kept_images, merges, recalled
from gallery.store.change_log import changed_since, latest_change
from gallery.store.database import Database
from tests.conftest import AddFace, UnitRows
from tests.store.queries import face_ids, latest_position, names, photo_count, snapshot


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


def test_undo_restores_everything(people: Database) -> None:
    before = snapshot(people)
    number = merged(people, "Ada", "Countess", "Eve")
    with people.reading() as session:
        ada = identities.get(session, "Ada")
        assert (ada.faces, ada.external_id) == (4, "c1")
        assert ada.details == {"born": "1815", "title": "countess"}
        assert merges.distinct_pairs(session) == {
            tuple(sorted((ada.id, identities.get(session, "Bob").id)))
        }
        position = latest_change(session)
    assert undone(people, number) == ["Ada", "Countess", "Eve"]
    assert snapshot(people) == before and people.problems() == []
    with people.reading() as session:
        assert sorted(changed_since(session, position)) == [3, 4, 6]  # 3 was set aside
        assert kept_images.thumbnail(session, 3) == b"jpeg"
        assert merges.list_all(session) == []
    with pytest.raises(MergeNotFound, match="no merge 1"):
        undone(people, number)


def test_undo_keeps_what_was_erased_and_enrolled_again_since(people: Database) -> None:
    photos = {name: str(i) * 64 for i, name in enumerate(["before", "again", "since"])}
    with people.writing() as session:
        bob = identities.get(session, "Bob").id
        for name in ("before", "again"):
            recalled.add_photo(session, bob, photos[name])
    number = merged(people, "Ada", "Bob")
    with people.writing() as session:
        ada = identities.get(session, "Ada").id
        recalled.add_photo(session, ada, photos["since"])
        recalled.forget_photo(session, ada, photos["again"])
    undone(people, number)

    def erased(identity_id: int) -> list[str]:
        with people.reading() as session:
            return [
                name
                for name, photo in photos.items()
                if recalled.is_photo_erased(session, identity_id, photo)
            ]

    assert (erased(bob), erased(ada)) == (["before", "since"], ["since"])


def test_confirmed_faces_survive_a_merge_and_its_undo(people: Database) -> None:
    with people.writing() as session:
        ada, countess = (identities.get(session, name).id for name in ("Ada", "Countess"))
        for face, owner in ((1, ada), (3, countess), (4, countess)):
            corrections.confirm_face(session, face, owner)
    number = merged(people, "Ada", "Countess")  # face 3 is set aside
    with people.writing() as session:
        assert corrections.confirmed_faces(session) == {(1, ada), (4, ada)}
    undone(people, number)
    with people.writing() as session:
        assert corrections.confirmed_faces(session) == {(1, ada), (3, countess), (4, countess)}
    number = merged(people, "Ada", "Countess")
    with people.writing() as session:
        corrections.unconfirm_face(session, 4)
    undone(people, number)
    with people.reading() as session:
        assert corrections.confirmed_faces(session) == {(1, ada), (3, countess)}


def test_nested_merges_are_undone_last_first(people: Database) -> None:
    before = snapshot(people)
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
    assert snapshot(people) == before and people.problems() == []


def test_later_changes_stay_with_the_kept_identity(
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


def test_undo_with_a_taken_name_changes_nothing(people: Database) -> None:
    number = merged(people, "Ada", "Countess", "Eve")
    with people.writing() as session:
        identities.add(session, "Eve")
    before = snapshot(people)
    with pytest.raises(IdentityExists, match="Eve"):
        undone(people, number)
    assert snapshot(people) == before


def test_erasing_an_identity_erases_its_merges(people: Database) -> None:
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


def test_identity_cannot_be_merged_with_itself(people: Database) -> None:
    with pytest.raises(MergeEmpty, match="Ada"):
        merged(people, "Ada", "Ada")
    with people.reading() as session:
        assert merges.list_all(session) == []


def test_distinct_decision_is_stored_and_deleted(people: Database) -> None:
    with people.writing() as session:
        ada, bob = (identities.get(session, name).id for name in ("Ada", "Bob"))
        merges.keep_distinct(session, bob, [ada, bob])
        assert merges.distinct_from(session, ada) == {bob}
        merges.keep_distinct(session, ada, [bob])
        merges.forget_distinct(session, ada, bob)
        assert merges.distinct_from(session, ada) == set()


def test_merge_moves_all_faces(database: Database, unit_rows, add_face) -> None:
    rows = unit_rows(6, 13)
    ids = [
        add_face(database, name, rows.row(i), photo)
        for i, (name, photo) in enumerate(
            [
                ("Ada", 1),
                ("Ada", 2),
                ("A. Lovelace", 3),
                ("Countess", 4),
                ("Countess", 5),
                ("Bob", 6),
            ]
        )
    ]
    before = latest_position(database)
    with database.writing() as session:
        kept = merges.merge(session, "Ada", ["A. Lovelace", "Countess", "Ada"]).identity
        assert (kept.name, kept.faces) == ("Ada", 5)
    assert names(database) == ["Ada", "Bob"] and face_ids(database) == ids
    with database.reading() as session:
        assert [r.id for r in faces.records(session, identity_id=kept.id)] == ids[:5]
        stored = faces.encodings_by_id(session, ids)
        assert stored.encodings.vectors.tobytes() == rows.vectors.tobytes()
    with database.reading() as session:
        assert sorted(changed_since(session, before)) == ids[2:5]  # those that moved


def test_merge_sets_aside_a_second_face_from_one_photo_and_logs_it(
    database: Database, unit_rows, add_face
) -> None:
    rows = unit_rows(3, 14)
    kept = add_face(database, "Ada", rows.row(0), 1)
    duplicate = add_face(database, "Countess", rows.row(1), 1)
    own = add_face(database, "Countess", rows.row(2), 2)
    before = latest_position(database)
    with database.writing() as session:
        assert merges.merge(session, "Ada", ["Countess"]).identity.faces == 2
    assert face_ids(database) == [kept, own] and photo_count(database) == 2
    with database.reading() as session:
        assert sorted(changed_since(session, before)) == [duplicate, own]


def test_merged_identities_may_share_a_photo(database: Database, unit_rows, add_face) -> None:
    rows = unit_rows(3, 15)
    for i, (name, photo) in enumerate([("Ada", 1), ("B", 2), ("C", 2)]):
        add_face(database, name, rows.row(i), photo)
    with database.writing() as session:
        assert merges.merge(session, "Ada", ["B", "C"]).identity.faces == 2
    assert names(database) == ["Ada"] and database.problems() == []


def test_merged_identity_may_be_named_twice(database: Database, unit_rows, add_face) -> None:
    rows = unit_rows(2, 23)
    for i, name in enumerate(["Ada", "B"]):
        add_face(database, name, rows.row(i), i)
    with database.writing() as session:
        by_id = str(identities.get(session, "B").id)
        assert merges.merge(session, "Ada", ["B", by_id, "B"]).identity.faces == 2
    assert names(database) == ["Ada"]


def test_merge_with_an_unknown_identity_changes_nothing(
    database: Database, unit_rows, add_face
) -> None:
    for i, name in enumerate(["Ada", "B"]):
        add_face(database, name, unit_rows(2, 16).row(i), i)
    with pytest.raises(IdentityNotFound, match="Eve"), database.writing() as session:
        merges.merge(session, "Ada", ["B", "Eve"])
    assert names(database) == ["Ada", "B"]


def test_merges_are_listed_with_names_the_newest_first(people: Database) -> None:
    first, second = merged(people, "Ada", "Countess", "Bob"), merged(people, "Eve", "Ada")
    with people.reading() as session:
        newest, oldest = merges.list_all(session)
        assert merges.list_all(session, 1) == [newest]
        eve = identities.get(session, "Eve").id
    assert (newest.id, newest.kept_id, newest.kept_name) == (second, eve, "Eve")
    assert (newest.others, newest.names) == ((oldest.kept_id,), ("Ada",))
    assert (oldest.id, oldest.kept_name, oldest.names) == (first, None, ("Countess", "Bob"))
    assert len(oldest.others) == 2 and newest.created_at >= oldest.created_at
