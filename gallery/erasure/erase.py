"""Erase people or single faces: rows, index, files and what was learned; then search, then receipt.

1. Collect everything a person could be recognised by in a file, and drop it from the cache, which
   is allowed at any time.
2. In one transaction per person: delete the rows, replace calibrations that used their data by
   ones fitted without it, and note that the files still contain their bytes.
3. Write the index file anew, empty the database's log, and drop a head that was trained on them.
   If interrupted from here on, the next opening of the gallery rebuilds the database file.
4. Search home and cache for what was collected. If the database file has any of it outside the rows
   of others, rebuild it and search again. If no file contains any of it, issue a receipt.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from gallery.config import ENCODINGS_FOLDER
from gallery.erasure.erased_bytes import erase_in_place, files_of, finish_erasing
from gallery.erasure.search import (
    Hit,
    SearchResult,
    Trace,
    TraceKind,
    search,
    searchable_texts,
    searched_folders,
    traces_of,
)
from gallery.errors import (
    ErasureIncomplete,
    FaceNotFound,
    GalleryError,
    HomeUnusable,
    IdentityNotFound,
    LastFace,
)
from gallery.matching.index import IndexReplica
from gallery.matching.learned_heads import was_trained_on
from gallery.store import (
    audit,
    backups,
    calibrations,
    encoding_cache,
    faces,
    identities,
    person_data,
    plans,
)
from gallery.store.change_log import pending_scrub, request_head_removal
from gallery.store.database import Database
from gallery.store.person_data import PersonData
from gallery.store.records import BackupRecord, CalibrationRecord, FaceRecord, Receipt

if TYPE_CHECKING:  # they load the networks, which erasing rarely needs
    from gallery.matching.operating_point import OperatingPoint
    from gallery.matching.recalibration import Evidence
    from gallery.matching.scorer import Scorer

_MAX_LISTED = 5
_SEARCHES = 3
"""A trace may be somebody's of the same name, whom another process erases before we ask whose."""


@dataclass(frozen=True)
class _Refitted:
    """A calibration fitted again without the erased person."""

    point: OperatingPoint
    evidence: Evidence
    strangers_named: float


@dataclass(frozen=True)
class _Deletion:
    """A person whose rows are deleted: all that the receipt says except for the search.

    note : that their bytes are to be erased.  replaced : the note that was there before, if any.
    """

    receipt_id: str
    at: datetime
    remains: PersonData
    traces: tuple[Trace, ...]
    cached: int
    learned: tuple[str, ...]
    backups: tuple[BackupRecord, ...]
    note: str
    replaced: str | None

    @property
    def plain_texts(self) -> list[str]:
        """The texts that are not searched for, because they occur by chance."""
        names, texts = self.remains.names, self.remains.texts
        searchable = set(searchable_texts(names, texts))
        return [text for text in (*names, *texts) if text not in searchable]

    def receipt(self, searched: SearchResult) -> Receipt:
        return Receipt(
            id=self.receipt_id,
            identity_id=self.remains.identity_id,
            also=self.remains.merged_ids,
            whole=self.remains.whole,
            faces=len(self.remains.face_ids),
            erased_at=self.at,
            erased=self.remains.row_counts | {"cached_photos": self.cached},
            learned=self.learned,
            backups=self.backups,
            searched_files=searched.files,
            searched_bytes=searched.bytes,
            too_plain=len(self.plain_texts),
        )


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
        self._open_scorer = scorer
        self._home = home
        self._cache = cache

    def erase_identity(self, who: str | int) -> Receipt:
        """Erase an identity, by its exact name or id, with all its faces. This cannot be undone.

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
        return self._verify([self._delete(record.id, None, "forget")])[0]

    def erase_identities(self, identity_ids: Iterable[int], action: str) -> list[Receipt]:
        """Erase several identities with one search. Ids that no longer exist are skipped.

        action : for the audit trail.  Raises the same errors as `erase_identity`.
        """
        deletions = []
        for identity_id in identity_ids:
            with contextlib.suppress(IdentityNotFound):  # another process was faster
                deletions.append(self._delete(identity_id, None, action))
        return self._verify(deletions) if deletions else []

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
        with self._database.reading() as session:
            for owner, owned in owners.items():
                _refuse_last_face(faces.records(session, identity_id=owner), owned)
        return self._verify(
            [self._delete(owner, owned, "forget face") for owner, owned in owners.items()]
        )

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

    def _delete(self, identity_id: int, face_ids: list[int] | None, action: str) -> _Deletion:
        """Delete the rows. face_ids : None for all, and the identity itself.

        Raises DatabaseUnusable, before anything is changed, if the disk has no room to erase.
        """
        self._database.require_room_to_scrub()
        while True:
            with self._database.reading() as session:
                remains = person_data.collect(session, identity_id, face_ids)
                outdated = [c for c in calibrations.list_all(session) if _used_data_of(c, remains)]
            texts = searchable_texts(remains.names, remains.texts)
            traces = traces_of(remains.encodings, texts, remains.images)
            cached = self._clear_cache(traces)
            refitted = self._fit_without(outdated, remains)
            drops_head = was_trained_on(self._home, remains.face_ids)
            receipt_id, erased_at = uuid4().hex, datetime.now(UTC)
            with self._database.writing() as session:
                # Start again if the person was enrolled from another photo meanwhile.
                if (
                    person_data.collect(session, identity_id, face_ids).fingerprint
                    != remains.fingerprint
                ):
                    continue
                if face_ids is not None:
                    _refuse_last_face(faces.records(session, identity_id=identity_id), face_ids)
                holding = backups.holding(session, remains)
                learned = []
                for old in calibrations.list_all(session):
                    if not _used_data_of(old, remains):
                        continue
                    calibrations.drop(session, old.id)
                    new = refitted.get(old.id)
                    if new is None:
                        learned.append(
                            f"calibration {old.id}: dropped, because it cannot be fitted again;"
                            " `gallery calibrate` makes a new one"
                        )
                        continue
                    number = calibrations.add(
                        session,
                        old.head_sha256,
                        new.point.adjustment.as_json(),
                        _report(old, new),
                        new.evidence.as_json(),
                        in_use=old.in_use,
                    )
                    learned.append(
                        f"calibration {old.id}: fitted again without them, as calibration {number}"
                    )
                replaced = pending_scrub(session)
                if remains.whole:
                    identities.remove(session, identity_id)
                else:
                    person_data.erase_faces(session, remains)
                note = pending_scrub(session) or ""
                if drops_head:
                    request_head_removal(session)
                    learned.append(
                        "the gallery's own head: dropped; the shipped head decides, if there is one"
                        " for this encoder; `gallery train-head` trains a new one"
                    )
                audit.record(session, action, identity_id=identity_id, outcome=receipt_id)
                # Before the rows are gone for good: if interrupted, it is repeated.
                plans.remove_files(plans.drop_all(session))
            found = remains, traces, cached, tuple(learned), tuple(holding)
            return _Deletion(receipt_id, erased_at, *found, note, replaced)

    def _fit_without(
        self, outdated: Sequence[CalibrationRecord], remains: PersonData
    ) -> dict[int, _Refitted]:
        """The calibrations that can be fitted again, by id."""
        from gallery.matching.recalibration import Evidence

        if not any(old.evidence for old in outdated):
            return {}
        try:
            scorer = self._open_scorer()
        except GalleryError:  # no usable head
            return {}
        erased = remains.all_ids if remains.whole else frozenset()
        refitted = {}
        for old in outdated:
            if old.evidence is None or scorer.head.sha256 != old.head_sha256:
                continue
            evidence = Evidence.from_json(old.evidence).without(remains.all_ids)
            if len(evidence.people):
                point = evidence.fit(scorer.uncalibrated_operating_point(without=erased))
                strangers_named = float(point.is_same(evidence.top_margins).mean())
                refitted[old.id] = _Refitted(point, evidence, strangers_named)
        return refitted

    def _clear_cache(self, traces: tuple[Trace, ...]) -> int:
        """Drop photos with a trace from the cache; return their number."""
        folder = self._cache / ENCODINGS_FOLDER
        if not folder.is_dir():
            return 0
        contents, dropped = [trace.content for trace in traces], 0
        try:
            files = {hit.file for hit in search([folder], traces).hits}
            for file in files:
                dropped += encoding_cache.erase(file, contents)
            for hit in search([folder], traces).hits if files else ():
                hit.file.unlink(missing_ok=True)  # not a cache file, or a damaged one
        except OSError as error:
            raise HomeUnusable(
                f"cannot change {folder} ({error.strerror}), which contains encodings of the person"
                " to erase; delete it and try again"
            ) from error
        return dropped

    def _verify(self, deletions: Sequence[_Deletion]) -> list[Receipt]:
        """Erase the bytes, search for them, and issue receipts. Raises ErasureIncomplete."""
        unique = {trace.content: trace for deletion in deletions for trace in deletion.traces}
        traces = tuple(unique.values())
        folders = searched_folders(self._home, self._cache)
        notes = {deletion.note for deletion in deletions}
        # Of other rows whose bytes are to be erased, it is not known what to search for.
        if {deletion.replaced for deletion in deletions} <= {*notes, None}:
            plain = [text for deletion in deletions for text in deletion.plain_texts]
            in_place = erase_in_place(
                self._database, self._index, self._home, folders, traces, plain, notes
            )
            if in_place is not None:
                return [deletion.receipt(in_place) for deletion in deletions]
        for _ in range(_SEARCHES):
            finish_erasing(self._database, self._index, self._home)
            self._clear_cache(traces)  # an evaluation may have filled it again
            searched = search([*folders, *files_of(self._database, self._index)], traces)
            left = [hit for hit in searched.hits if not self._belongs_to_another(hit, deletions)]
            if not left:
                break
        if left or searched.unreadable:
            names = sorted({str(hit.file) for hit in left} | set(map(str, searched.unreadable)))
            kinds = ", ".join(sorted({hit.trace.kind for hit in left})) or "unreadable files"
            more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
            ids = ", ".join(str(deletion.remains.identity_id) for deletion in deletions)
            raise ErasureIncomplete(
                f"{ids}: erased from the gallery, but traces ({kinds}) may remain in"
                f" {', '.join(names[:_MAX_LISTED])}{more}: delete your own files there, or run"
                " `gallery check`; no receipt is issued"
            )
        return [deletion.receipt(searched) for deletion in deletions]

    def _belongs_to_another(self, hit: Hit, deletions: Sequence[_Deletion]) -> bool:
        """Whether a trace is part of the data of somebody else.

        The database file was just rebuilt, so that it contains live rows only.
        """
        database = self._database.file.resolve()
        with self._database.reading() as session:
            if hit.file.name.startswith(database.name) and hit.file.parent == database.parent:
                return person_data.is_in_use(session, hit.trace.content)
            if hit.file == self._index.file.resolve() and hit.trace.kind is TraceKind.ENCODING:
                return any(
                    person_data.is_anothers_encoding(
                        session, deletion.remains.encodings[hit.trace.number]
                    )
                    for deletion in deletions
                    if hit.trace in deletion.traces
                )
        return False


def _refuse_last_face(owned: Sequence[FaceRecord], ids: Sequence[int]) -> None:
    """Raises LastFace if these are all the faces of an identity."""
    if owned and {face.id for face in owned} <= set(ids):
        owner = owned[0].identity
        raise LastFace(
            f"{owner.name} has no other face than {', '.join(map(str, ids))}; erase the person"
            f" instead: `gallery identities forget {owner.id}`"
        )


def _report(old: CalibrationRecord, new: _Refitted) -> dict[str, object]:
    return {
        "rate": new.point.fpir,
        "identities": new.point.comparisons,
        "strangers": old.report["strangers"],
        "fitted_again_without": 1 + int(old.report.get("fitted_again_without", 0)),
        "after": {"bias": new.point.bias, "strangers_named": new.strangers_named},
        "seed": new.evidence.seed,
    }


def _used_data_of(calibration: CalibrationRecord, remains: PersonData) -> bool:
    """Whether the person was in the gallery when this was fitted. If not recorded: yes."""
    evidence = calibration.evidence
    return evidence is None or int(evidence["newest_identity_id"]) >= min(remains.all_ids)
