"""Step 4 of the walk: from an encoding to the nearest enrolled faces of the nearest identities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gallery.matching.index import IndexCopy
from gallery.store import faces, identities
from gallery.store.database import Database
from gallery.store.records import FaceRecord, StoredEncodings
from gallery.types import Encodings

_FIRST_K = 32


@dataclass(frozen=True)
class CandidateFaces:
    """The identities near one query, with the exact encodings of all their faces.

    nearest : each identity's face that is most like the query, by identity id.
    """

    stored: StoredEncodings
    nearest: dict[int, FaceRecord]


class CandidateSearch:
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
                    everything = faces.encodings_of(session, np.unique(stored.identity_ids))
                    records = faces.records_by_id(session, _nearest(everything, query))
                    return CandidateFaces(
                        everything, {record.identity.id: record for record in records.values()}
                    )
            k *= 2


def _nearest(stored: StoredEncodings, query: Encodings) -> list[int]:
    """The id of each identity's face that is most like the query."""
    cosines = stored.encodings.vectors @ query.vectors[0]
    found = {}
    for row in np.argsort(cosines, kind="stable"):
        found[int(stored.identity_ids[row])] = int(stored.face_ids[row])
    return list(found.values())
