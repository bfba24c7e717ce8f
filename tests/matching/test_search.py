"""Candidates are counted in identities, so that many photos of one person hide nobody."""

from __future__ import annotations

import numpy as np

from gallery.matching.search import CandidateSearch
from gallery.store.database import Database
from gallery.types import DIMENSION, Encodings
from tests.matching.conftest import OpenReplica

# Candidates


def around(base: np.ndarray, noise: float, count: int, seed: int) -> Encodings:
    """Encodings near one direction."""
    random = np.random.default_rng(seed)
    vectors = base + noise * random.normal(size=(count, DIMENSION)) / np.sqrt(DIMENSION)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Encodings(
        vectors.astype(np.float32), np.ones(count, np.float32), np.ones(count, np.float32)
    )


def test_many_photos_of_one_person_do_not_hide_other_identities(
    database: Database, open_replica: OpenReplica, rows: Encodings, face_ids: list[int], add_face
) -> None:
    query = rows.row(39)
    for i in range(100):  # all nearer than any other face
        add_face(database, "frequent", around(query.vectors[0], 0.1, 100, 5).row(i), 100 + i)
    for count in (2, 5, 7):
        found = CandidateSearch(database, open_replica(), identities=count).find(query)
        assert len(np.unique(found.stored.identity_ids)) >= count
        owners = dict(
            zip(found.stored.face_ids.tolist(), found.stored.identity_ids.tolist(), strict=True)
        )
        assert all(owners[r.id] == r.identity.id == i for i, r in found.nearest.items())
        assert found.nearest.keys() == set(owners.values())
        assert np.unique(list(owners.values()), return_counts=True)[1].max() == 100


def test_all_identities_are_candidates_if_there_are_few(
    database: Database, open_replica: OpenReplica, rows: Encodings, face_ids: list[int]
) -> None:
    found = CandidateSearch(database, open_replica(), identities=50).find(rows.row(35))
    assert found.stored.face_ids.tolist() == face_ids
    order = [face_ids.index(i) for i in found.stored.face_ids.tolist()]
    assert found.stored.encodings.vectors.tobytes() == rows.vectors[order].tobytes()


def test_empty_gallery_has_no_candidates(
    database: Database, open_replica: OpenReplica, rows: Encodings
) -> None:
    found = CandidateSearch(database, open_replica(), identities=10).find(rows.row(0))
    assert found.nearest == {} and len(found.stored.encodings) == 0


def test_nearest_identities_are_candidates(
    database: Database, open_replica: OpenReplica, rows: Encodings, face_ids: list[int], unit_rows
) -> None:
    search = CandidateSearch(database, open_replica(), identities=3)
    for i in range(10):
        query = unit_rows(10, 6).row(i)
        cosines = rows.vectors[:30] @ query.vectors[0]
        nearest = list(dict.fromkeys(int(j) % 6 for j in np.argsort(-cosines)))[:3]
        found = search.find(query)
        names = {record.identity.name for record in found.nearest.values()}
        assert {f"person {j}" for j in nearest} <= names
