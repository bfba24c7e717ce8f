"""An index replica of a small database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from gallery.encoders.weights import DLIB_RESNET
from gallery.matching.index import IndexReplica
from gallery.store import faces, identities
from gallery.store.database import Database
from gallery.types import DIMENSION, Encodings
from indexer import load_index

ENGINE = "faiss"


OpenReplica = Callable[..., IndexReplica]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "faces.index"


@pytest.fixture
def open_replica(database: Database, file: Path) -> Iterator[OpenReplica]:
    """Open an index as another process would; of `database`, unless another is given."""
    opened: list[IndexReplica] = []

    def open_one(other: Database | None = None, encoder: str = DLIB_RESNET.sha256) -> IndexReplica:
        replica = IndexReplica(other or database, file, engine=ENGINE, encoder=encoder)
        opened.append(replica)
        return replica

    yield open_one
    for replica in opened:
        replica.close()


@pytest.fixture
def rows(unit_rows) -> Encodings:
    return unit_rows(40, 1)


@pytest.fixture
def face_ids(database: Database, rows: Encodings, add_face) -> list[int]:
    """Thirty faces of six people, rows 0 to 29."""
    return [add_face(database, f"person {i % 6}", rows.row(i), i) for i in range(30)]


def remove(database: Database, name: str) -> list[int]:
    with database.writing() as session:
        return identities.remove(session, identities.get(session, name).id)


def assert_agrees(replica: IndexReplica, database: Database) -> None:
    """Assert that every face of the database finds itself in the index, which has no others."""
    with database.reading() as session:
        stored = faces.encodings_by_id(session, faces.ids(session))
    index = replica.catch_up()
    assert index.ids().tolist() == stored.face_ids.tolist()
    if len(stored.face_ids):
        found = replica.search(stored.encodings.vectors, 1)
        assert found.ids[:, 0].tolist() == stored.face_ids.tolist()
        np.testing.assert_allclose(found.similarities, 1.0, atol=2e-3)


def save_index(open_replica: OpenReplica) -> None:
    replica = open_replica()
    replica.save()
    replica.close()


def position_of(file: Path) -> int:
    return int(load_index(ENGINE, DIMENSION, file)[1]["position"])
