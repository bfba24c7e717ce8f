"""Files of every released schema are brought forward whole, or left as they were.

`versions/NNNN.db` was written by the program of that schema: random encodings of nobody.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import URL, create_engine

from gallery.assembly import Gallery
from gallery.errors import HomeError
from gallery.parts import DATABASE_FILE
from gallery.store import calibrations, faces, identities, merging
from gallery.store.database import SCHEMA, Database
from gallery.store.tables import Base

OLD = sorted((Path(__file__).parents[1] / "versions").glob("*.db"))


@pytest.fixture(params=OLD, ids=lambda path: path.stem)
def old(request: pytest.FixtureRequest) -> Path:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def home(tmp_path: Path, old: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    shutil.copyfile(old, home / DATABASE_FILE)
    (home / DATABASE_FILE).chmod(0o600)
    return home


def test_every_schema_that_was_in_use_is_kept_here() -> None:
    """0004 and 0005 came with 0006. With the next schema a file of this one belongs here."""
    assert [path.stem for path in OLD] == ["0001", "0002", "0003"]
    assert SCHEMA == "0006"


def test_it_is_brought_forward_whole(home: Path, old: Path) -> None:
    database = Database(home / DATABASE_FILE, busy_timeout=5.0)
    told = json.loads(old.with_suffix(".json").read_text(encoding="utf-8"))
    with database.reading() as session:
        found = identities.list_all(session)
        rows = faces.encodings_by_id(session, faces.ids(session)).encodings
        kept = calibrations.list_all(session)
        merges = merging.list_merges(session)
    assert {r.name: r.faces for r in found} == told["people"]
    assert hashlib.sha256(rows.vectors.tobytes()).hexdigest() == told["encodings_sha256"]
    ada = next(r for r in found if r.name == "Ada")
    assert (ada.external_id, ada.details) == ("1815", {"field": "mathematics"})
    assert [c.evidence for c in kept] == ([] if old.stem < "0002" else [None])
    assert len(merges) == (old.stem >= "0003")
    assert database.problems() == []
    engine = create_engine(URL.create("sqlite", database=str(home / DATABASE_FILE)))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()
    database.close()


def test_the_gallery_works_on(home: Path, old: Path, cache: Path) -> None:
    with Gallery.open(home, cache=cache, threads=1) as gallery:
        assert [f for f in gallery.check() if not f.ok] == []
        for made in gallery.merges():
            assert [r.name for r in gallery.undo_merge(made.id)] == ["Ada", "Bertha"]
        receipt = gallery.forget("Ada")
        assert receipt.faces >= 3
        content = b"".join(f.read_bytes() for f in home.iterdir())
        assert b"mathematics" not in content and b"photos/Ada" not in content


def test_one_that_fails_leaves_the_file_as_it_was(home: Path, old: Path, small_disk) -> None:
    file = home / DATABASE_FILE
    with closing(sqlite3.connect(file)) as connection:  # its log is empty
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = file.read_bytes()
    with small_disk(4_000), pytest.raises(HomeError):
        Database(file, busy_timeout=0.1)
    assert file.read_bytes() == before
    with closing(sqlite3.connect(file)) as connection:
        found = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    assert found == [(old.stem,)]
    Database(file, busy_timeout=5.0).close()
