"""Two identities that are one person become one, and back; and decisions that they are two."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from gallery.errors import IdentityExists, MergeEmpty, MergeNotFound, MergeTooOld
from gallery.store import identities
from gallery.store.change_log import log_changes
from gallery.store.packing import pack_face, unpack_face
from gallery.store.records import IdentityRecord, Merged, MergeRecord
from gallery.store.tables import DistinctRow, FaceRow, IdentityRow, MergeRow, MisfiledDecisionRow

Json = dict[str, Any]


def merge(session: Session, keep: str | int, others: Sequence[str | int]) -> Merged:
    """Give the faces of the others to `keep` and delete the others, so that it can be undone.

    A face from a photo that `keep` has already is put aside; an external id and details that
    `keep` lacks are taken over; its expiry, or that it has none, stays. Raises IdentityNotFound, or
    MergeEmpty when `keep` is the only one named, before anything is changed.
    """
    kept = identities.get(session, keep)
    merged = {o.id: o for o in (identities.get(session, who) for who in others)}
    merged.pop(kept.id, None)
    if not merged:
        raise MergeEmpty(f"{kept.name!r} cannot be merged with itself; name someone else")
    row = session.get_one(IdentityRow, kept.id)
    before, put_aside = _own(row), []
    for other in merged.values():
        gone = session.get_one(IdentityRow, other.id)
        has = select(FaceRow.photo_id).where(FaceRow.identity_id == kept.id)
        twice = select(FaceRow).where(FaceRow.identity_id == other.id, FaceRow.photo_id.in_(has))
        aside = session.scalars(twice).all()
        theirs = select(FaceRow.id).where(
            FaceRow.identity_id == other.id, FaceRow.photo_id.not_in(has)
        )
        distinct = distinct_from(session, other.id)
        lent = distinct - distinct_from(session, kept.id) - {kept.id}
        put_aside.append(
            _own(gone)
            | {
                "id": gone.id,
                "name": gone.name,
                "created_at": _text(gone.created_at),
                "faces": list(session.scalars(theirs)),
                "aside": [pack_face(session, face) for face in aside],
                "distinct": sorted(distinct),
                "lent": sorted(lent),
                "called_right": _called_right(session, other.id),
            }
        )
        for face in aside:
            session.delete(face)
        session.flush()
        log_changes(session, [face.id for face in aside])
        session.execute(
            update(FaceRow).where(FaceRow.identity_id == other.id).values(identity_id=kept.id)
        )
        session.execute(
            update(MergeRow).where(MergeRow.holder_id == other.id).values(holder_id=kept.id)
        )
        session.execute(
            update(MisfiledDecisionRow)
            .where(MisfiledDecisionRow.identity_id == other.id)
            .values(identity_id=kept.id)
        )
        keep_distinct(session, kept.id, lent)
        session.expire(gone)
        session.execute(delete(IdentityRow).where(IdentityRow.id == other.id))
        row.external_id = other.external_id if row.external_id is None else row.external_id
        row.details = {**other.details, **row.details}
        session.flush()
    note = MergeRow(
        kept_id=kept.id, holder_id=kept.id, before=before, after=_own(row), others=put_aside
    )
    session.add(note)
    session.flush()
    session.expire_all()
    return Merged(identities.get(session, kept.id), note.id)


def list_merges(session: Session) -> list[MergeRecord]:
    """Every merge that is remembered, the newest first."""
    return [_record(row) for row in session.scalars(select(MergeRow).order_by(MergeRow.id.desc()))]


def undo(session: Session, merge_id: int) -> list[IdentityRecord]:
    """Take a merge back; the one that was kept and the ones that are there again.

    Faces enrolled since stay with the one that was kept; a name or details given since stay too.
    Raises MergeNotFound; MergeTooOld when a later merge stands on it; IdentityExists when a name
    was taken meanwhile.
    """
    note = session.get(MergeRow, merge_id)
    if note is None:
        raise MergeNotFound(
            f"there is no merge {merge_id} to undo: it was undone, or the person was erased"
        )
    if note.holder_id != note.kept_id:
        raise MergeTooOld(f"merge {merge_id} was merged again since; undo the later merge first")
    kept_id = note.kept_id
    row = session.get_one(IdentityRow, kept_id)
    if row.external_id == note.after["external_id"]:
        row.external_id = note.before["external_id"]
    if row.details == note.after["details"]:
        row.details = note.before["details"]
    session.flush()
    for other in note.others:
        _restore(session, kept_id, other)
    back = {other["id"] for other in note.others}
    session.delete(note)
    session.flush()
    for later in back:
        _hold(session, later)
    session.expire_all()
    return [identities.get(session, i) for i in (kept_id, *sorted(back))]


def keep_distinct(session: Session, one: int, others: Iterable[int]) -> None:
    """Remember that these are other people than this one."""
    for other in others:
        first, second = sorted((one, other))
        if first != second and session.get(DistinctRow, (first, second)) is None:
            session.add(DistinctRow(first_id=first, second_id=second))
    session.flush()


def forget_distinct(session: Session, one: int, other: int) -> None:
    """Take that back."""
    first, second = sorted((one, other))
    session.execute(
        delete(DistinctRow).where(DistinctRow.first_id == first, DistinctRow.second_id == second)
    )


def distinct_from(session: Session, one: int) -> set[int]:
    """Who was said to be another person."""
    rows = session.scalars(
        select(DistinctRow).where(or_(DistinctRow.first_id == one, DistinctRow.second_id == one))
    )
    return {row.second_id if row.first_id == one else row.first_id for row in rows}


def all_distinct(session: Session) -> set[tuple[int, int]]:
    """Every such pair, the smaller id first."""
    return {(row.first_id, row.second_id) for row in session.scalars(select(DistinctRow))}


def _restore(session: Session, kept_id: int, other: Json) -> None:
    if identities.find(session, other["name"]) is not None:
        raise IdentityExists(
            f"an identity is called {other['name']!r} now; rename it, then undo the merge"
        )
    holder = select(IdentityRow.id).where(IdentityRow.external_id == other["external_id"])
    free = other["external_id"] is not None and session.scalar(holder) is None
    session.add(
        IdentityRow(
            id=other["id"],
            name=other["name"],
            external_id=other["external_id"] if free else None,
            details=other["details"],
            created_at=_time(other["created_at"]),
            expires_at=_maybe_time(other.get("expires_at")),
        )
    )
    session.flush()
    for face in other["faces"]:  # those that are still there
        session.execute(
            update(FaceRow)
            .where(FaceRow.id == face, FaceRow.identity_id == kept_id)
            .values(identity_id=other["id"])
        )
    for face in other.get("called_right", []):  # if it is called right still
        session.execute(
            update(MisfiledDecisionRow)
            .where(MisfiledDecisionRow.face_id == face, MisfiledDecisionRow.identity_id == kept_id)
            .values(identity_id=other["id"])
        )
    for packed in other["aside"]:
        unpack_face(session, other["id"], packed)
    for lent in other["lent"]:
        forget_distinct(session, kept_id, lent)
    there = set(identities.ids(session))
    keep_distinct(session, other["id"], there & set(other["distinct"]))


def _hold(session: Session, identity_id: int) -> None:
    """Give an identity that is there again the merges it had made, and those these stand on."""
    ours: set[int] = {identity_id}
    seen: set[int] = set()
    while ours - seen:
        one = (ours - seen).pop()
        seen.add(one)
        for note in session.scalars(select(MergeRow).where(MergeRow.kept_id == one)):
            note.holder_id = identity_id
            ours |= {other["id"] for other in note.others}
    session.flush()


def _called_right(session: Session, identity_id: int) -> list[int]:
    """The faces that are under the right name when they are under this one."""
    query = select(MisfiledDecisionRow.face_id).where(
        MisfiledDecisionRow.identity_id == identity_id
    )
    return sorted(session.scalars(query))


def _own(row: IdentityRow) -> Json:
    return {
        "external_id": row.external_id,
        "details": dict(row.details),
        "expires_at": _maybe_text(row.expires_at),
    }


def _record(row: MergeRow) -> MergeRecord:
    return MergeRecord(
        id=row.id,
        kept_id=row.kept_id,
        others=tuple(other["id"] for other in row.others),
        created_at=row.created_at,
    )


def _text(time: datetime) -> str:
    return time.isoformat()


def _maybe_text(time: datetime | None) -> str | None:
    return None if time is None else _text(time)


def _maybe_time(text: str | None) -> datetime | None:
    return None if text is None else _time(text)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
