"""The other identities that a face to be enrolled may be of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gallery.matching.decision import CLEAR, matches
from gallery.matching.lookalikes import is_unlike
from gallery.matching.scorer import Scorer
from gallery.store import faces, merges
from gallery.store.database import Database
from gallery.types import Candidate, Encodings

_LEAST_OTHERS = 2


def rivals_of(
    name: str,
    candidates: Sequence[Candidate],
    encoding: Encodings,
    scorer: Scorer,
    database: Database,
) -> tuple[list[Candidate], list[Candidate]]:
    """Return the matched candidates that speak against enrolling the face under this name, and
    those that do not because their face is unlike the others of its identity.

    encoding : one row, of the face.
    Those who were told apart from this identity do not, unless they are clearly the likelier.
    """
    matched = matches(candidates)
    own = next((c for c in matched if c.identity.name == name), None)
    others: list[Candidate] = []
    odd: list[Candidate] = []
    for candidate in matched:
        if candidate is not own:
            is_odd = _is_by_odd_face(candidate, encoding, scorer, database)
            (odd if is_odd else others).append(candidate)
    if own is None or not others:
        return others, odd
    with database.reading() as session:
        told_apart = merges.distinct_from(session, own.identity.id)
    preference = scorer.operating_point().preference
    rivals = [
        c
        for c in others
        if c.identity.id not in told_apart or preference(c.margin - own.margin) >= CLEAR
    ]
    return rivals, odd


def _is_by_odd_face(
    rival: Candidate, encoding: Encodings, scorer: Scorer, database: Database
) -> bool:
    """Whether the new face matches the rival only by a face that is unlike its others.

    Of two faces that do not match, nothing tells which one is wrong: both count.
    """
    with database.reading() as session:
        stored = faces.encodings_of(session, [rival.identity.id])
    matching = stored.face_ids == rival.face_id
    others = stored.encodings.take(np.flatnonzero(~matching))
    if len(others) < _LEAST_OTHERS or not matching.any():
        return False
    face = stored.encodings.take(np.flatnonzero(matching))
    return is_unlike(scorer, face, others) and is_unlike(scorer, encoding, others)
