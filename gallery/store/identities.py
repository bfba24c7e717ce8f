"""Enrolled identities."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, delete, func, literal, select, text, tuple_
from sqlalchemy.orm import Session

from gallery.batching import batched
from gallery.errors import IdentityExists, IdentityNotFound, NameAmbiguous
from gallery.names import checked_details, checked_external_id, checked_name, folded, printable
from gallery.store import expiry, photo_cache, recalled
from gallery.store.change_log import log_changes, note_unsought, request_scrub
from gallery.store.dedupe_tables import AppliedStepRow
from gallery.store.records import IdentityPage, IdentityRecord
from gallery.store.tables import (
    IDS_PER_QUERY,
    CountRow,
    FaceRow,
    IdentityRow,
    MergeRow,
    PhotoRow,
    any_of,
)

_COUNT = select(CountRow.value).where(CountRow.name == IdentityRow.__tablename__)
_SIMILARITY, _MOST_SIMILAR = 0.75, 3  # difflib's ratio; how many similar names are suggested
_NEIGHBOURS = 2_000  # of an unknown name in the alphabet, on each side: searched for similar names
_ORDER = IdentityRow.folded_name, IdentityRow.id  # of every list: that of an index, so never sorted


def find(session: Session, name: str) -> IdentityRecord | None:
    """Return the identity with exactly this name. Raises InvalidName."""
    return next(iter(_records(session, IdentityRow.name == checked_name(name))), None)


def near(session: Session, name: str) -> list[IdentityRecord]:
    """Return the identities whose names are this one but for case, accents and spacing, by name.

    See gallery.names.folded. Raises InvalidName.
    """
    close = _records(session, IdentityRow.folded_name == folded(checked_name(name)))
    return sorted(close, key=lambda record: record.name)


def names_by_fold(session: Session, folds: Iterable[str]) -> dict[str, list[str]]:
    """Return the names of identities by folded name, see gallery.names.folded, if it has any."""
    names: dict[str, list[str]] = {}
    rows = select(IdentityRow.folded_name, IdentityRow.name).order_by(IdentityRow.name)
    for fold, name in session.execute(rows.where(IdentityRow.folded_name.in_(any_of(folds)))):
        names.setdefault(fold, []).append(name)
    return names


def meant(session: Session, name: str) -> IdentityRecord | None:
    """Return the identity with exactly this name, else the only one with a near name.

    Raises InvalidName, or NameAmbiguous if several have a near name.
    """
    close, exact = near(session, name), checked_name(name)
    record = next((other for other in close if other.name == exact), None)
    if record is None and len(close) > 1:
        shown = " or ".join(f"{other.name!r} (id {other.id})" for other in close)
        raise NameAmbiguous(f"{name!r} may be {shown}; give the exact name")
    return record or next(iter(close), None) or find(session, name)


def get(session: Session, name_or_id: str | int, *, exact: bool = False) -> IdentityRecord:
    """Return an identity by id, or for a string by name, else by id, else by a near name.

    exact : not by a near name, for what cannot be taken back.
    Raises IdentityNotFound, which suggests similar names, or NameAmbiguous.
    """
    record = find(session, name_or_id) if isinstance(name_or_id, str) else None
    is_id = isinstance(name_or_id, int) or (name_or_id.isdecimal() and len(name_or_id) < 19)
    if record is None and is_id:
        record = next(iter(_records(session, IdentityRow.id == int(name_or_id))), None)
    if record is None and isinstance(name_or_id, str) and not exact:
        record = meant(session, name_or_id)
    if record is None:
        similar = _similar_names(session, name_or_id) if isinstance(name_or_id, str) else []
        hint = f"did you mean {' or '.join(map(repr, similar))}? " if similar else ""
        raise IdentityNotFound(
            f"there is no identity {name_or_id!r}; {hint}`gallery identities list` lists them"
        )
    return record


def _similar_names(session: Session, name: str) -> list[str]:
    """Return up to three names that may be meant, the most similar first.

    Only the names beside it in the alphabet are compared, so that large galleries answer at once.
    """
    key, column = folded(name), IdentityRow.folded_name
    names: dict[str, list[str]] = {}
    for side, order in ((column < key, column.desc()), (column >= key, column.asc())):
        rows = select(IdentityRow.name, column).where(side).order_by(order).limit(_NEIGHBOURS)
        for found, folded_name in session.execute(rows):
            names.setdefault(folded_name, []).append(found)
    close = difflib.get_close_matches(key, names, cutoff=_SIMILARITY)
    return [found for folded_name in close for found in names[folded_name]][:_MOST_SIMILAR]


def list_all(session: Session, search: str = "") -> list[IdentityRecord]:
    """Return every identity, or those with this part in their folded names, by folded name."""
    return _records(session, *_with_part(search))


def page(
    session: Session,
    search: str = "",
    *,
    near: str | None = None,
    after: tuple[str, int] | None = None,
    limit: int = 100,
    offset: int = 0,
) -> IdentityPage:
    """Return some of the identities that `list_all` does, in time that does not depend on where.

    near : only those with this name, see `near`.  after : name and id of the last one before.
    Raises InvalidName for `near`.
    """
    conditions = _with_part(search)
    if near is not None:
        conditions.append(IdentityRow.folded_name == folded(checked_name(near)))
    place = []
    if after is not None:
        name, last_id = after
        place.append(tuple_(*_ORDER) > tuple_(literal(printable(folded(name))), literal(last_id)))
    found = _records(session, *conditions, *place, limit=limit + 1, offset=offset)
    if not conditions:
        total = count(session)
    elif after is None and offset == 0 and len(found) <= limit:
        total = len(found)
    else:
        counted = select(func.count()).select_from(IdentityRow).where(*conditions)
        total = session.scalar(counted) or 0
    return IdentityPage(total, found[:limit], len(found) > limit)


def _with_part(search: str) -> list[ColumnElement[bool]]:
    part = printable(folded(search))
    return [func.instr(IdentityRow.folded_name, part) > 0] if part else []


def count(session: Session) -> int:
    """Return the number of identities."""
    return session.scalar(_COUNT) or 0


def newest_id(session: Session) -> int:
    """Return the highest id ever used, even if since erased; 0 when there was none."""
    highest = text("SELECT seq FROM sqlite_sequence WHERE name = 'identities'")
    return int(session.scalar(highest) or 0)


def ids(session: Session) -> list[int]:
    """Return all identity ids, ascending."""
    return list(session.scalars(select(IdentityRow.id).order_by(IdentityRow.id)))


def add(session: Session, name: str) -> int:
    """Create an identity and return its id. Raises InvalidName or IdentityExists."""
    if find(session, name) is not None:
        raise IdentityExists(f"there is already an identity {name!r}; choose another name")
    row = IdentityRow(name=checked_name(name), details={})
    session.add(row)
    session.flush()
    return row.id


def describe(
    session: Session, name_or_id: str | int, external_id: str | None, details: Mapping[str, str]
) -> IdentityRecord:
    """Set the external id, unless it is None, and the given details. An empty value removes.

    Raises IdentityNotFound, DetailsInvalid, or IdentityExists when another has the external id.
    """
    row = session.get_one(IdentityRow, get(session, name_or_id).id)
    former_id = row.external_id
    if external_id is not None:
        external_id = checked_external_id(external_id)
        holder = session.scalar(
            select(IdentityRow).where(
                IdentityRow.external_id == external_id, IdentityRow.id != row.id
            )
        )
        if holder is not None:
            raise IdentityExists(f"{holder.name!r} already has the external id {external_id!r}")
        row.external_id = external_id or None
    combined = {**row.details, **checked_details(details)}
    combined = checked_details({key: value for key, value in combined.items() if value})
    if former_id not in (None, row.external_id) or not row.details.items() <= combined.items():
        note_unsought(session)
    row.details = combined
    session.flush()
    return get(session, row.name)


def rename(
    session: Session, name_or_id: str | int, new_name: str, *, new: bool = False
) -> IdentityRecord:
    """Rename an identity.

    new : also if another identity has a near name.
    Raises IdentityNotFound, NameAmbiguous, InvalidName or IdentityExists.
    """
    record = get(session, name_or_id)
    taken = find(session, new_name)
    if taken is not None and taken.id != record.id:
        raise IdentityExists(
            f"there is already an identity {taken.name!r}; merge them or choose another name"
        )
    close = [other for other in near(session, new_name) if other.id != record.id]
    if close and taken is None and not new:
        raise IdentityExists(
            f"there is already an identity {close[0].name!r}, whose name is near {new_name!r};"
            " merge them, choose another name, or use `new` if they are two people"
        )
    row = session.get_one(IdentityRow, record.id)
    row.name = checked_name(new_name)
    session.flush()
    if row.name != record.name:
        recalled.add(session, row.id, [recalled.name_item(record.name)])
    return get(session, new_name)


def set_expiry(session: Session, name_or_id: str | int, moment: datetime | None) -> IdentityRecord:
    """Set when an identity is due for erasure; None means never. Raises IdentityNotFound."""
    row = session.get_one(IdentityRow, get(session, name_or_id).id)
    expiry.set_expiry(row, moment)
    session.flush()
    return get(session, row.id)


def expired_ids(session: Session) -> list[int]:
    """Return the ids of identities due for erasure, longest overdue first."""
    due = IdentityRow.expires_at <= datetime.now(UTC)
    return list(session.scalars(select(IdentityRow.id).where(due).order_by(IdentityRow.expires_at)))


def require_expired(session: Session, identity_id: int) -> None:
    """Raises IdentityNotFound unless the identity exists and is due for erasure."""
    due = (IdentityRow.id == identity_id) & (IdentityRow.expires_at <= datetime.now(UTC))
    if session.scalar(select(IdentityRow.id).where(due)) is None:
        raise IdentityNotFound(f"no identity {identity_id} is due for erasure")


def remove(session: Session, identity_id: int) -> list[int]:
    """Delete an identity, its faces, and the photos that no other face is from.

    Returns the ids of the deleted faces.
    """
    face_ids = list(session.scalars(select(FaceRow.id).where(FaceRow.identity_id == identity_id)))
    # Also the photos of faces set aside; the identity may have no other face.
    photo_cache.forget_photos(session, _photos_set_aside(session, identity_id))
    delete_faces(session, face_ids)
    session.execute(delete(IdentityRow).where(IdentityRow.id == identity_id))
    return face_ids


def _photos_set_aside(session: Session, identity_id: int) -> set[str]:
    """Return the SHA-256 of the photos whose faces a merge or a plan set aside."""
    merges = session.scalars(select(MergeRow).where(MergeRow.holder_id == identity_id))
    faces = [face for merge in merges for other in merge.others for face in other["aside"]]
    drops = select(AppliedStepRow).where(
        AppliedStepRow.first_id == identity_id, AppliedStepRow.kind == "drop"
    )
    faces += [step.kept for step in session.scalars(drops) if step.kept]
    return {face["photo"]["sha256"] for face in faces}


def drop_empty(session: Session, identity_id: int) -> None:
    """Delete an identity without faces."""
    session.execute(delete(IdentityRow).where(IdentityRow.id == identity_id))
    session.expire_all()


def delete_faces(session: Session, face_ids: Sequence[int]) -> None:
    """Delete faces, the photos that no face refers to any more, and the whole photo cache.

    The change is logged. Erased bytes remain in the files until they are scrubbed, which is noted.
    """
    expiry.forget_faces(session, face_ids)
    for batch in batched(face_ids, IDS_PER_QUERY):
        photo_query = select(PhotoRow.id, PhotoRow.sha256).join(
            FaceRow, FaceRow.photo_id == PhotoRow.id
        )
        photos = dict(session.execute(photo_query.where(FaceRow.id.in_(batch))).all())
        photo_cache.forget_photos(session, photos.values())
        session.execute(delete(FaceRow).where(FaceRow.id.in_(batch)))
        used = select(FaceRow.id).where(FaceRow.photo_id == PhotoRow.id).exists()
        session.execute(delete(PhotoRow).where(PhotoRow.id.in_(list(photos)), ~used))
    log_changes(session, face_ids)
    request_scrub(session)


def _records(
    session: Session, *conditions: ColumnElement[bool], limit: int | None = None, offset: int = 0
) -> list[IdentityRecord]:
    query = select(*_COLUMNS).where(*conditions).order_by(*_ORDER).limit(limit).offset(offset)
    return [
        IdentityRecord(
            id=row.id,
            name=row.name,
            external_id=row.external_id,
            details=dict(row.details),
            faces=row.faces,
            created_at=row.created_at,
            updated_at=row.updated_at,
            expires_at=row.expires_at,
        )
        for row in session.execute(query)
    ]


# Columns, not rows as objects: several times as fast.
_COLUMNS = (
    IdentityRow.id,
    IdentityRow.name,
    IdentityRow.external_id,
    IdentityRow.details,
    IdentityRow.created_at,
    IdentityRow.updated_at,
    IdentityRow.expires_at,
    select(func.count())
    .where(FaceRow.identity_id == IdentityRow.id)
    .correlate(IdentityRow)
    .scalar_subquery()
    .label("faces"),
)
