"""Very many faces at once: all of them out, or many in, in one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import repeat
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from gallery.names import printable
from gallery.store.faces import in_search
from gallery.store.records import ManyFaces, NewIdentity
from gallery.store.tables import Base, ChangeRow, FaceRow, IdentityRow, PhotoRow
from gallery.types import DIMENSION, Encodings

T = TypeVar("T")
_AT_ONCE = 10_000  # SQLite takes 32,766 parameters


def everything(session: Session) -> ManyFaces:
    """All that is enrolled, in ascending order of face id."""
    people = session.execute(
        select(
            IdentityRow.id,
            IdentityRow.name,
            IdentityRow.external_id,
            IdentityRow.details,
            IdentityRow.expires_at,
        ).order_by(IdentityRow.id)
    ).all()
    rows = session.execute(
        select(
            FaceRow.identity_id,
            FaceRow.encoding,
            FaceRow.norm,
            FaceRow.agreement,
            FaceRow.source,
            PhotoRow.sha256,
            PhotoRow.width,
            PhotoRow.height,
            FaceRow.left,
            FaceRow.top,
            FaceRow.right,
            FaceRow.bottom,
            FaceRow.landmarks,
            FaceRow.probability,
            FaceRow.sharpness,
            FaceRow.views,
        )
        .join(PhotoRow)
        .where(in_search())  # encodings of two encoders are never in one file
        .order_by(FaceRow.id)
    ).all()
    joined = b"".join(row[1] for row in rows)
    return ManyFaces(
        identities=tuple(
            NewIdentity(name, external_id, dict(details), expires_at)
            for _, name, external_id, details, expires_at in people
        ),
        owners=np.searchsorted([p[0] for p in people], [row[0] for row in rows]).astype(np.int64),
        encodings=Encodings(
            np.frombuffer(joined, dtype="<f4").reshape(-1, DIMENSION).astype(np.float32),
            np.array([row[2] for row in rows], dtype=np.float32),
            np.array([row[3] for row in rows], dtype=np.float32),
        ),
        photos=tuple(row[4] for row in rows),
        photo_sha256=tuple(row[5] for row in rows),
        sizes=np.array([row[6:8] for row in rows], dtype=np.int64).reshape(-1, 2),
        boxes=np.array([row[8:12] for row in rows], dtype=np.float64).reshape(-1, 4),
        landmarks=np.array([row[12] for row in rows], dtype=np.float64).reshape(-1, 5, 2),
        probabilities=np.array([row[13] for row in rows], dtype=np.float64),
        sharpness=np.array([row[14] for row in rows], dtype=np.float64),
        views=np.array([row[15] for row in rows], dtype=np.int64),
    )


def add_many(session: Session, many: ManyFaces, encoder_id: int) -> int:
    """Store those that are not there yet; returns how many. The caller has checked them.

    An identity that is there gets the faces; of what is known of it only what it lacks is added,
    and no external id that somebody has.
    """
    named = sorted(set(many.owners.tolist()))
    ids = _identity_ids(session, [many.identities[i] for i in named])
    identity_of = dict(zip(named, ids, strict=True))
    photo_of = _photo_ids(session, many)
    there = _enrolled(session, ids)
    new: list[int] = []
    pairs: list[tuple[int, int]] = []
    for i, (owner, sha256) in enumerate(zip(many.owners.tolist(), many.photo_sha256, strict=True)):
        pair = identity_of[owner], photo_of[sha256]
        if pair not in there:
            there.add(pair)
            new.append(i)
            pairs.append(pair)
    many = many.take(np.array(new, dtype=np.int64))
    face_ids = range(first := _next_id(session, FaceRow), first + len(new))
    now = _text(datetime.now(UTC))
    columns: dict[str, Iterable[Any]] = {
        "id": face_ids,
        "identity_id": (identity for identity, _ in pairs),
        "photo_id": (photo for _, photo in pairs),
        "encoder_id": repeat(encoder_id, len(new)),
        **dict(zip(("left", "top", "right", "bottom"), many.boxes.T.tolist(), strict=True)),
        "landmarks": map(json.dumps, many.landmarks.tolist()),
        "probability": many.probabilities.tolist(),
        "sharpness": many.sharpness.tolist(),
        "encoding": (row.tobytes() for row in many.encodings.vectors.astype("<f4")),
        "norm": many.encodings.norms.tolist(),
        "agreement": many.encodings.agreement.tolist(),
        "views": many.views.tolist(),
        "source": (printable(photo)[:4096] for photo in many.photos),
        "created_at": repeat(now, len(new)),
    }
    _insert(session, FaceRow, columns)
    _insert(session, ChangeRow, {"face_id": face_ids})
    return len(new)


def _insert(session: Session, table: type[Base], columns: Mapping[str, Iterable[Any]]) -> None:
    """Rows in the forms SQLite keeps: the driver's own way, many times as fast as SQLAlchemy's."""
    rows = list(zip(*columns.values(), strict=True))
    if rows:
        names = ", ".join(f'"{name}"' for name in columns)
        places = ", ".join("?" * len(columns))
        statement = f"INSERT INTO {table.__tablename__} ({names}) VALUES ({places})"
        session.connection().exec_driver_sql(statement, rows)


def _text(moment: datetime | None) -> str | None:
    """As UtcDateTime is kept."""
    if moment is None:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _next_id(session: Session, table: type[FaceRow | IdentityRow]) -> int:
    """An id that was never given: the database remembers the highest, also of rows deleted since.

    Only within a transaction that writes, which nobody else does then.
    """
    highest = text("SELECT seq FROM sqlite_sequence WHERE name = :name")
    return int(session.scalar(highest, {"name": table.__tablename__}) or 0) + 1


def _identity_ids(session: Session, people: Sequence[NewIdentity]) -> list[int]:
    """Their ids, in their order; who is not there is made."""
    found: dict[str, IdentityRow] = {}
    for some in _batches([person.name for person in people]):
        query = select(IdentityRow).where(IdentityRow.name.in_(some))
        found |= {row.name: row for row in session.scalars(query)}
    taken = _taken(session, people)
    first = _next_id(session, IdentityRow)
    ids: list[int] = []
    new: list[NewIdentity] = []
    for person in people:
        row = found.get(person.name)
        if row is not None:
            row.details = {**person.details, **row.details}
            if row.external_id is None and person.external_id not in taken:
                row.external_id = person.external_id
            row.expires_at = row.expires_at or person.expires_at
            ids.append(row.id)
            continue
        ids.append(first + len(new))
        new.append(person)
    now = _text(datetime.now(UTC))
    columns: dict[str, Iterable[Any]] = {
        "id": range(first, first + len(new)),
        "name": (person.name for person in new),
        "external_id": (None if p.external_id in taken else p.external_id for p in new),
        "details": (json.dumps(person.details) for person in new),
        "expires_at": (_text(person.expires_at) for person in new),
        "created_at": repeat(now, len(new)),
        "updated_at": repeat(now, len(new)),
    }
    _insert(session, IdentityRow, columns)
    return ids


def _taken(session: Session, people: Sequence[NewIdentity]) -> set[str]:
    """Which of their external ids somebody has already."""
    found: set[str] = set()
    for some in _batches([p.external_id for p in people if p.external_id is not None]):
        query = select(IdentityRow.external_id).where(IdentityRow.external_id.in_(some))
        found |= {one for one in session.scalars(query) if one is not None}
    return found


def _photo_ids(session: Session, many: ManyFaces) -> dict[str, int]:
    wanted = dict(zip(many.photo_sha256, many.sizes.tolist(), strict=True))
    found: dict[str, int] = {}
    for some in _batches(list(wanted)):
        query = select(PhotoRow.sha256, PhotoRow.id).where(PhotoRow.sha256.in_(some))
        found |= {sha256: one for sha256, one in session.execute(query)}
    first = (session.scalar(select(func.max(PhotoRow.id))) or 0) + 1
    new = [sha256 for sha256 in wanted if sha256 not in found]
    ids = range(first, first + len(new))
    columns: dict[str, Iterable[Any]] = {
        "id": ids,
        "sha256": new,
        "width": (wanted[sha256][0] for sha256 in new),
        "height": (wanted[sha256][1] for sha256 in new),
        "created_at": repeat(_text(datetime.now(UTC)), len(new)),
    }
    _insert(session, PhotoRow, columns)
    return found | dict(zip(new, ids, strict=True))


def _enrolled(session: Session, identity_ids: Sequence[int]) -> set[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    for some in _batches(identity_ids):
        query = select(FaceRow.identity_id, FaceRow.photo_id).where(FaceRow.identity_id.in_(some))
        found |= {(identity, photo) for identity, photo in session.execute(query)}
    return found


def _batches(values: Sequence[T]) -> Iterable[Sequence[T]]:
    return (values[at : at + _AT_ONCE] for at in range(0, len(values), _AT_ONCE))
