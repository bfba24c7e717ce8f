"""An erased person leaves the index, in memory and in its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gallery.erasure.erase import Eraser
from gallery.errors import DatabaseBusy, GalleryError, HomeError, IdentityNotFound
from gallery.gallery import Gallery
from gallery.matching.index import IndexReplica
from gallery.matching.scorer import Scorer
from gallery.store import faces, identities
from gallery.store.database import Database
from gallery.store.records import Receipt
from gallery.types import DIMENSION, Encodings
from indexer import load_index
from tests.matching.conftest import (
    ENGINE,
    OpenReplica,
    assert_agrees,
)

# Erasure


def no_scorer() -> Scorer:
    raise AssertionError("no head was trained and no calibration made")


def forget(database: Database, index: IndexReplica, name: str) -> Receipt:
    home = database.file.parent
    return Eraser(database, index, no_scorer, home=home, cache=home / "cache").erase_identity(name)


def contents_of(folder: Path) -> bytes:
    return b"".join(f.read_bytes() for f in sorted(folder.iterdir()) if f.is_file())


def test_forgotten_person_is_in_no_file_and_no_result(
    database: Database,
    tmp_path: Path,
    open_replica: OpenReplica,
    face_ids: list[int],
    rows: Encodings,
) -> None:
    replica, other = open_replica(), open_replica()
    replica.save()
    other.catch_up()
    erased_rows = range(4, 30, 6)  # of person 4
    assert b"person 4" in contents_of(tmp_path)
    with database.reading() as session:
        identity_id = identities.get(session, "person 4").id
    receipt = forget(database, replica, "person 4")
    assert (receipt.identity_id, receipt.faces, receipt.whole) == (
        identity_id,
        len(erased_rows),
        True,
    )
    remaining = contents_of(tmp_path)
    assert b"person 4" not in remaining and b"person 3" in remaining
    for i in erased_rows:
        assert rows.vectors[i].tobytes() not in remaining
        assert rows.vectors[i].astype(np.float16).tobytes() not in remaining
    assert rows.vectors[3].astype(np.float16).tobytes() in remaining
    erased_ids = {face_ids[i] for i in erased_rows}
    for index in (replica, other, open_replica()):
        found = index.search(rows.vectors[list(erased_rows)], 40).ids
        assert not erased_ids & set(found.ravel().tolist())
        assert_agrees(index, database)
    with pytest.raises(IdentityNotFound):
        forget(database, replica, "person 4")


def test_forgetting_while_the_database_is_read_still_erases_from_the_index_file(
    database: Database, file: Path, open_replica: OpenReplica, face_ids: list[int]
) -> None:
    impatient = Database(database.file, busy_timeout=0.05)
    replica = open_replica(impatient)
    replica.save()
    with database.reading() as session:
        faces.count(session)
        with pytest.raises(DatabaseBusy):
            forget(impatient, replica, "person 4")
    assert load_index(ENGINE, DIMENSION, file)[0].ids().tolist() == [
        face for i, face in enumerate(face_ids) if i % 6 != 4
    ]
    impatient.close()


def test_database_forgets_even_if_the_index_file_cannot_be_written(
    database: Database, file: Path, open_replica: OpenReplica, face_ids: list[int], rows: Encodings
) -> None:
    replica = open_replica()
    file.mkdir()  # nothing can be renamed over it
    with pytest.raises(HomeError, match=file.name):
        forget(database, replica, "person 4")
    remaining = contents_of(file.parent)
    assert b"person 4" not in remaining and rows.vectors[4].tobytes() not in remaining
    assert b"person 3" in remaining


def test_half_written_index_files_are_erased(
    database: Database, file: Path, open_replica: OpenReplica, face_ids: list[int], rows: Encodings
) -> None:
    replica = open_replica()
    replica.save()
    half_written = file.with_name(f"{file.name}a1b2c3d4.part")
    half_written.write_bytes(file.read_bytes())
    forget(database, replica, "person 4")
    assert rows.vectors[4].astype(np.float16).tobytes() not in contents_of(file.parent)


def test_unwritable_index_file_is_a_gallery_error(
    gallery: Gallery, rows: Encodings, add_face
) -> None:
    add_face(gallery.database, "Ada", rows.row(0), 0)
    (gallery.settings.home / "faces.index").mkdir()
    with pytest.raises(GalleryError):
        gallery.forget("Ada")
    assert gallery.identities() == []
    with Gallery.open(gallery.settings.home, cache=gallery.settings.cache) as reopened:
        assert reopened.identities() == []
        assert {f.part for f in reopened.check() if not f.ok} >= {"database"}
