"""Files of every released schema are brought forward whole, or left as they were.

`versions/NNNN.db` was written by the program of that schema: random encodings of nobody.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import URL, create_engine

from gallery.errors import HomeError, UndoImpossible
from gallery.gallery import Gallery
from gallery.runtime import DATABASE_FILE
from gallery.store import calibrations, faces, identities, kept_images
from gallery.store import merges as merging
from gallery.store.database import SCHEMA, Database
from gallery.store.tables import Base
from gallery.types import Box, Encodings, Face, Photo

VERSIONS = Path(__file__).parents[1] / "versions"
OLD = sorted(VERSIONS.glob("*.db"))


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
    """0004 and 0005 came with 0006. With the next schema a file of that one belongs here."""
    assert [path.stem for path in OLD] == ["0001", "0002", "0003", "0006"]
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
    assert [c.evidence for c in kept] == ([None] if old.stem in ("0002", "0003") else [])
    assert len(merges) == {"0003": 1, "0006": 2}.get(old.stem, 0)
    assert database.problems() == []
    engine = create_engine(URL.create("sqlite", database=str(home / DATABASE_FILE)))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()
    database.close()


def test_the_gallery_works_on(home: Path, old: Path, cache: Path) -> None:
    with Gallery.open(home, cache=cache, threads=1) as gallery:
        assert [f for f in gallery.check() if not f.ok] == []
        back = [tuple(r.name for r in gallery.undo_merge(made.id)) for made in gallery.merges()]
        merged = [("Dora", "Dorothea"), ("Ada", "Bertha")]  # the newest first
        assert back == {"0003": merged[1:], "0006": merged}.get(old.stem, [])
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


@pytest.fixture
def lived_in(tmp_path: Path, cache: Path) -> Iterator[Gallery]:
    """A gallery of schema 0006 with a merge, a moved face, an applied plan that merged two, two
    people told apart, an expiry and kept photos.
    """
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    shutil.copyfile(VERSIONS / "0006.db", home / DATABASE_FILE)
    (home / DATABASE_FILE).chmod(0o600)
    with Gallery.open(home, cache=cache, threads=1) as opened:
        yield opened


LIVED_IN = json.loads((VERSIONS / "0006.json").read_text(encoding="utf-8"))


def counts(gallery: Gallery) -> dict[str, int]:
    return {record.name: record.faces for record in gallery.identities()}


@pytest.mark.parametrize("probe", LIVED_IN["probes"])
def test_it_answers_as_it_did(lived_in: Gallery, probe: dict[str, Any]) -> None:
    vectors = np.frombuffer(base64.b64decode(probe["encoding"]), "<f4")[None].copy()
    one = np.ones(1, np.float32)
    encoding = Encodings(vectors, 1.4 * one, 0.997 * one)
    photo = Photo(np.zeros((1, 1, 3), np.uint8), 1.0, 640, 480, "0" * 64, "probe.jpg")
    face = Face(Box(1.5, 2.0, 101.25, 120.0), np.full((5, 2), 50, np.float32), 0.999, 50.0)
    decision = lived_in.identifier.decide(photo, face, encoding)
    assert decision.outcome.value == probe["outcome"]
    assert (decision.identity.name if decision.identity else None) == probe["identity"]
    assert decision.probability == pytest.approx(probe["probability"], abs=1e-4)
    assert [
        [c.identity.name, pytest.approx(c.similarity, abs=1e-4), c.verdict.value]
        for c in decision.candidates
    ] == probe["candidates"]


def test_what_was_done_in_it_can_be_undone(lived_in: Gallery) -> None:
    face, number = LIVED_IN["moved_face"], LIVED_IN["plan"]
    assert lived_in.applied_plans() == [(number, 1, 1)]
    assert lived_in.undo_plan(number)[1] == ["Dora and Dorothea are apart again"]
    assert lived_in.move_face(face, "Cäcilie").faces == 4
    (merge,) = lived_in.merges()
    assert [r.name for r in lived_in.undo_merge(merge.id)] == ["Ada", "Bertha"]
    before = {"Ada": 3, "Bertha": 3, "Cäcilie": 4, "Émilie": 2, "Dora": 3, "Dorothea": 2}
    assert counts(lived_in) == {**before, "Fanny": 2, "Greta": 1, "Hilde": 2}
    lived_in.keep_distinct("Greta", "Hilde", distinct=False)


def test_its_people_can_be_erased(lived_in: Gallery) -> None:
    record, faces_of_fanny = lived_in.identity("Fanny")
    assert record.expires_at == datetime(2199, 12, 31, tzinfo=UTC)
    with lived_in.database.reading() as session:
        kept = [kept_images.get(session, face.id) for face in faces_of_fanny]
    assert all(picture is not None and picture.kind == "photo" for picture in kept)
    home = lived_in.settings.home
    traces = [b"Fanny", b"member", *(p.content[40:] for p in kept if p), b"Dorothea"]
    present = b"".join(f.read_bytes() for f in home.iterdir() if f.is_file())
    assert all(trace in present for trace in traces)
    lived_in.forget("Fanny")
    receipt = lived_in.forget("Dora")  # Dorothea too, whom the plan made one with her
    assert (receipt.faces, len(receipt.also)) == (5, 1)
    left = b"".join(f.read_bytes() for f in home.iterdir() if f.is_file())
    assert not any(trace in left for trace in traces)
    assert "Dora" not in counts(lived_in)
    with pytest.raises(UndoImpossible):
        lived_in.undo_plan(LIVED_IN["plan"])
