"""Identities: found, listed, added, renamed, deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import delete, func, select, text
from sqlalchemy.orm import Session

from gallery.errors import IdentityExists, IdentityNotFound
from gallery.names import checked_details, checked_external_id, checked_name
from gallery.store import photo_cache
from gallery.store.change_log import log_changes, remember_to_scrub
from gallery.store.records import IdentityRecord
from gallery.store.tables import AppliedStepRow, FaceRow, IdentityRow, MergeRow, PhotoRow

_IDS_A_QUERY = 10_000  # SQLite takes 32,766 parameters


def find(session: Session, name: str) -> IdentityRecord | None:
    """The identity of exactly this name."""
    return next(iter(_records(session, IdentityRow.name == checked_name(name))), None)


def get(session: Session, who: str | int) -> IdentityRecord:
    """The identity of this id; of a text, that of this name, else of this id.

    Raises IdentityNotFound.
    """
    record = find(session, who) if isinstance(who, str) else None
    if record is None and (isinstance(who, int) or (who.isdecimal() and len(who) < 19)):
        record = next(iter(_records(session, IdentityRow.id == int(who))), None)
    if record is None:
        raise IdentityNotFound(
            f"no identity is called {who!r}; `gallery identities list` names all"
        )
    return record


def list_all(session: Session) -> list[IdentityRecord]:
    """Every identity, by name."""
    return _records(session)


def count(session: Session) -> int:
    """How many identities there are."""
    return session.scalar(select(func.count()).select_from(IdentityRow)) or 0


def newest(session: Session) -> int:
    """The highest id that was ever given; 0 when none was."""
    highest = text("SELECT seq FROM sqlite_sequence WHERE name = 'identities'")
    return int(session.scalar(highest) or 0)


def ids(session: Session) -> list[int]:
    """All identity ids, ascending."""
    return list(session.scalars(select(IdentityRow.id).order_by(IdentityRow.id)))


def add(session: Session, name: str) -> int:
    """A new identity's id. Raises InvalidName or IdentityExists."""
    if find(session, name) is not None:
        raise IdentityExists(f"an identity is called {name!r} already; choose another name")
    row = IdentityRow(name=checked_name(name), details={})
    session.add(row)
    session.flush()
    return row.id


def describe(
    session: Session, name_or_id: str | int, external_id: str | None, details: Mapping[str, str]
) -> IdentityRecord:
    """Set the external id unless it is None, and the given details; an empty value removes one.

    Raises IdentityNotFound, DetailsInvalid, or IdentityExists when another has the external id.
    """
    row = session.get_one(IdentityRow, get(session, name_or_id).id)
    if external_id is not None:
        external_id = checked_external_id(external_id)
        holder = session.scalar(
            select(IdentityRow).where(
                IdentityRow.external_id == external_id, IdentityRow.id != row.id
            )
        )
        if holder is not None:
            raise IdentityExists(f"{holder.name!r} has the external id {external_id!r} already")
        row.external_id = external_id or None
    kept = {**row.details, **checked_details(details)}
    row.details = checked_details({key: value for key, value in kept.items() if value})
    session.flush()
    return get(session, row.name)


def rename(session: Session, name_or_id: str | int, new_name: str) -> IdentityRecord:
    """Raises IdentityNotFound, InvalidName or IdentityExists."""
    record = get(session, name_or_id)
    taken = find(session, new_name)
    if taken is not None and taken.id != record.id:
        raise IdentityExists(
            f"an identity is called {taken.name!r} already; merge them, or choose another name"
        )
    row = session.get_one(IdentityRow, record.id)
    row.name = checked_name(new_name)
    session.flush()
    return get(session, new_name)


def expire_at(session: Session, name_or_id: str | int, moment: datetime | None) -> IdentityRecord:
    """Erase an identity from this moment on; None: never. Raises IdentityNotFound."""
    row = session.get_one(IdentityRow, get(session, name_or_id).id)
    row.expires_at = moment
    session.flush()
    return get(session, row.id)


def expired(session: Session) -> list[int]:
    """The ids of those that are due to be erased, the longest overdue first."""
    due = IdentityRow.expires_at <= datetime.now(UTC)
    return list(session.scalars(select(IdentityRow.id).where(due).order_by(IdentityRow.expires_at)))


def remove(session: Session, identity_id: int) -> list[int]:
    """Delete an identity with its faces, and the photos no one else was enrolled from.

    Returns the ids of the deleted faces.
    """
    face_ids = list(session.scalars(select(FaceRow.id).where(FaceRow.identity_id == identity_id)))
    # Also of faces that are only kept to undo something, and of somebody who has none.
    photo_cache.forget_photos(session, _aside(session, identity_id))
    delete_faces(session, face_ids)
    session.execute(delete(IdentityRow).where(IdentityRow.id == identity_id))
    return face_ids


def _aside(session: Session, identity_id: int) -> set[str]:
    """The photos' hashes of faces of an identity that a merge or a plan took out."""
    notes = session.scalars(select(MergeRow).where(MergeRow.holder_id == identity_id))
    faces = [face for note in notes for other in note.others for face in other["aside"]]
    taken_out = select(AppliedStepRow).where(
        AppliedStepRow.first_id == identity_id, AppliedStepRow.kind == "drop"
    )
    faces += [step.kept for step in session.scalars(taken_out) if step.kept]
    return {face["photo"]["sha256"] for face in faces}


def drop_empty(session: Session, identity_id: int) -> None:
    """Delete an identity that has no faces."""
    session.execute(delete(IdentityRow).where(IdentityRow.id == identity_id))
    session.expire_all()


def delete_faces(session: Session, face_ids: Sequence[int]) -> None:
    """Delete faces, log it, and delete the photos no face refers to any more; and all that was
    seen in folders, where those photos may be.

    Their bytes are still in the files until they are scrubbed; the database remembers that.
    """
    for start in range(0, len(face_ids), _IDS_A_QUERY):
        some = face_ids[start : start + _IDS_A_QUERY]
        shown = select(PhotoRow.id, PhotoRow.sha256).join(FaceRow, FaceRow.photo_id == PhotoRow.id)
        photos = dict(session.execute(shown.where(FaceRow.id.in_(some))).all())
        photo_cache.forget_photos(session, photos.values())
        session.execute(delete(FaceRow).where(FaceRow.id.in_(some)))
        left = select(FaceRow.id).where(FaceRow.photo_id == PhotoRow.id).exists()
        session.execute(delete(PhotoRow).where(PhotoRow.id.in_(list(photos)), ~left))
    log_changes(session, face_ids)
    remember_to_scrub(session)


def _records(session: Session, *conditions: object) -> list[IdentityRecord]:
    faces = (
        select(func.count())
        .where(FaceRow.identity_id == IdentityRow.id)
        .correlate(IdentityRow)
        .scalar_subquery()
    )
    query = select(IdentityRow, faces).where(*conditions).order_by(IdentityRow.name)  # type: ignore[arg-type]
    return [
        IdentityRecord(
            id=row.id,
            name=row.name,
            external_id=row.external_id,
            details=dict(row.details),
            faces=count,
            created_at=row.created_at,
            updated_at=row.updated_at,
            expires_at=row.expires_at,
        )
        for row, count in session.execute(query)
    ]
