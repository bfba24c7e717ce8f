"""Erase people or single faces: rows, index, files and what was learned; then search, then receipt.

1. Collect everything a person could be recognised by in a file, and drop it from the cache, which
   is allowed at any time.
2. In one transaction: delete the rows, replace calibrations that used their data by ones fitted
   without it, and note that the files still contain their bytes.
3. Write the index file anew, empty the database's log, and drop a head that was trained on them.
   If interrupted from here on, the next opening of the gallery rebuilds the database file.
4. Search home and cache for what was collected. If the database file has any of it outside the rows
   of others, rebuild it and search again. If no file contains any of it, issue a receipt.

Many people are erased in batches; an interruption leaves whole ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gallery.erasure.cached_photos import erase_cached_photos
from gallery.erasure.deletion import Check, Deleter, Deletion, Target, traces_of
from gallery.erasure.erased_bytes import erase_in_place, files_of, finish_erasing
from gallery.erasure.search import Hit, TraceKind, Traces, search, searched_folders
from gallery.errors import ErasureIncomplete, FaceNotFound, IdentityNotFound
from gallery.matching.index import IndexReplica
from gallery.progress import Progress, no_progress
from gallery.store import audit, faces, identities, person_data
from gallery.store.database import Database
from gallery.store.records import Receipt

if TYPE_CHECKING:  # it loads the networks, which erasing rarely needs
    from gallery.matching.scorer import Scorer

_MAX_LISTED = 5
_SEARCHES = 3
"""A trace may be somebody's of the same name, whom another process erases before we ask whose."""
_PEOPLE_PER_SEARCH = 1_000


class Eraser:
    """Erases people from a gallery.

    scorer : returns its scorer; called only if a calibration must be fitted again.
    """

    def __init__(
        self,
        database: Database,
        index: IndexReplica,
        scorer: Callable[[], Scorer],
        *,
        home: Path,
        cache: Path,
    ) -> None:
        self._database = database
        self._index = index
        self._home = home
        self._cache = cache
        self._deleter = Deleter(database, scorer, home=home, cache=cache)

    def erase_identity(self, who: str | int, first: Check | None = None) -> Receipt:
        """Erase an identity, by its exact name or id, with all its faces. This cannot be undone.

        first : called with the identity's id in the transaction that deletes it; if it raises,
            nothing is erased.
        Raises IdentityNotFound, or DatabaseUnusable if the disk has no room to rebuild the file,
        before anything is changed. Raises HomeUnusable or DatabaseBusy if the rows are deleted but
        their bytes could not be erased yet; the next command on this gallery does it. Raises
        ErasureIncomplete, with the files, if a trace is left. No receipt is issued in these cases.
        """
        try:
            with self._database.reading() as session:
                record = identities.get(session, who, exact=True)
        except IdentityNotFound:
            # The user may be retrying because the bytes could not be erased the first time.
            finish_erasing(self._database, self._index, self._home)
            self._refuse_erased(who)
            raise
        return self._verify(self._deleter.delete([Target(record.id, first=first)], "forget"))[0]

    def erase_identities(
        self,
        identity_ids: Iterable[int],
        action: str,
        progress: Progress = no_progress,
        first: Check | None = None,
    ) -> list[Receipt]:
        """Erase several identities. Ids that no longer exist are skipped.

        action : for the audit trail.  progress : is told how many identities are erased.
        first : as of `erase_identity`; those for which it raises IdentityNotFound are skipped.
        Raises the same errors as `erase_identity`; those erased before then are erased.
        """
        ids = list(identity_ids)
        receipts: list[Receipt] = []
        for start in range(0, len(ids), _PEOPLE_PER_SEARCH):
            targets = [Target(who, first=first) for who in ids[start : start + _PEOPLE_PER_SEARCH]]
            deletions = self._deleter.delete(targets, action, skip_missing=True)
            receipts += self._verify(deletions) if deletions else []
            progress(min(start + _PEOPLE_PER_SEARCH, len(ids)), len(ids))
        return receipts

    def erase_faces(self, face_ids: Iterable[int]) -> list[Receipt]:
        """Erase single faces; return a receipt per identity.

        Raises FaceNotFound, or LastFace if an identity would have no face left, before anything is
        changed; otherwise the same errors as `erase_identity`.
        """
        ids = set(face_ids)
        with self._database.reading() as session:
            records = faces.records_by_id(session, ids)
        missing = sorted(ids - records.keys())
        if missing:
            raise FaceNotFound(
                f"no face {missing[0]}; `gallery identities show NAME` lists the faces of a person"
            )
        owners: dict[int, list[int]] = {}
        for record in records.values():
            owners.setdefault(record.identity.id, []).append(record.id)
        targets = [Target(owner, owned) for owner, owned in owners.items()]
        return self._verify(self._deleter.delete(targets, "forget face"))

    def _refuse_erased(self, who: str | int) -> None:
        """Raises IdentityNotFound, with the erasure, if the audit trail has one of this id."""
        if isinstance(who, int) or who.isdecimal():
            with self._database.reading() as session:
                erasures = audit.erasures(session, int(who))
            if erasures:
                raise IdentityNotFound(
                    f"identity {who} was erased at {erasures[-1].at:%Y-%m-%d %H:%M} UTC, erasure"
                    f" {erasures[-1].outcome}; `gallery check --traces {who}` searches for traces"
                )

    def _verify(self, deletions: Sequence[Deletion]) -> list[Receipt]:
        """Erase the bytes, search for them, and issue receipts. Raises ErasureIncomplete."""
        sought = _all_traces(deletions)
        folders = searched_folders(self._home, self._cache)
        notes = {deletion.note for deletion in deletions}
        # Of other rows whose bytes are to be erased, it is not known what to search for.
        if {deletion.replaced for deletion in deletions} <= {*notes, None}:
            plain = [text for deletion in deletions for text in deletion.plain_texts]
            in_place = erase_in_place(
                self._database, self._index, self._home, folders, sought, plain, notes
            )
            if in_place is not None:
                return [deletion.receipt(in_place) for deletion in deletions]
        for _ in range(_SEARCHES):
            finish_erasing(self._database, self._index, self._home)
            erase_cached_photos(self._cache, [sought])  # an evaluation may have filled it again
            searched = search([*folders, *files_of(self._database, self._index)], sought)
            left = self._left(searched.hits, sought)
            if not left:
                break
        if left or searched.unreadable:
            names = sorted({str(hit.file) for hit in left} | set(map(str, searched.unreadable)))
            kinds = ", ".join(sorted({hit.trace.kind for hit in left})) or "unreadable files"
            more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
            ids = [str(deletion.remains.identity_id) for deletion in deletions]
            others = f" and {len(ids) - _MAX_LISTED} more" if len(ids) > _MAX_LISTED else ""
            raise ErasureIncomplete(
                f"{', '.join(ids[:_MAX_LISTED])}{others}: erased from the gallery, but traces"
                f" ({kinds}) may remain in {', '.join(names[:_MAX_LISTED])}{more}: delete your own"
                " files there, or run `gallery check`; no receipt is issued"
            )
        return [deletion.receipt(searched) for deletion in deletions]

    def _left(self, hits: Iterable[Hit], sought: Traces) -> list[Hit]:
        """The traces that are not part of the data of somebody else.

        In the database file, those are that belong to no row; it was just rebuilt. A row of an
        index may look like one: a name, and a number that reads as its next letter.
        """
        database, index = self._database.file.resolve(), self._index.file.resolve()
        in_rows = [hit for hit in hits if hit.file == database]
        left = [hit for hit in hits if hit.file != database]
        if in_rows:
            left += search([database], [hit.trace for hit in in_rows], unused=True).hits
        kept: dict[int, bool] = {}  # by the number of the encoding
        remaining = []
        with self._database.reading() as session:
            for hit in left:
                trace, is_anothers = hit.trace, False
                if hit.file.name.startswith(database.name) and hit.file.parent == database.parent:
                    is_anothers = person_data.is_in_use(session, trace.content)
                elif hit.file == index and trace.kind is TraceKind.ENCODING:
                    if trace.number not in kept:
                        encoding = sought.encodings[trace.number]
                        kept[trace.number] = person_data.is_anothers_encoding(session, encoding)
                    is_anothers = kept[trace.number]
                if not is_anothers:
                    remaining.append(hit)
        return remaining


def _all_traces(deletions: Sequence[Deletion]) -> Traces:
    parts = [traces_of(deletion.remains) for deletion in deletions]
    return Traces(
        np.concatenate([part.encodings for part in parts]),
        list(dict.fromkeys(text for part in parts for text in part.texts)),
        [picture for part in parts for picture in part.pictures],
    )
