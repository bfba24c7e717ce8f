"""Step 4 of the walk: from an encoding to the nearest enrolled faces of the nearest identities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gallery.store import faces, identities
from gallery.store.database import Database
from gallery.store.records import FaceRecord, StoredEncodings
from gallery.sync import IndexCopy
from gallery.types import Encodings

_FIRST_K = 32


@dataclass(frozen=True)
class CandidateFaces:
    """Enrolled faces near one query, exact encodings from the database.

    records : what is known of each, in the order of stored.face_ids.
    gallery_faces : how many faces the query was compared with.
    """

    stored: StoredEncodings
    records: tuple[FaceRecord, ...]
    gallery_faces: int


class CandidateFinder:
    """Asks the index for more faces until they belong to enough identities.

    identities : how many. Counting faces instead would let fifty photos of one person hide the
        rival that makes an answer ambiguous.
    """

    def __init__(self, database: Database, index: IndexCopy, *, identities: int) -> None:
        self._database = database
        self._index = index
        self._identities = identities

    def find(self, query: Encodings) -> CandidateFaces:
        """The candidates of one query, (1, 128)."""
        k = _FIRST_K
        while True:
            near = self._index.search(query.vectors, k).ids[0]
            near = near[near >= 0]
            with self._database.reading() as session:
                stored = faces.encodings_by_id(session, near.tolist())
                wanted = min(self._identities, identities.count(session))
                enough = len(np.unique(stored.identity_ids)) >= wanted
                if enough or len(near) < k:
                    records = faces.records_by_id(session, near.tolist())
                    return CandidateFaces(
                        stored,
                        tuple(records[i] for i in stored.face_ids.tolist()),
                        faces.count(session),
                    )
            k *= 2
