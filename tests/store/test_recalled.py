"""What is recalled of people: whose name was it once?"""

from __future__ import annotations

import pytest

from gallery.store import identities, recalled
from gallery.store.database import Database


@pytest.fixture
def renamed(database: Database) -> Database:
    """Robert was Bob, Giuseppe was José, Peppe was Jose; there is another Bob B. now."""
    with database.writing() as session:
        for former, name in (
            ("Bob", "Robert"),
            ("Bob B.", "Barnaby"),
            ("José", "Giuseppe"),
            ("Jose", "Peppe"),
        ):
            identities.add(session, former)
            identities.rename(session, former, name)
        identities.add(session, "bob b")
    return database


def test_former_name_is_known_by_a_near_one(renamed: Database) -> None:
    names = ["bob", "BOB", "José", "Jose", "JOSE", "Bob B.", "Bob B", "Nobody"]
    with renamed.reading() as session:
        held = recalled.holders(session, names)
        ids = {record.name: record.id for record in identities.list_all(session)}
    assert held == {
        "bob": ids["Robert"],
        "BOB": ids["Robert"],
        "José": ids["Giuseppe"],
        "Jose": ids["Peppe"],  # and "JOSE" may be either
        "Bob B.": ids["Barnaby"],  # and "Bob B" is near somebody's name now
    }


def test_many_names_are_looked_up(renamed: Database) -> None:
    with renamed.reading() as session:
        names = [*(f"stranger {i}" for i in range(40_000)), "bob"]
        assert recalled.holders(session, names).keys() == {"bob"}
