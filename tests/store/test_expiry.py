"""An order to erase a person is not lost by merging them or moving their faces."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gallery.store import corrections, identities, merges
from gallery.store.database import Database
from tests.conftest import AddFace, UnitRows

SOON, LATE = datetime(2031, 1, 1, tzinfo=UTC), datetime(2041, 1, 1, tzinfo=UTC)


@pytest.fixture
def people(database: Database, unit_rows: UnitRows, add_face: AddFace) -> Database:
    """Ada with faces 1 to 3, Bob with face 4, Eve with face 5. Ada is to be erased soon."""
    rows = unit_rows(5, 1)
    for i, name in enumerate(("Ada", "Ada", "Ada", "Bob", "Eve")):
        add_face(database, name, rows.row(i), i)
    set_expiry(database, "Ada", SOON)
    return database


def set_expiry(database: Database, name: str, moment: datetime | None) -> None:
    with database.writing() as session:
        identities.set_expiry(session, name, moment)


def expiry(database: Database, name: str) -> datetime | None:
    with database.reading() as session:
        return identities.get(session, name).expires_at


def move(database: Database, face: int, name: str) -> corrections.Step:
    with database.writing() as session:
        return corrections.move(session, face, identities.get(session, name).id)


@pytest.mark.parametrize(
    ("bob", "merged"), [(None, SOON), (LATE, SOON), (datetime(2030, 1, 1, tzinfo=UTC), None)]
)
@pytest.mark.parametrize("keep", ["Ada", "Bob"])
def test_merge_keeps_the_earliest_and_undo_restores_each(
    people: Database, keep: str, bob: datetime | None, merged: datetime | None
) -> None:
    set_expiry(people, "Bob", bob)
    with people.writing() as session:
        (other,) = {"Ada", "Bob"} - {keep}
        number = merges.merge(session, keep, [other]).merge_id
    assert expiry(people, keep) == (merged or bob)
    with people.writing() as session:
        merges.undo(session, number)
    assert (expiry(people, "Ada"), expiry(people, "Bob")) == (SOON, bob)


def test_expiry_set_after_a_merge_counts_for_all(people: Database) -> None:
    with people.writing() as session:
        number = merges.merge(session, "Bob", ["Ada", "Eve"]).merge_id
    set_expiry(people, "Bob", LATE)
    with people.writing() as session:
        merges.undo(session, number)
    assert [expiry(people, name) for name in ("Bob", "Ada", "Eve")] == [LATE, SOON, LATE]


@pytest.mark.parametrize("bob", [None, LATE])
def test_moved_faces_take_the_expiry_along_and_back(people: Database, bob: datetime | None) -> None:
    set_expiry(people, "Bob", bob)
    move(people, 1, "Bob")
    move(people, 2, "Bob")
    assert (expiry(people, "Ada"), expiry(people, "Bob")) == (SOON, SOON)
    move(people, 1, "Ada")
    assert expiry(people, "Bob") == SOON  # a face that is to be erased is still there
    move(people, 2, "Ada")
    assert (expiry(people, "Ada"), expiry(people, "Bob")) == (SOON, bob)


def test_expiry_cannot_be_shaken_off_on_the_way(people: Database) -> None:
    move(people, 1, "Bob")
    move(people, 1, "Eve")
    assert (expiry(people, "Bob"), expiry(people, "Eve")) == (None, SOON)
    move(people, 1, "Bob")
    assert (expiry(people, "Bob"), expiry(people, "Eve")) == (SOON, None)
    move(people, 1, "Ada")
    assert [expiry(people, name) for name in ("Ada", "Bob", "Eve")] == [SOON, None, None]


def test_earlier_expiry_of_the_new_identity_stays(people: Database) -> None:
    set_expiry(people, "Ada", LATE)
    set_expiry(people, "Bob", SOON)
    move(people, 1, "Bob")
    assert (expiry(people, "Ada"), expiry(people, "Bob")) == (LATE, SOON)
    move(people, 1, "Ada")
    assert (expiry(people, "Ada"), expiry(people, "Bob")) == (LATE, SOON)


def test_face_that_only_passed_through_brings_nothing_home(people: Database) -> None:
    move(people, 5, "Ada")  # Eve's, to somebody who is to be erased
    move(people, 5, "Eve")
    assert (expiry(people, "Ada"), expiry(people, "Eve")) == (SOON, None)


def test_identity_is_due_at_the_earliest_that_its_faces_brought(people: Database) -> None:
    set_expiry(people, "Eve", LATE)
    for face in (1, 5):
        move(people, face, "Bob")
    assert expiry(people, "Bob") == SOON
    move(people, 1, "Ada")
    assert expiry(people, "Bob") == LATE
    move(people, 4, "Eve")  # Bob's own
    assert (expiry(people, "Bob"), expiry(people, "Eve")) == (LATE, LATE)


def test_erasing_a_face_takes_back_what_it_brought(people: Database) -> None:
    move(people, 1, "Bob")
    with people.writing() as session:
        identities.delete_faces(session, [1])
    assert expiry(people, "Bob") is None


def test_expiry_that_the_user_sets_is_not_taken_back(people: Database) -> None:
    move(people, 1, "Bob")
    set_expiry(people, "Bob", LATE)
    move(people, 1, "Ada")
    assert expiry(people, "Bob") == LATE


def test_undo_of_a_plans_move_restores_the_expiry(people: Database) -> None:
    step = move(people, 1, "Bob")
    with people.writing() as session:
        assert corrections.move_back(session, step)
    assert (expiry(people, "Ada"), expiry(people, "Bob")) == (SOON, None)
