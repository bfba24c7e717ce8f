"""Files of every released schema are migrated completely, or left unchanged.

`versions/NNNN.db` was written by the program with that schema, with random encodings.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
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
from sqlalchemy import URL, create_engine, select, text

from gallery.config import DATABASE_FILE
from gallery.errors import DatabaseUnusable, HomeError, UndoImpossible
from gallery.gallery import Gallery
from gallery.store import calibrations, faces, identities, kept_images
from gallery.store import merges as merging
from gallery.store.database import SCHEMA, Database
from gallery.store.encryption import sqlcipher_driver
from gallery.store.tables import Base, PhotoRow
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


def test_every_released_schema_has_a_file() -> None:
    """0004 and 0005 were released with 0006. 0007.db is 0006.db, migrated, with dated photos;
    0008.db is 0007.db, migrated, with two near names and an expiry lent with a face; 0009.db is
    0008.db, migrated, with a renamed person and an erased photo; 0010.db is 0009.db, migrated, with
    a photo that was read; 0011.db is 0010.db, migrated, and so on.
    """
    released = {"0001", "0002", "0003", *(f"{number:04}" for number in range(6, 14))}
    assert {path.stem for path in OLD} == released and SCHEMA == "0013"


def test_old_file_is_migrated_completely(home: Path, old: Path) -> None:
    database = Database(home / DATABASE_FILE, busy_timeout=5.0)
    expected = json.loads(old.with_suffix(".json").read_text(encoding="utf-8"))
    with database.reading() as session:
        records = identities.list_all(session)
        rows = faces.encodings_by_id(session, faces.ids(session)).encodings
        stored = calibrations.list_all(session)
        merges = merging.list_all(session)
        taken = {str(f.id): f.taken for f in faces.records(session) if f.taken is not None}
    assert {r.name: r.faces for r in records} == expected["people"]
    assert hashlib.sha256(rows.vectors.tobytes()).hexdigest() == expected["encodings_sha256"]
    assert taken == expected.get("taken", {})
    ada = next(r for r in records if r.name == "Ada")
    assert (ada.external_id, ada.details) == ("1815", {"field": "mathematics"})
    assert [c.evidence for c in stored] == ([None] if old.stem in ("0002", "0003") else [])
    assert len(merges) == {"0003": 1}.get(old.stem, 0 if old.stem < "0003" else 2)
    assert database.problems() == []
    engine = create_engine(URL.create("sqlite", database=str(home / DATABASE_FILE)))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()
    database.close()


def test_migrated_gallery_works(home: Path, old: Path, cache: Path) -> None:
    with Gallery.open(home, cache=cache, threads=1) as gallery:
        assert [f for f in gallery.check() if not f.ok] == []
        restored = [tuple(r.name for r in gallery.undo_merge(made.id)) for made in gallery.merges()]
        merged = [("Dora", "Dorothea"), ("Ada", "Bertha")]  # the newest first
        assert restored == {"0003": merged[1:]}.get(old.stem, [] if old.stem < "0003" else merged)
        record, faces_of_ada = gallery.identity("ADA")
        assert record.name == "Ada"
        receipt = gallery.forget("Ada")
        assert receipt.faces >= 3
        with gallery.database.reading() as session:
            assert identities.count(session) == len(identities.ids(session))
        content = b"".join(f.read_bytes() for f in home.iterdir())
        assert b"mathematics" not in content and b"photos/Ada" not in content
        for face in faces_of_ada:
            assert face.photo_sha256.encode() not in content
            assert bytes.fromhex(face.photo_sha256) not in content


@pytest.mark.parametrize("encrypted", [False, True])
def test_photos_of_many_faces_are_migrated(tmp_path: Path, encrypted: bool) -> None:
    """More than are migrated at a time, with gaps between their ids, also in an encrypted file."""
    file, key = tmp_path / "old.db", secrets.token_hex(32) if encrypted else None
    shutil.copyfile(VERSIONS / "0011.db", file)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.create_function("hash", 1, lambda i: hashlib.sha256(b"%d" % i).hexdigest())
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 3 FROM n WHERE i < 25000)"
            " INSERT INTO photos SELECT i, hash(i), i, 1, '2026-01-02 03:04:05.000000' FROM n"
        )
        columns = [row[1] for row in connection.execute("PRAGMA table_info(faces)")]
        chosen = ", ".join(
            {"id": "p.id", "photo_id": "p.id"}.get(column, f'f."{column}"') for column in columns
        )
        connection.execute(
            f"INSERT INTO faces SELECT {chosen} FROM faces f, photos p WHERE f.id = 1 AND p.id > 99"
        )
        connection.commit()
        photos = "SELECT id, sha256, width, height FROM photos ORDER BY id"
        before = connection.execute(photos).fetchall()
    assert len(before) > 8_000
    if key is not None:
        plain, file = file, tmp_path / "encrypted.db"
        with closing(sqlcipher_driver().connect(plain)) as connection:
            connection.execute(f"ATTACH ? AS other KEY \"x'{key}'\"", [str(file)])
            connection.execute("SELECT sqlcipher_export('other')")
    database = Database(file, busy_timeout=5.0, key=key)
    with database.reading() as session:
        rows = session.scalars(select(PhotoRow).order_by(PhotoRow.id))
        assert [(row.id, row.sha256, row.width, row.height) for row in rows] == before
        digest = "SELECT typeof(sha256), length(sha256) FROM photos GROUP BY 1, 2"
        assert session.execute(text(digest)).all() == [("blob", 32)]
    assert database.problems() == []
    with pytest.raises(DatabaseUnusable, match="FOREIGN KEY"), database.writing() as session:
        session.execute(text("DELETE FROM photos WHERE id = 100"))
    database.close()


def test_failed_migration_leaves_the_file_unchanged(home: Path, old: Path, small_disk) -> None:
    file = home / DATABASE_FILE
    with closing(sqlite3.connect(file)) as connection:  # empty the write-ahead log
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = file.read_bytes()
    with small_disk(4_000):
        if old.stem == SCHEMA:  # it can be read as it is
            opened = Database(file, busy_timeout=0.1)
            assert opened.read_only is not None
            opened.close()
        else:
            with pytest.raises(HomeError):
                Database(file, busy_timeout=0.1)
    assert file.read_bytes() == before
    with closing(sqlite3.connect(file)) as connection:
        version = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    assert version == [(old.stem,)]
    Database(file, busy_timeout=5.0).close()


@pytest.fixture
def used_gallery(tmp_path: Path, cache: Path) -> Iterator[Gallery]:
    """A gallery of schema 0006 with a merge, a moved face, an applied plan with a merge, two
    distinct people, an expiry and kept photos.
    """
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    shutil.copyfile(VERSIONS / "0006.db", home / DATABASE_FILE)
    (home / DATABASE_FILE).chmod(0o600)
    with Gallery.open(home, cache=cache, threads=1) as opened:
        yield opened


USED_GALLERY = json.loads((VERSIONS / "0006.json").read_text(encoding="utf-8"))


def counts(gallery: Gallery) -> dict[str, int]:
    return {record.name: record.faces for record in gallery.identities()}


@pytest.mark.parametrize("probe", USED_GALLERY["probes"])
def test_queries_give_the_recorded_answers(used_gallery: Gallery, probe: dict[str, Any]) -> None:
    vectors = np.frombuffer(base64.b64decode(probe["encoding"]), "<f4")[None].copy()
    ones = np.ones(1, np.float32)
    encoding = Encodings(vectors, 1.4 * ones, 0.997 * ones)
    photo = Photo(np.zeros((1, 1, 3), np.uint8), 1.0, 640, 480, "0" * 64, "probe.jpg")
    face = Face(Box(1.5, 2.0, 101.25, 120.0), np.full((5, 2), 50, np.float32), 0.999, 50.0)
    decision = used_gallery.identifier.decide_face(photo, face, encoding)
    assert decision.outcome.value == probe["outcome"]
    assert (decision.identity.name if decision.identity else None) == probe["identity"]
    assert decision.probability == pytest.approx(probe["probability"], abs=1e-4)
    assert [
        [c.identity.name, pytest.approx(c.similarity, abs=1e-4), c.verdict.value]
        for c in decision.candidates
    ] == probe["candidates"]


def test_old_changes_can_be_undone(used_gallery: Gallery) -> None:
    face, number = USED_GALLERY["moved_face"], USED_GALLERY["plan"]
    assert used_gallery.applied_plans() == [(number, 1, 1)]
    assert used_gallery.undo_plan(number)[1] == ["Dora and Dorothea are apart again"]
    assert used_gallery.move_face(face, "Cäcilie").faces == 4
    (merge,) = used_gallery.merges()
    assert [r.name for r in used_gallery.undo_merge(merge.id)] == ["Ada", "Bertha"]
    before = {"Ada": 3, "Bertha": 3, "Cäcilie": 4, "Émilie": 2, "Dora": 3, "Dorothea": 2}
    assert counts(used_gallery) == {**before, "Fanny": 2, "Greta": 1, "Hilde": 2}
    used_gallery.keep_distinct("Greta", "Hilde", distinct=False)


def test_people_can_be_erased(used_gallery: Gallery) -> None:
    record, faces_of_fanny = used_gallery.identity("Fanny")
    assert record.expires_at == datetime(2199, 12, 31, tzinfo=UTC)
    with used_gallery.database.reading() as session:
        images = [kept_images.get(session, face.id) for face in faces_of_fanny]
    assert all(image is not None and image.kind == "photo" for image in images)
    home = used_gallery.settings.home
    traces = [b"Fanny", b"member", *(image.content[40:] for image in images if image), b"Dorothea"]
    present = b"".join(f.read_bytes() for f in home.iterdir() if f.is_file())
    assert all(trace in present for trace in traces)
    used_gallery.forget("Fanny")
    receipt = used_gallery.forget("Dora")  # Dorothea too, merged into her by the plan
    assert (receipt.faces, len(receipt.also)) == (5, 1)
    left = b"".join(f.read_bytes() for f in home.iterdir() if f.is_file())
    assert not any(trace in left for trace in traces)
    assert "Dora" not in counts(used_gallery)
    with pytest.raises(UndoImpossible):
        used_gallery.undo_plan(USED_GALLERY["plan"])
