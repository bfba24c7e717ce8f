"""A name that differs only in case, accents or spacing means the person; two such names are asked
about."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from gallery.errors import IdentityExists, IdentityNotFound, NameAmbiguous
from gallery.gallery import Gallery
from gallery.store import identities
from gallery.store.database import Database
from tests.conftest import AddFace, UnitRows


@pytest.fixture
def two_alike(database: Database) -> Database:
    with database.writing() as session:
        for name in ("Mei Lin", "mei-lin", "José Núñez", "Анна"):
            identities.add(session, name)
    return database


def test_exact_name_wins(two_alike: Database) -> None:
    with two_alike.reading() as session:
        assert identities.get(session, "Mei Lin").name == "Mei Lin"
        assert identities.get(session, "mei-lin").name == "mei-lin"
        assert [record.name for record in identities.near(session, "mei lin")] == [
            "Mei Lin",
            "mei-lin",
        ]


@pytest.mark.parametrize("name", ["jose nunez", "José_Núñez", "JOSE-NUNEZ"])
def test_one_near_name_is_meant(two_alike: Database, name: str) -> None:
    with two_alike.reading() as session:
        assert identities.get(session, name).name == "José Núñez"
        found = identities.meant(session, name)
        assert found is not None and found.name == "José Núñez"
        assert identities.find(session, name) is None
        with pytest.raises(IdentityNotFound, match="did you mean 'José Núñez'"):
            identities.get(session, name, exact=True)


def test_two_near_names_are_refused_naming_both(two_alike: Database) -> None:
    for look_up in (identities.get, identities.meant):
        with (
            pytest.raises(NameAmbiguous, match=r"'MEI LIN' may be 'Mei Lin' \(id 1\) or 'mei-lin'"),
            two_alike.reading() as session,
        ):
            look_up(session, "MEI LIN")


def test_unknown_name_suggests_similar_ones(two_alike: Database) -> None:
    with two_alike.reading() as session:
        with pytest.raises(IdentityNotFound, match="did you mean 'José Núñez'"):
            identities.get(session, "Jose Nunes")
        with pytest.raises(IdentityNotFound) as unknown:
            identities.get(session, "Zacharias Frankenstein")
        assert "did you mean" not in str(unknown.value)
        assert identities.meant(session, "Anna") is None  # Latin


def test_rename_to_a_near_name_is_refused_unless_new(two_alike: Database) -> None:
    with two_alike.writing() as session:
        assert identities.rename(session, "José Núñez", "Jose Nunez").name == "Jose Nunez"
    with (
        pytest.raises(IdentityExists, match="'Анна', whose name is near 'анна'"),
        two_alike.writing() as session,
    ):
        identities.rename(session, "Jose Nunez", "анна")
    with two_alike.writing() as session:
        identities.rename(session, "Jose Nunez", "анна", new=True)
    with two_alike.reading() as session:
        assert [r.name for r in identities.near(session, "АННА")] == ["Анна", "анна"]  # noqa: RUF001


def test_near_names_are_found_by_an_index(two_alike: Database) -> None:
    with two_alike.reading() as session:
        plan = session.execute(
            text("EXPLAIN QUERY PLAN SELECT id FROM identities WHERE folded_name = 'mei lin'")
        ).all()
    assert "USING COVERING INDEX ix_identities_folded_name" in plan[0][-1]


def test_merging_and_erasing_need_the_exact_name(
    gallery: Gallery, unit_rows: UnitRows, add_face: AddFace
) -> None:
    rows = unit_rows(2, 1)
    add_face(gallery.database, "Mei Lin", rows.row(0), 1)
    add_face(gallery.database, "Ada", rows.row(1), 2)
    assert gallery.identity("mei lin")[0].name == "Mei Lin"
    with pytest.raises(IdentityNotFound, match="did you mean 'Mei Lin'"):
        gallery.merge("Ada", ["mei lin"])
    with pytest.raises(IdentityNotFound, match="did you mean 'Mei Lin'"):
        gallery.forget("mei lin")
    assert len(gallery.identities()) == 2
    receipt = gallery.forget("Mei Lin")
    assert receipt.whole
    content = b"".join(f.read_bytes() for f in gallery.settings.home.iterdir() if f.is_file())
    assert b"mei lin" not in content and b"Mei Lin" not in content


def test_erasing_leaves_another_person_of_a_near_name(
    gallery: Gallery, unit_rows: UnitRows, add_face: AddFace
) -> None:
    rows = unit_rows(2, 1)
    add_face(gallery.database, "Mei Lin", rows.row(0), 1)
    add_face(gallery.database, "mei-lin", rows.row(1), 2)
    assert gallery.forget("Mei Lin").whole
    assert gallery.identity("Mei Lin")[0].name == "mei-lin"
