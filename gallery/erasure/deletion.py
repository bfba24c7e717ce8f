"""Deleting the rows of people or of single faces, and what was learned from them.

Several people at once take one search of the cache.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from gallery.batching import batched
from gallery.erasure.cached_photos import erase_cached_photos
from gallery.erasure.search import SearchResult, Traces, searchable_texts
from gallery.errors import GalleryError, IdentityNotFound, LastFace
from gallery.matching.learned_heads import was_trained_on
from gallery.store import audit, backups, calibrations, faces, identities, person_data, plans
from gallery.store.change_log import pending_scrub, request_head_removal
from gallery.store.database import Database, Session
from gallery.store.person_data import PersonData
from gallery.store.records import BackupRecord, CalibrationRecord, Receipt

if TYPE_CHECKING:  # they load the networks, which erasing rarely needs
    from gallery.matching.operating_point import OperatingPoint
    from gallery.matching.recalibration import Evidence
    from gallery.matching.scorer import Scorer

_PEOPLE_PER_TRANSACTION = 100  # others wait half a second to write

Check = Callable[[Session, int], None]
"""Called with an identity's id in the transaction that deletes it; may raise."""


@dataclass(frozen=True)
class Target:
    """What to delete of a person.

    face_ids : None for all, and the identity itself.
    """

    identity_id: int
    face_ids: Sequence[int] | None = None
    first: Check | None = None


@dataclass(frozen=True)
class Deletion:
    """A person whose rows are deleted: all that the receipt says except for the search.

    note : that their bytes are to be erased.  replaced : the note that was there before, if any.
    """

    receipt_id: str
    at: datetime
    remains: PersonData
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


@dataclass(frozen=True)
class _Refitted:
    """A calibration fitted again without the erased people."""

    point: OperatingPoint
    evidence: Evidence
    strangers_named: float


class Deleter:
    """Deletes people's rows from a gallery.

    scorer : returns its scorer; called only if a calibration must be fitted again.
    """

    def __init__(
        self, database: Database, scorer: Callable[[], Scorer], *, home: Path, cache: Path
    ) -> None:
        self._database = database
        self._open_scorer = scorer
        self._home = home
        self._cache = cache

    def delete(
        self, targets: Sequence[Target], action: str, *, skip_missing: bool = False
    ) -> list[Deletion]:
        """Delete the rows.

        action : for the audit trail.  skip_missing : skip identities that no longer exist.
        Raises, before anything is changed, DatabaseUnusable if the disk has no room to erase,
        IdentityNotFound, FaceNotFound or LastFace.
        """
        self._database.require_room_to_scrub()
        with self._database.reading() as session:
            people = _collect(session, targets, skip_missing)
        cached = self._erase_cached(people)
        target_of = {target.identity_id: target for target in targets}
        deletions = []
        for part in batched(people, _PEOPLE_PER_TRANSACTION):
            wanted = [target_of[person.identity_id] for person in part]
            deletions += self._delete_together(wanted, part, cached, action, skip_missing)
        return deletions

    def _erase_cached(self, people: Sequence[PersonData]) -> Counter[int]:
        """Drop their photos from the cache; return how many, by the identity's id."""
        counts = erase_cached_photos(self._cache, [traces_of(person) for person in people])
        ids = (person.identity_id for person in people)
        return Counter(dict(zip(ids, counts, strict=True)))

    def _delete_together(
        self,
        targets: Sequence[Target],
        people: list[PersonData],
        cached: Counter[int],
        action: str,
        skip_missing: bool,
    ) -> list[Deletion]:
        """Delete the rows of these people in one transaction."""
        while True:
            with self._database.reading() as session:
                outdated = _outdated(session, people)
            refitted = self._fit_without(outdated, people)
            trained_on = [was_trained_on(self._home, person.face_ids) for person in people]
            with self._database.writing() as session:
                now = _collect(session, targets, skip_missing)
                if [p.fingerprint for p in now] == [p.fingerprint for p in people]:
                    learned = _renew(session, people, refitted)
                    return _delete_rows(session, people, learned, trained_on, cached, action)
            # Somebody was enrolled from another photo meanwhile, or erased.
            people = now
            cached += self._erase_cached(people)

    def _fit_without(
        self, outdated: Sequence[CalibrationRecord], people: Sequence[PersonData]
    ) -> dict[int, _Refitted]:
        """The calibrations that can be fitted again, by id."""
        from gallery.matching.recalibration import Evidence

        if not any(old.evidence for old in outdated):
            return {}
        try:
            scorer = self._open_scorer()
        except GalleryError:  # no usable head
            return {}
        used = frozenset(chain.from_iterable(person.all_ids for person in people))
        erased = frozenset(chain.from_iterable(p.all_ids for p in people if p.whole))
        refitted = {}
        for old in outdated:
            if old.evidence is None or scorer.head.sha256 != old.head_sha256:
                continue
            evidence = Evidence.from_json(old.evidence).without(used)
            if len(evidence.people):
                point = evidence.fit(scorer.uncalibrated_operating_point(without=erased))
                strangers_named = float(point.is_same(evidence.top_margins).mean())
                refitted[old.id] = _Refitted(point, evidence, strangers_named)
        return refitted


def _delete_rows(
    session: Session,
    people: Sequence[PersonData],
    learned: Sequence[list[str]],
    trained_on: Sequence[bool],
    cached: Counter[int],
    action: str,
) -> list[Deletion]:
    """learned : what was done about what was learned from each.  trained_on : a head, too."""
    replaced = pending_scrub(session)
    holding = [tuple(backups.holding(session, person)) for person in people]
    for person, lines, was_learned in zip(people, learned, trained_on, strict=True):
        if person.whole:
            identities.remove(session, person.identity_id)
        else:
            person_data.erase_faces(session, person)
        if was_learned:
            request_head_removal(session)
            lines.append(
                "the gallery's own head: dropped; the shipped head decides, if there is one for"
                " this encoder; `gallery train-head` trains a new one"
            )
    note = pending_scrub(session) or ""
    deletions = []
    for person, lines, copies in zip(people, learned, holding, strict=True):
        who = person.identity_id
        facts = person, cached[who], tuple(lines), copies
        deletion = Deletion(uuid4().hex, datetime.now(UTC), *facts, note, replaced)
        audit.record(session, action, identity_id=who, outcome=deletion.receipt_id)
        deletions.append(deletion)
    # Before the rows are gone for good: if interrupted, it is repeated.
    plans.remove_files(plans.drop_all(session))
    return deletions


def traces_of(person: PersonData) -> Traces:
    """What to search for in files."""
    texts = searchable_texts(person.names, person.texts)
    return Traces(person.encodings, texts, person.images)


def _collect(session: Session, targets: Sequence[Target], skip_missing: bool) -> list[PersonData]:
    people = []
    for target in targets:
        try:
            if target.first is not None:
                target.first(session, target.identity_id)
            person = person_data.collect(session, target.identity_id, target.face_ids)
        except IdentityNotFound:
            if not skip_missing:
                raise
            continue
        if not person.whole:
            _refuse_last_face(session, person)
        people.append(person)
    return people


def _refuse_last_face(session: Session, person: PersonData) -> None:
    """Raises LastFace if these are all the faces of an identity."""
    owned = faces.records(session, identity_id=person.identity_id)
    if owned and {face.id for face in owned} <= set(person.face_ids):
        raise LastFace(
            f"{owned[0].identity.name} has no other face than"
            f" {', '.join(map(str, person.face_ids))}; erase the person instead:"
            f" `gallery identities forget {person.identity_id}`"
        )


def _outdated(session: Session, people: Sequence[PersonData]) -> list[CalibrationRecord]:
    return [
        calibration
        for calibration in calibrations.list_all(session)
        if any(_used_data_of(calibration, person) for person in people)
    ]


def _renew(
    session: Session, people: Sequence[PersonData], refitted: Mapping[int, _Refitted]
) -> list[list[str]]:
    """Replace the calibrations that used their data; say so for each of the people."""
    learned: list[list[str]] = [[] for _ in people]
    for old in _outdated(session, people):
        calibrations.drop(session, old.id)
        used = [
            lines
            for person, lines in zip(people, learned, strict=True)
            if _used_data_of(old, person)
        ]
        new = refitted.get(old.id)
        if new is None:
            line = (
                f"calibration {old.id}: dropped, because it cannot be fitted again;"
                " `gallery calibrate` makes a new one"
            )
        else:
            number = calibrations.add(
                session,
                old.head_sha256,
                new.point.adjustment.as_json(),
                _report(old, new, len(used)),
                new.evidence.as_json(),
                in_use=old.in_use,
            )
            line = f"calibration {old.id}: fitted again without them, as calibration {number}"
        for lines in used:
            lines.append(line)
    return learned


def _report(old: CalibrationRecord, new: _Refitted, erased: int) -> dict[str, object]:
    return {
        "rate": new.point.fpir,
        "identities": new.point.comparisons,
        "strangers": old.report["strangers"],
        "fitted_again_without": erased + int(old.report.get("fitted_again_without", 0)),
        "after": {"bias": new.point.bias, "strangers_named": new.strangers_named},
        "seed": new.evidence.seed,
    }


def _used_data_of(calibration: CalibrationRecord, person: PersonData) -> bool:
    """Whether the person was in the gallery when this was fitted. If not recorded: yes."""
    evidence = calibration.evidence
    return evidence is None or int(evidence["newest_identity_id"]) >= min(person.all_ids)
