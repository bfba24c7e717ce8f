"""Erasing a person, or a face: rows, index, files, what was learned; then a search, then a receipt.

1. Everything the person would be known by is gathered, and files of the cache that hold any of it
   are deleted, as they may be at any time.
2. One transaction deletes the rows and notes that bytes are left in the files.
3. The index file is written anew, the database file rebuilt and its log emptied, and a head that
   was learned from the person dropped. Cut short here, it is finished at the next opening.
4. Home and cache are searched for what was gathered; only when nothing is found a receipt is given.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from gallery.config import ENCODINGS_FOLDER
from gallery.errors import (
    ErasureIncomplete,
    FaceNotFound,
    GalleryError,
    IdentityNotFound,
    LastFace,
)
from gallery.shipped import own_cards
from gallery.store import audit, backups, calibrations, faces, identities, remains
from gallery.store.changes import drop_head, head_is_dropped, remember_head, scrubbed, to_scrub
from gallery.store.database import Database
from gallery.store.records import CalibrationRecord, Receipt
from gallery.store.remains import Remains
from gallery.sync import IndexCopy
from gallery.traces import Hit, Trace, TraceKind, search, traces_of

if TYPE_CHECKING:  # erasing rarely needs the networks behind it
    from gallery.judge import Judge

_MOST_NAMED = 5


class Eraser:
    """Erases from one gallery. judge : needed only where a calibration must be fitted again."""

    def __init__(
        self,
        database: Database,
        index: IndexCopy,
        judge: Callable[[], Judge],
        *,
        home: Path,
        cache: Path,
    ) -> None:
        self._database = database
        self._index = index
        self._judge = judge
        self._home = home
        self._cache = cache

    def identity(self, who: str | int, *, action: str = "forget") -> Receipt:
        """Erase an identity (a name, or an id) with all its faces; there is no undo.

        action : as the audit trail notes it.  Raises IdentityNotFound; or, when the rows are gone
        but their bytes could not be erased yet, HomeUnusable or DatabaseBusy: the next command on
        this gallery then finishes it; or ErasureIncomplete, naming the files that hold a trace.
        """
        try:
            with self._database.reading() as session:
                found = identities.get(session, who)
        except IdentityNotFound:
            # Perhaps it is asked again because the first time bytes could not be erased yet.
            finish_erasing(self._database, self._index, self._home)
            raise
        return self._erase(found.id, None, action)

    def faces(self, face_ids: Iterable[int]) -> list[Receipt]:
        """Erase these faces, a receipt for each identity they are of.

        Raises FaceNotFound, or LastFace where nothing would be left of an identity, before
        anything is changed; and as `identity` does.
        """
        wanted = set(face_ids)
        with self._database.reading() as session:
            records = faces.records_by_id(session, wanted)
            held = {record.id: record for record in identities.list_all(session)}
        for face in sorted(wanted - records.keys()):
            raise FaceNotFound(f"no face {face}; `gallery identities show NAME` lists a person's")
        owners: dict[int, list[int]] = {}
        for record in records.values():
            owners.setdefault(record.identity.id, []).append(record.id)
        for owner, ids in owners.items():
            if len(ids) >= held[owner].faces:
                raise LastFace(
                    f"{held[owner].name} has no other face than {', '.join(map(str, ids))};"
                    f" erase the person instead: gallery identities forget {owner}"
                )
        return [self._erase(owner, ids, "forget face") for owner, ids in owners.items()]

    def _erase(self, identity_id: int, face_ids: list[int] | None, action: str) -> Receipt:
        """face_ids : None is all, and the identity."""
        gone = False
        while not gone:
            with self._database.reading() as session:
                found = remains.of(session, identity_id, face_ids)
            traces = traces_of(found.encodings, found.texts, found.pictures)
            cached = self._clear_cache(traces)
            receipt_id, erased_at = uuid4().hex, datetime.now(UTC)
            head = any(_learned_from(card, found.face_ids) for card in own_cards(self._home))
            with self._database.writing() as session:
                # Whoever was enrolled from one more photo meanwhile is looked at again.
                gone = remains.of(session, identity_id, face_ids).texts == found.texts
                if gone:
                    held = backups.holding(session, identity_id, list(found.face_ids))
                    knew = [c for c in calibrations.list_all(session) if _knew(c, identity_id)]
                    if found.whole:
                        identities.remove(session, identity_id)
                    else:
                        identities.delete_faces(session, found.face_ids)
                    for calibration in knew:
                        calibrations.drop(session, calibration.id)
                    if head:
                        remember_head(session)
                    audit.record(session, action, identity_id=identity_id, outcome=receipt_id)
        finish_erasing(self._database, self._index, self._home)
        learned = [self._fit_again(calibration, identity_id) for calibration in knew]
        if head:
            learned.append(
                "the gallery's own head: dropped, the shipped one decides; `gallery train-head`"
                " makes one without them"
            )
        files, read = self._search(found, traces)
        return Receipt(
            id=receipt_id,
            identity_id=identity_id,
            whole=found.whole,
            faces=len(found.face_ids),
            erased_at=erased_at,
            erased=found.counted | {"cache_files": cached},
            learned=tuple(learned),
            backups=tuple(held),
            searched_files=files,
            searched_bytes=read,
        )

    def _fit_again(self, dropped: CalibrationRecord, identity_id: int) -> str:
        """What became of a calibration that knew the person, in words."""
        from gallery.evidence import Evidence

        said = f"calibration {dropped.id}: dropped"
        remedy = "; `gallery calibrate` makes one without them"
        if dropped.evidence is None:
            return f"{said}, it does not say what it was fitted on{remedy}"
        try:
            judge = self._judge()
        except GalleryError as error:
            return f"{said}, there is no head to fit it again with ({error}){remedy}"
        if judge.head.sha256 != dropped.head_sha256:
            return f"{said}, it was another head's"
        evidence = Evidence.from_json(dropped.evidence).without([identity_id])
        if not len(evidence.people):
            return f"{said}, nothing is left that it was fitted on{remedy}"
        after = evidence.fit(judge.own_point())
        named = float(after.same(evidence.tops).mean())
        report = {
            "rate": after.rate,
            "identities": after.comparisons,
            "strangers": dropped.report["strangers"],
            "fitted_again_without": 1 + int(dropped.report.get("fitted_again_without", 0)),
            "after": {"bias": after.bias, "strangers_named": named},
            "seed": evidence.seed,
        }
        with self._database.writing() as session:
            number = calibrations.add(
                session,
                dropped.head_sha256,
                after.adjustment.as_json(),
                report,
                evidence.as_json(),
                in_use=dropped.in_use,
            )
        return f"calibration {dropped.id}: fitted again without them, as calibration {number}"

    def _clear_cache(self, traces: tuple[Trace, ...]) -> int:
        """Delete every file of people's encodings in the cache that has a trace; how many."""
        folder = self._cache / ENCODINGS_FOLDER
        if not folder.is_dir():
            return 0
        files = {hit.file for hit in search([folder], traces).hits}
        for file in files:
            file.unlink(missing_ok=True)
        return len(files)

    def _search(self, found: Remains, traces: tuple[Trace, ...]) -> tuple[int, int]:
        """How many files and bytes have no trace. Raises ErasureIncomplete."""
        self._clear_cache(traces)  # somebody may have measured people meanwhile
        searched = search([self._home, self._cache], traces)
        left = [hit for hit in searched.hits if not self._is_anothers(hit, found)]
        if left or searched.unreadable:
            named = sorted({str(hit.file) for hit in left} | set(map(str, searched.unreadable)))
            kinds = ", ".join(sorted({hit.trace.kind for hit in left})) or "what cannot be read"
            more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
            raise ErasureIncomplete(
                f"identity {found.identity_id} is erased from the gallery, but traces ({kinds}) are"
                f" left in {', '.join(named[:_MOST_NAMED])}{more}: delete what you keep there"
                " yourself; no receipt is given"
            )
        return searched.files, searched.bytes

    def _is_anothers(self, hit: Hit, found: Remains) -> bool:
        """Whether a trace is rightly there, as a part of what is kept of somebody else."""
        if hit.file.parent != self._home.resolve():
            return False
        with self._database.reading() as session:
            match hit.trace.kind:
                case TraceKind.TEXT:
                    return remains.is_another_text(session, found.texts[hit.trace.number])
                case TraceKind.ENCODING:
                    return remains.is_another_encoding(session, found.encodings[hit.trace.number])
                case TraceKind.PICTURE:
                    return remains.is_another_picture(session, found.pictures[hit.trace.number])


def finish_erasing(database: Database, index: IndexCopy, home: Path) -> None:
    """Leave no bytes of deleted faces in the files, if there are any. Raises as erasing does.

    The index file is written anew, the database file rebuilt and its log emptied.
    """
    with database.reading() as session:
        note, head = to_scrub(session), head_is_dropped(session)
    if note is None:
        return
    try:
        if head:
            for card in own_cards(home):
                if _learned_from(card, None):
                    _drop_head(card)
        index.rebuild()
    finally:
        database.scrub()
    with database.writing() as session:
        scrubbed(session, note)
        drop_head(session)


def _knew(calibration: CalibrationRecord, identity_id: int) -> bool:
    """Whether the identity was in the gallery when this was fitted; if it is not said, yes."""
    evidence = calibration.evidence
    return evidence is None or int(evidence["newest_identity_id"]) >= identity_id


def _drop_head(card: Path) -> None:
    """Delete a head of the home's own; what is learned of others, its projection, stays."""
    from gallery.head import keep_projection

    stem = card.name.removesuffix(".json")
    keep_projection(card.with_name(f"{stem}.safetensors"))
    card.with_name(f"{stem}-training.png").unlink(missing_ok=True)
    card.unlink(missing_ok=True)


def _learned_from(card: Path, face_ids: Iterable[int] | None) -> bool:
    """Whether a head of the home's own was trained on the gallery when these faces were in it.

    face_ids : None is whichever.
    """
    try:
        source = json.loads(card.read_text(encoding="utf-8"))["source"]
        newest = int(source.get("newest_face_id", 2**63))
        return not source["folder"] and (face_ids is None or newest >= min(face_ids))
    except (OSError, ValueError, KeyError, TypeError):
        return False  # no head of its own, or one from elsewhere
