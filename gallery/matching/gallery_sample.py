"""A sample of a gallery's identities and the margins between them, kept up change by change."""

from __future__ import annotations

import numpy as np

from gallery.matching.gallery_margins import (
    SAMPLED_IDENTITIES,
    SampleMargins,
    identity_sample,
    sample_margins,
)
from gallery.matching.head import Head
from gallery.matching.impostors import Impostors
from gallery.store import faces
from gallery.store.change_log import changed_since, latest_change
from gallery.store.database import Session
from gallery.types import Int64

_NOWHERE = -1
"""In place of a position: all is to be computed."""
_MOST_CHANGES = 1_000
"""After more changes than this, all margins are computed again, which is faster then."""


class GallerySample:
    """The sample as of one position in the change log.

    A change costs the margins of the identities that it touches, not those of all pairs, and
    nothing if they are not in the sample. What comes out is, but for rounding, what computing all
    again gives.
    """

    def __init__(self, head: Head) -> None:
        self._head = head
        self._position = _NOWHERE
        self._members = np.zeros(0, dtype=np.int64)
        """The identities of the sample, all with faces, ascending. Those whose faces only another
        encoder has encoded have no margins."""
        self._faces = np.zeros((2, 0), dtype=np.int64)
        """The searchable faces of the sample, and the identity of each."""
        self._margins = SampleMargins.none()
        self._impostors: Impostors | None = None

    def impostors(self, session: Session) -> Impostors:
        """Return the gallery's impostors as of the transaction."""
        latest = latest_change(session)
        if latest != self._position:
            position, self._position = self._position, _NOWHERE  # should anything fail below
            changed: list[int] = []
            if _NOWHERE < position < latest:  # else an older database was restored
                changed = changed_since(session, position)
            is_followed = 0 < len(changed) <= _MOST_CHANGES
            if not (is_followed and self._follow(session, np.array(changed, dtype=np.int64))):
                self._start(session)
            self._position = latest
        if self._impostors is None:
            self._impostors = self._margins.impostors(self._head)
        return self._impostors

    def _start(self, session: Session) -> None:
        self._members = identity_sample(np.array(faces.all_owners(session), dtype=np.int64))
        self._margins = SampleMargins.none()
        self._faces = self._faces[:, :0]
        self._measure(session, self._members)

    def _follow(self, session: Session, changed: Int64) -> bool:
        """Apply the changes; return False if the sample must be drawn again."""
        owners = np.array(sorted(faces.owners(session, changed.tolist())), dtype=np.int64)
        former = self._faces[1, np.isin(self._faces[0], changed)]
        touched = np.union1d(owners, former)
        kept = self._members
        if len(former) or not np.isin(kept, self._faces[1]).all():  # else all still have faces
            left_over = faces.with_faces(session, kept.tolist())
            kept = np.array(sorted(left_over), dtype=np.int64)
        if len(kept) < len(self._members) == SAMPLED_IDENTITIES:
            return False  # we do not know who takes the place of one that is gone
        members = identity_sample(np.union1d(kept, owners))
        left = np.setdiff1d(self._members, members)
        self._members = members
        stale = np.union1d(left, np.intersect1d(touched, members))
        if len(stale):
            self._measure(session, stale)
        return True

    def _measure(self, session: Session, stale: Int64) -> None:
        """Measure the members among these identities anew, and drop those that are no members."""
        stored = faces.encodings_of(session, np.intersect1d(stale, self._members).tolist())
        others = self._faces[:, ~np.isin(self._faces[1], stale)]
        self._faces = np.hstack([others, [stored.face_ids, stored.identity_ids]])
        margins = self._margins.without(stale)
        if len(stored.face_ids):
            new = sample_margins(self._head, stored.identity_ids, stored.encodings)
            margins = margins.joined(new, self._head)
        self._margins, self._impostors = margins, None
