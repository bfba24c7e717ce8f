"""Step 4 of the walk: from an encoding to the nearest identities and all their faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gallery.matching.index import IndexReplica
from gallery.store import encoders, faces, identities
from gallery.store.database import Database
from gallery.store.records import FaceRecord, StoredEncodings
from gallery.types import Encodings

_INITIAL_K = 32


@dataclass(frozen=True)
class CandidateFaces:
    """The identities nearest to one query.

    stored : the exact encodings of all their faces.
    nearest : the face of each identity that is most similar to the query, by identity id.
    """

    stored: StoredEncodings
    nearest: dict[int, FaceRecord]


class CandidateSearch:
    """Ask the index for more faces until they belong to enough identities.

    identities : how many identities to find. With a number of faces instead, fifty photos of one
        person could hide the rival that makes an answer ambiguous.
    """

    def __init__(self, database: Database, index: IndexReplica, *, identities: int) -> None:
        self._database = database
        self._index = index
        self._identities = identities

    def find(self, query: Encodings) -> CandidateFaces:
        """Return the candidates for one query, (1, 128).

        Raises EncoderChanged if the gallery's encoder is no longer the index's.
        """
        k = _INITIAL_K
        while True:
            face_ids = self._index.search(query.vectors, k).ids[0]
            face_ids = face_ids[face_ids >= 0]
            with self._database.reading() as session:
                encoders.check_in_use(session, self._index.encoder)
                identity_ids = faces.identities_of(session, face_ids.tolist())
                enough = min(self._identities, identities.count(session))
                if len(identity_ids) >= enough or len(face_ids) < k:
                    all_faces = faces.encodings_of(session, identity_ids)
                    records = faces.records_by_id(session, _nearest_faces(all_faces, query))
                    nearest = {record.identity.id: record for record in records.values()}
                    return CandidateFaces(all_faces, nearest)
            k *= 2


def _nearest_faces(stored: StoredEncodings, query: Encodings) -> list[int]:
    """Return the id of each identity's face that is most similar to the query."""
    cosines = stored.encodings.vectors @ query.vectors[0]
    ascending = np.argsort(cosines, kind="stable")
    # The most similar face comes last and stays.
    nearest = {int(stored.identity_ids[row]): int(stored.face_ids[row]) for row in ascending}
    return list(nearest.values())
