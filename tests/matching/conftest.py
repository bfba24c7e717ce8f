"""An index replica of a small database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gallery.encoders.weights import DLIB_RESNET
from gallery.matching.index import IndexReplica
from gallery.store.database import Database
from gallery.types import Encodings

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
