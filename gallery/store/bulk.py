"""Bulk export and import of faces, each in one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any

import numpy as np
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from gallery.batching import batched
from gallery.names import folded, printable
from gallery.store import faces
from gallery.store.expiry import set_expiry
from gallery.store.faces import is_searchable
from gallery.store.records import FaceBatch, NewIdentity
from gallery.store.tables import (
    IDS_PER_QUERY,
    Base,
    ChangeRow,
    FaceRow,
    IdentityRow,
    PhotoRow,
)
from gallery.store.timestamps import stored_text, utc_now
from gallery.types import DIMENSION, Box, Encodings, Face


def all_faces(session: Session) -> FaceBatch:
    """Return all identities, and all searchable faces in ascending order of id."""
    identities = session.execute(
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
            FaceRow.taken,
        )
        .join(PhotoRow)
        .where(is_searchable())  # one file never mixes two encoders
        .order_by(FaceRow.id)
    ).all()
    joined = b"".join(row[1] for row in rows)
    return FaceBatch(
        identities=tuple(
            NewIdentity(name, external_id, dict(details), expires_at)
            for _, name, external_id, details, expires_at in identities
        ),
        owners=np.searchsorted([i[0] for i in identities], [row[0] for row in rows]).astype(
            np.int64
        ),
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
        taken=tuple(row[16] for row in rows),
    )


def add_faces(session: Session, many: FaceBatch, encoder_id: int) -> int:
    """Store the faces that are not enrolled yet; return how many. The caller has validated them.

    A face that was left without an encoding by the encoder in use gets it, and counts as stored.
    An existing identity, found by name, gets the faces, and the details, expiry and external id
    that it lacks, unless another identity has that external id.
    """
    indices = sorted(set(many.owners.tolist()))
    ids = _identity_ids(session, [many.identities[i] for i in indices])
    identity_of = dict(zip(indices, ids, strict=True))
    photo_of = _photo_ids(session, many)
    enrolled = _enrolled_pairs(session, ids)
    left = _left_faces(session, ids)
    brought_back = 0
    new: list[int] = []
    pairs: list[tuple[int, int]] = []
    for i, (owner, sha256) in enumerate(zip(many.owners.tolist(), many.photo_sha256, strict=True)):
        pair = identity_of[owner], photo_of[sha256]
        if pair in left:
            face = _located_face(many, i)
            faces.encode_anew(session, left.pop(pair), face, many.encodings.row(i), encoder_id)
            brought_back += 1
        elif pair not in enrolled:
            enrolled.add(pair)
            new.append(i)
            pairs.append(pair)
    many = many.take(np.array(new, dtype=np.int64))
    face_ids = range(first := _next_id(session, FaceRow), first + len(new))
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
        "created_at": repeat(stored_text(utc_now()), len(new)),
        "taken": many.taken,
    }
    _insert(session, FaceRow, columns)
    _insert(session, ChangeRow, {"face_id": face_ids})
    return len(new) + brought_back


def _insert(session: Session, table: type[Base], columns: Mapping[str, Iterable[Any]]) -> None:
    """Insert values in SQLite's own types, through the driver: many times as fast as SQLAlchemy."""
    rows = list(zip(*columns.values(), strict=True))
    if rows:
        names = ", ".join(f'"{name}"' for name in columns)
        places = ", ".join("?" * len(columns))
        statement = f"INSERT INTO {table.__tablename__} ({names}) VALUES ({places})"
        session.connection().exec_driver_sql(statement, rows)


def _next_id(session: Session, table: type[FaceRow | IdentityRow]) -> int:
    """Return an id that was never used: SQLite remembers the highest, even of deleted rows.

    Valid within a write transaction, which excludes other writers.
    """
    highest = text("SELECT seq FROM sqlite_sequence WHERE name = :name")
    return int(session.scalar(highest, {"name": table.__tablename__}) or 0) + 1


def _identity_ids(session: Session, identities: Sequence[NewIdentity]) -> list[int]:
    """Return the ids of these identities, in order, creating those that do not exist."""
    existing: dict[str, IdentityRow] = {}
    for batch in batched((identity.name for identity in identities), IDS_PER_QUERY):
        query = select(IdentityRow).where(IdentityRow.name.in_(batch))
        existing |= {row.name: row for row in session.scalars(query)}
    taken = _taken_external_ids(session, identities)
    first = _next_id(session, IdentityRow)
    ids: list[int] = []
    new: list[NewIdentity] = []
    for identity in identities:
        row = existing.get(identity.name)
        if row is not None:
            row.details = {**identity.details, **row.details}
            if row.external_id is None and identity.external_id not in taken:
                row.external_id = identity.external_id
            if row.expires_at is None and identity.expires_at is not None:
                set_expiry(row, identity.expires_at)
            ids.append(row.id)
            continue
        ids.append(first + len(new))
        new.append(identity)
    now = stored_text(utc_now())
    columns: dict[str, Iterable[Any]] = {
        "id": range(first, first + len(new)),
        "name": (identity.name for identity in new),
        "folded_name": (folded(identity.name) for identity in new),
        "external_id": (None if i.external_id in taken else i.external_id for i in new),
        "details": (json.dumps(identity.details) for identity in new),
        "expires_at": (stored_text(identity.expires_at) for identity in new),
        "created_at": repeat(now, len(new)),
        "updated_at": repeat(now, len(new)),
    }
    _insert(session, IdentityRow, columns)
    return ids


def _taken_external_ids(session: Session, identities: Sequence[NewIdentity]) -> set[str]:
    wanted = (i.external_id for i in identities if i.external_id is not None)
    taken: set[str] = set()
    for batch in batched(wanted, IDS_PER_QUERY):
        query = select(IdentityRow.external_id).where(IdentityRow.external_id.in_(batch))
        taken |= {external_id for external_id in session.scalars(query) if external_id is not None}
    return taken


def _photo_ids(session: Session, many: FaceBatch) -> dict[str, int]:
    """Return the id of each photo by its SHA-256, creating those that do not exist."""
    sizes = dict(zip(many.photo_sha256, many.sizes.tolist(), strict=True))
    existing: dict[str, int] = {}
    for batch in batched(sizes, IDS_PER_QUERY):
        query = select(PhotoRow.sha256, PhotoRow.id).where(PhotoRow.sha256.in_(batch))
        existing |= {sha256: photo_id for sha256, photo_id in session.execute(query)}
    first = (session.scalar(select(func.max(PhotoRow.id))) or 0) + 1
    new = [sha256 for sha256 in sizes if sha256 not in existing]
    ids = range(first, first + len(new))
    columns: dict[str, Iterable[Any]] = {
        "id": ids,
        "sha256": new,
        "width": (sizes[sha256][0] for sha256 in new),
        "height": (sizes[sha256][1] for sha256 in new),
        "created_at": repeat(stored_text(utc_now()), len(new)),
    }
    _insert(session, PhotoRow, columns)
    return existing | dict(zip(new, ids, strict=True))


def _enrolled_pairs(session: Session, identity_ids: Sequence[int]) -> set[tuple[int, int]]:
    """Return (identity id, photo id) of every face that these identities have."""
    pairs: set[tuple[int, int]] = set()
    for batch in batched(identity_ids, IDS_PER_QUERY):
        query = select(FaceRow.identity_id, FaceRow.photo_id).where(FaceRow.identity_id.in_(batch))
        pairs |= {(identity, photo) for identity, photo in session.execute(query)}
    return pairs


def _left_faces(session: Session, identity_ids: Sequence[int]) -> dict[tuple[int, int], int]:
    """Return the faces that the encoder in use has not encoded, by (identity id, photo id)."""
    left: dict[tuple[int, int], int] = {}
    for batch in batched(identity_ids, IDS_PER_QUERY):
        query = select(FaceRow.identity_id, FaceRow.photo_id, FaceRow.id)
        rows = session.execute(query.where(FaceRow.identity_id.in_(batch), ~is_searchable()))
        left |= {(identity, photo): face for identity, photo, face in rows}
    return left


def _located_face(many: FaceBatch, i: int) -> Face | None:
    """Return where a face is in its photo; None if the file did not say."""
    if not many.boxes[i].any():
        return None
    landmarks = many.landmarks[i].astype(np.float32)
    probability, sharpness = float(many.probabilities[i]), float(many.sharpness[i])
    return Face(Box(*many.boxes[i].tolist()), landmarks, probability, sharpness)
