"""Merging identities and undoing it, and decisions that two identities are different people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, delete, func, or_, select, update
from sqlalchemy.orm import Session

from gallery.errors import IdentityExists, MergeEmpty, MergeNotFound, MergeTooOld
from gallery.store import identities, recalled
from gallery.store.change_log import log_changes
from gallery.store.dedupe_tables import MisfiledDecisionRow
from gallery.store.expiry import earliest, read, set_expiry, stored
from gallery.store.packing import pack_face, unpack_face
from gallery.store.records import IdentityRecord, MergeRecord, MergeResult
from gallery.store.tables import DistinctRow, FaceRow, IdentityRow, MergeRow

Json = dict[str, Any]


def merge(session: Session, keep: str | int, others: Sequence[str | int]) -> MergeResult:
    """Merge the other identities into `keep`, undoably.

    `keep` gets the others' faces; those from photos it already has a face from are set aside. It
    gets an external id and details that it lacks, and the earliest expiry of all of them.
    Raises IdentityNotFound, or MergeEmpty if there is no other, before anything is changed.
    """
    kept = identities.get(session, keep, exact=True)
    records = [identities.get(session, other, exact=True) for other in others]
    merged = {record.id: record for record in records}
    merged.pop(kept.id, None)
    if not merged:
        raise MergeEmpty(f"{kept.name!r} cannot be merged with itself; name another identity")
    row = session.get_one(IdentityRow, kept.id)
    before, journal = _overwritten(row), []
    for other in merged.values():
        other_row = session.get_one(IdentityRow, other.id)
        photos = select(FaceRow.photo_id).where(FaceRow.identity_id == kept.id)
        duplicates = select(FaceRow).where(
            FaceRow.identity_id == other.id, FaceRow.photo_id.in_(photos)
        )
        aside = session.scalars(duplicates).all()
        query = select(FaceRow.id).where(
            FaceRow.identity_id == other.id, FaceRow.photo_id.not_in(photos)
        )
        moved = list(session.scalars(query))
        distinct = distinct_from(session, other.id)
        # The decisions that `keep` takes over; an undo deletes them again.
        lent = distinct - distinct_from(session, kept.id) - {kept.id}
        memory = recalled.items(session, other.id)
        lent_memory = recalled.add(session, kept.id, [*memory, recalled.name_item(other.name)])
        journal.append(
            _overwritten(other_row)
            | {
                "id": other_row.id,
                "name": other_row.name,
                "created_at": other_row.created_at.isoformat(),
                "faces": moved,
                "aside": [pack_face(session, face) for face in aside],
                "distinct": sorted(distinct),
                "lent": sorted(lent),
                "called_right": _confirmed_faces(session, other.id),
                "recalled": memory,
                "lent_memory": lent_memory,
            }
        )
        for face in aside:
            session.delete(face)
        session.flush()
        log_changes(session, [*(face.id for face in aside), *moved])
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
        session.expire(other_row)
        session.execute(delete(IdentityRow).where(IdentityRow.id == other.id))
        row.external_id = other.external_id if row.external_id is None else row.external_id
        row.details = {**other.details, **row.details}
        set_expiry(row, earliest(row.expires_at, other.expires_at))
        session.flush()
    after = _overwritten(row) | {"recalled": recalled.items(session, kept.id)}
    merge_row = MergeRow(
        kept_id=kept.id, holder_id=kept.id, before=before, after=after, others=journal
    )
    session.add(merge_row)
    session.flush()
    session.expire_all()
    return MergeResult(identities.get(session, kept.id), merge_row.id)


def list_all(session: Session, limit: int | None = None) -> list[MergeRecord]:
    """Return the merges that can be undone, newest first; all of them, or at most `limit`."""
    # Not what an undo needs besides: it holds every face that was set aside.
    other = func.json_each(MergeRow.others).table_valued("key", "value")
    named = func.json_group_array(func.json_extract(other.c.value, "$.id", "$.name"), type_=JSON)
    query = (
        select(MergeRow.id, MergeRow.kept_id, IdentityRow.name, MergeRow.created_at)
        .add_columns(select(named).scalar_subquery().label("others"))
        .outerjoin(IdentityRow, IdentityRow.id == MergeRow.kept_id)
        .order_by(MergeRow.id.desc())
        .limit(limit)
    )
    return [
        MergeRecord(
            id=row.id,
            kept_id=row.kept_id,
            kept_name=row.name,
            others=tuple(other_id for other_id, _ in row.others),
            names=tuple(name for _, name in row.others),
            created_at=row.created_at,
        )
        for row in session.execute(query)
    ]


def undo(session: Session, merge_id: int) -> list[IdentityRecord]:
    """Undo a merge; return the kept identity and the restored ones.

    Faces enrolled since, and a name or details set since, stay with the kept identity. An expiry
    set since counts for the restored ones too, unless theirs is earlier. A photo erased since
    counts as erased from each of them, and what was forgotten since is forgotten of each.
    Raises MergeNotFound; MergeTooOld if a later merge includes it; IdentityExists if a name has
    been taken meanwhile.
    """
    merge_row = session.get(MergeRow, merge_id)
    if merge_row is None:
        raise MergeNotFound(
            f"there is no merge {merge_id}: it was undone, or the identity was erased"
        )
    if merge_row.holder_id != merge_row.kept_id:
        raise MergeTooOld(f"merge {merge_id} is part of a later merge; undo the later merge first")
    kept_id = merge_row.kept_id
    row = session.get_one(IdentityRow, kept_id)
    if row.external_id == merge_row.after["external_id"]:
        row.external_id = merge_row.before["external_id"]
    if row.details == merge_row.after["details"]:
        row.details = merge_row.before["details"]
    set_since = None
    if stored(row.expires_at) != merge_row.after.get("expires_at"):
        set_since = row.expires_at
    else:
        set_expiry(row, read(merge_row.before.get("expires_at")))
    session.flush()
    erased, forgotten = recalled.changes(session, kept_id, merge_row.after.get("recalled", []))
    for other in merge_row.others:
        _restore(session, kept_id, other, set_since)
        recalled.add(session, other["id"], erased)
        recalled.remove(session, other["id"], forgotten)
    restored = {other["id"] for other in merge_row.others}
    session.delete(merge_row)
    session.flush()
    for identity_id in restored:
        _take_over_merges(session, identity_id)
    session.expire_all()
    return [identities.get(session, i) for i in (kept_id, *sorted(restored))]


def keep_distinct(session: Session, identity_id: int, others: Iterable[int]) -> None:
    """Record that an identity and each of the others are different people."""
    for other in others:
        first, second = sorted((identity_id, other))
        if first != second and session.get(DistinctRow, (first, second)) is None:
            session.add(DistinctRow(first_id=first, second_id=second))
    session.flush()


def forget_distinct(session: Session, identity_id: int, other: int) -> None:
    """Delete the decision that two identities are different people."""
    first, second = sorted((identity_id, other))
    session.execute(
        delete(DistinctRow).where(DistinctRow.first_id == first, DistinctRow.second_id == second)
    )


def distinct_from(session: Session, identity_id: int) -> set[int]:
    """Return the ids of identities decided to be other people than this one."""
    rows = session.scalars(
        select(DistinctRow).where(
            or_(DistinctRow.first_id == identity_id, DistinctRow.second_id == identity_id)
        )
    )
    return {row.second_id if row.first_id == identity_id else row.first_id for row in rows}


def distinct_pairs(session: Session) -> set[tuple[int, int]]:
    """Return every pair of identities decided to be different people, smaller id first."""
    return {(row.first_id, row.second_id) for row in session.scalars(select(DistinctRow))}


def _restore(session: Session, kept_id: int, other: Json, set_since: datetime | None) -> None:
    if identities.find(session, other["name"]) is not None:
        raise IdentityExists(
            f"there is already an identity {other['name']!r}; rename it, then undo the merge"
        )
    holder = select(IdentityRow.id).where(IdentityRow.external_id == other["external_id"])
    free = other["external_id"] is not None and session.scalar(holder) is None
    session.add(
        IdentityRow(
            id=other["id"],
            name=other["name"],
            external_id=other["external_id"] if free else None,
            details=other["details"],
            created_at=datetime.fromisoformat(other["created_at"]),
            expires_at=earliest(read(other.get("expires_at")), set_since),
        )
    )
    session.flush()
    for face in other["faces"]:  # unless it was moved or erased since
        session.execute(
            update(FaceRow)
            .where(FaceRow.id == face, FaceRow.identity_id == kept_id)
            .values(identity_id=other["id"])
        )
    log_changes(session, other["faces"])
    for face in other.get("called_right", []):  # if it is still confirmed
        session.execute(
            update(MisfiledDecisionRow)
            .where(MisfiledDecisionRow.face_id == face, MisfiledDecisionRow.identity_id == kept_id)
            .values(identity_id=other["id"])
        )
    for packed in other["aside"]:
        unpack_face(session, other["id"], packed)
    recalled.remove(session, kept_id, other.get("lent_memory", []))
    recalled.add(session, other["id"], other.get("recalled", []))
    for lent in other["lent"]:
        forget_distinct(session, kept_id, lent)
    existing = [i for i in other["distinct"] if session.get(IdentityRow, i) is not None]
    keep_distinct(session, other["id"], existing)


def _take_over_merges(session: Session, identity_id: int) -> None:
    """Make a restored identity the holder of its own earlier merges, and of those within them."""
    pending: set[int] = {identity_id}
    done: set[int] = set()
    while pending:
        kept_id = pending.pop()
        done.add(kept_id)
        for merge_row in session.scalars(select(MergeRow).where(MergeRow.kept_id == kept_id)):
            merge_row.holder_id = identity_id
            pending |= {other["id"] for other in merge_row.others} - done
    session.flush()


def _confirmed_faces(session: Session, identity_id: int) -> list[int]:
    """Return the ids of the faces confirmed to belong to this identity, ascending."""
    query = select(MisfiledDecisionRow.face_id).where(
        MisfiledDecisionRow.identity_id == identity_id
    )
    return sorted(session.scalars(query))


def _overwritten(row: IdentityRow) -> Json:
    """Return the fields that a merge may overwrite."""
    return {
        "external_id": row.external_id,
        "details": dict(row.details),
        "expires_at": stored(row.expires_at),
    }
