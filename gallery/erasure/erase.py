"""Erasing people, or faces: rows, index, files, what was learned; then a search, then receipts.

1. Everything each would be known by is gathered, and what the cache holds of any of it is
   dropped, as it may be at any time.
2. One transaction for each deletes the rows, puts calibrations that were fitted without them in
   the place of those that knew them, and notes that bytes are left in the files.
3. The index file is written anew, the database file rebuilt and its log emptied, and a head that
   was learned from them dropped. Cut short here, it is finished at the next opening.
4. Home and cache are searched for what was gathered; who is in no file has a receipt.
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
from gallery.erasure.search import Hit, Search, Trace, TraceKind, looked_for, search, traces_of
from gallery.errors import (
    ErasureIncomplete,
    FaceNotFound,
    GalleryError,
    HomeUnusable,
    IdentityNotFound,
    LastFace,
)
from gallery.matching.index import IndexCopy
from gallery.matching.learned_heads import drop_learned, knew_any
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
from gallery.store.change_log import dropped_head, head_to_drop, scrubbed, to_drop_head, to_scrub
from gallery.store.database import Database
from gallery.store.person_data import Remains
from gallery.store.records import BackupRecord, CalibrationRecord, FaceRecord, Receipt

if TYPE_CHECKING:  # erasing rarely needs the networks behind them
    from gallery.matching.operating_point import OperatingPoint
    from gallery.matching.recalibration import Evidence
    from gallery.matching.scorer import Scorer

_MOST_NAMED = 5


@dataclass(frozen=True)
class _Refitted:
    """A calibration without somebody."""

    point: OperatingPoint
    evidence: Evidence
    strangers_named: float


@dataclass(frozen=True)
class _Taken:
    """Whose rows are gone, and all that a receipt says but what was searched."""

    receipt_id: str
    at: datetime
    found: Remains
    traces: tuple[Trace, ...]
    cached: int
    learned: tuple[str, ...]
    backups: tuple[BackupRecord, ...]

    def receipt(self, searched: Search) -> Receipt:
        names, texts = self.found.names, self.found.texts
        return Receipt(
            id=self.receipt_id,
            identity_id=self.found.identity_id,
            also=self.found.also,
            whole=self.found.whole,
            faces=len(self.found.face_ids),
            erased_at=self.at,
            erased=self.found.counted | {"cached_photos": self.cached},
            learned=self.learned,
            backups=self.backups,
            searched_files=searched.files,
            searched_bytes=searched.bytes,
            too_plain=len(names) + len(texts) - len(looked_for(names, texts)),
        )


class Eraser:
    """Erases from one gallery. judge : needed only where a calibration must be fitted again."""

    def __init__(
        self,
        database: Database,
        index: IndexCopy,
        judge: Callable[[], Scorer],
        *,
        home: Path,
        cache: Path,
    ) -> None:
        self._database = database
        self._index = index
        self._judge = judge
        self._home = home
        self._cache = cache

    def identity(self, who: str | int) -> Receipt:
        """Erase an identity (a name, or an id) with all its faces; there is no undo.

        Raises IdentityNotFound; or, when the rows are gone but their bytes could not be erased
        yet, HomeUnusable or DatabaseBusy: the next command on this gallery then does; or
        ErasureIncomplete, naming the files that hold a trace. No receipt is given then.
        """
        try:
            with self._database.reading() as session:
                found = identities.get(session, who)
        except IdentityNotFound:
            # Perhaps it is asked again because the first time bytes could not be erased yet.
            finish_erasing(self._database, self._index, self._home)
            self._say_when(who)
            raise
        return self._search([self._take(found.id, None, "forget")])[0]

    def everyone(self, identity_ids: Iterable[int], action: str) -> list[Receipt]:
        """Erase these identities, files and search once for all; who is gone already is left out.

        action : as the audit trail notes it.  Raises as `identity` does.
        """
        taken = []
        for identity_id in identity_ids:
            try:
                taken.append(self._take(identity_id, None, action))
            except IdentityNotFound:  # another process was quicker
                continue
        return self._search(taken) if taken else []

    def faces(self, face_ids: Iterable[int]) -> list[Receipt]:
        """Erase these faces, a receipt for each identity they are of.

        Raises FaceNotFound, or LastFace where nothing would be left of an identity, before
        anything is changed; and as `identity` does.
        """
        wanted = set(face_ids)
        with self._database.reading() as session:
            records = faces.records_by_id(session, wanted)
        for face in sorted(wanted - records.keys()):
            raise FaceNotFound(f"no face {face}; `gallery identities show NAME` lists a person's")
        owners: dict[int, list[int]] = {}
        for record in records.values():
            owners.setdefault(record.identity.id, []).append(record.id)
        with self._database.reading() as session:
            for owner, ids in owners.items():
                _refuse_the_last(faces.records(session, identity_id=owner), ids)
        taken = [self._take(owner, ids, "forget face") for owner, ids in owners.items()]
        return self._search(taken)

    def _say_when(self, who: str | int) -> None:
        """Raises IdentityNotFound, naming the erasure, where the trail knows one of this id."""
        if isinstance(who, int) or who.isdecimal():
            with self._database.reading() as session:
                erased = audit.erasures(session, int(who))
            if erased:
                raise IdentityNotFound(
                    f"identity {who} was erased at {erased[-1].at:%Y-%m-%d %H:%M} UTC, erasure"
                    f" {erased[-1].outcome}; `gallery check --traces {who}` looks again"
                )

    def _take(self, identity_id: int, face_ids: list[int] | None, action: str) -> _Taken:
        """Delete the rows. face_ids : None is all, and the identity."""
        while True:
            with self._database.reading() as session:
                found = person_data.of(session, identity_id, face_ids)
                knew = [c for c in calibrations.list_all(session) if _knew(c, found)]
            traces = traces_of(
                found.encodings, looked_for(found.names, found.texts), found.pictures
            )
            cached = self._clear_cache(traces)
            refitted = self._fit_without(knew, found)
            head = knew_any(self._home, found.face_ids)
            receipt_id, erased_at = uuid4().hex, datetime.now(UTC)
            with self._database.writing() as session:
                # Whoever was enrolled from one more photo meanwhile is looked at again.
                if person_data.of(session, identity_id, face_ids).known_by != found.known_by:
                    continue
                if face_ids is not None:
                    _refuse_the_last(faces.records(session, identity_id=identity_id), face_ids)
                holding = backups.holding(session, found)
                learned = []
                for old in calibrations.list_all(session):
                    if not _knew(old, found):
                        continue
                    calibrations.drop(session, old.id)
                    new = refitted.get(old.id)
                    if new is None:
                        learned.append(
                            f"calibration {old.id}: dropped, it cannot be fitted again; `gallery"
                            " calibrate` makes one without them"
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
                if found.whole:
                    identities.remove(session, identity_id)
                else:
                    identities.delete_faces(session, found.face_ids)
                    person_data.drop_aside(session, found)
                if head:
                    to_drop_head(session)
                    learned.append(
                        "the gallery's own head: dropped, the shipped one decides where there is"
                        " one; `gallery train-head` makes one without them"
                    )
                audit.record(session, action, identity_id=identity_id, outcome=receipt_id)
                # Before the rows are gone for good: were this cut short, it would be done again.
                _remove_plans(plans.forget_all(session))
            return _Taken(
                receipt_id, erased_at, found, traces, cached, tuple(learned), tuple(holding)
            )

    def _fit_without(
        self, knew: Sequence[CalibrationRecord], found: Remains
    ) -> dict[int, _Refitted]:
        """Those that can be fitted again, by their number."""
        from gallery.matching.recalibration import Evidence

        if not any(old.evidence for old in knew):
            return {}
        try:
            judge = self._judge()
        except GalleryError:  # no head that could be used
            return {}
        whole = found.known_as if found.whole else frozenset()
        fitted = {}
        for old in knew:
            if old.evidence is None or judge.head.sha256 != old.head_sha256:
                continue
            evidence = Evidence.from_json(old.evidence).without(found.known_as)
            if len(evidence.people):
                point = evidence.fit(judge.own_point(without=whole))
                named = float(point.same(evidence.tops).mean())
                fitted[old.id] = _Refitted(point, evidence, named)
        return fitted

    def _clear_cache(self, traces: tuple[Trace, ...]) -> int:
        """Drop every photo's encodings in the cache that have a trace; of how many photos."""
        folder = self._cache / ENCODINGS_FOLDER
        if not folder.is_dir():
            return 0
        contents, dropped = [trace.content for trace in traces], 0
        try:
            files = {hit.file for hit in search([folder], traces).hits}
            for file in files:
                dropped += encoding_cache.erase(file, contents)
            for hit in search([folder], traces).hits if files else ():
                hit.file.unlink(missing_ok=True)  # what else it is, it may go
        except OSError as error:
            raise HomeUnusable(
                f"{folder} cannot be changed ({error.strerror}), and it holds encodings of somebody"
                " who is to be erased; delete it and try again"
            ) from error
        return dropped

    def _search(self, taken: Sequence[_Taken]) -> list[Receipt]:
        """Erase the bytes and look for them; the receipts. Raises ErasureIncomplete."""
        finish_erasing(self._database, self._index, self._home)
        traces = tuple({trace.content: trace for one in taken for trace in one.traces}.values())
        self._clear_cache(traces)  # somebody may have measured people meanwhile
        database = self._database.file
        files = [database, database.with_name(f"{database.name}-wal"), self._index.file]
        searched = search([self._home, self._cache, *files], traces)
        left = [hit for hit in searched.hits if not self._is_anothers(hit, taken)]
        if left or searched.unreadable:
            named = sorted({str(hit.file) for hit in left} | set(map(str, searched.unreadable)))
            kinds = ", ".join(sorted({hit.trace.kind for hit in left})) or "what cannot be read"
            more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
            who = ", ".join(str(one.found.identity_id) for one in taken)
            raise ErasureIncomplete(
                f"{who}: erased from the gallery, but traces ({kinds}) are left in"
                f" {', '.join(named[:_MOST_NAMED])}{more}: delete what you keep there yourself, or"
                " run `gallery check`; no receipt is given"
            )
        return [one.receipt(searched) for one in taken]

    def _is_anothers(self, hit: Hit, taken: Sequence[_Taken]) -> bool:
        """Whether a trace is rightly there, as a part of what is kept of somebody else.

        A database file that was just rebuilt holds nothing but what can be read in it.
        """
        database = self._database.file.resolve()
        with self._database.reading() as session:
            if hit.file.name.startswith(database.name) and hit.file.parent == database.parent:
                return person_data.is_live(session, hit.trace.content)
            if hit.file == self._index.file.resolve() and hit.trace.kind is TraceKind.ENCODING:
                return any(
                    person_data.is_anothers_encoding(session, one.found.encodings[hit.trace.number])
                    for one in taken
                    if hit.trace in one.traces
                )
        return False


def finish_erasing(database: Database, index: IndexCopy, home: Path) -> None:
    """Leave no bytes of deleted faces in the files, if there are any. Raises as erasing does.

    The index file is written anew, the database file rebuilt and its log emptied.
    """
    with database.reading() as session:
        note, head = to_scrub(session), head_to_drop(session)
    if note is None:
        return
    try:
        if head is not None:
            drop_learned(home)
        index.rebuild()
    finally:
        database.scrub()
    with database.writing() as session:
        scrubbed(session, note)
        if head is not None:
            dropped_head(session, head)


def _remove_plans(kept: Sequence[plans.KeptPlan]) -> None:
    """Remove the files of dedupe plans, which hold names and faces, where they were written.

    A file that does not name its plan any more is someone else's, and stays.
    """
    for plan in kept:
        for file in map(Path, plan.files):
            with contextlib.suppress(OSError):
                if plan.id.encode() in file.read_bytes():
                    file.unlink()


def _refuse_the_last(held: Sequence[FaceRecord], ids: Sequence[int]) -> None:
    """Raises LastFace when an identity holds no other faces than these."""
    if held and {face.id for face in held} <= set(ids):
        owner = held[0].identity
        raise LastFace(
            f"{owner.name} has no other face than {', '.join(map(str, ids))}; erase the person"
            f" instead: gallery identities forget {owner.id}"
        )


def _report(old: CalibrationRecord, new: _Refitted) -> dict[str, object]:
    return {
        "rate": new.point.rate,
        "identities": new.point.comparisons,
        "strangers": old.report["strangers"],
        "fitted_again_without": 1 + int(old.report.get("fitted_again_without", 0)),
        "after": {"bias": new.point.bias, "strangers_named": new.strangers_named},
        "seed": new.evidence.seed,
    }


def _knew(calibration: CalibrationRecord, found: Remains) -> bool:
    """Whether the person was in the gallery when this was fitted; if it is not said, yes."""
    evidence = calibration.evidence
    return evidence is None or int(evidence["newest_identity_id"]) >= min(found.known_as)
