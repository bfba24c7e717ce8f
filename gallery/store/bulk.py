"""Bulk export and import of faces, each in one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any

import numpy as np
from sqlalchemy import String, func, select, text, type_coerce
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
    any_of,
)
from gallery.store.timestamps import stored_text, utc_now
from gallery.types import DIMENSION, Box, Encodings, Face

_ROWS_AT_A_TIME = 10_000
_CACHE_KILOBYTES = 64_000  # SQLite's own 2 MB would write pages of a large gallery several times


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
    faces_found = session.execute(
        select(
            FaceRow.identity_id,
            FaceRow.source,
            PhotoRow.sha256,
            FaceRow.taken,
            FaceRow.encoding,
            type_coerce(FaceRow.landmarks, String),
            FaceRow.views,
            PhotoRow.width,
            PhotoRow.height,
            FaceRow.norm,
            FaceRow.agreement,
            FaceRow.probability,
            FaceRow.sharpness,
            FaceRow.left,
            FaceRow.top,
            FaceRow.right,
            FaceRow.bottom,
        )
        .join(PhotoRow)
        .where(is_searchable())  # one file never mixes two encoders
        .order_by(FaceRow.id),
        execution_options={"yield_per": _ROWS_AT_A_TIME},
    )
    texts: list[tuple[Any, ...]] = []
    vectors, landmarks, whole, real = (bytearray() for _ in range(4))
    for rows in faces_found.partitions():
        texts += (tuple(row[:4]) for row in rows)
        vectors += b"".join(row[4] for row in rows)
        located = json.loads(f"[{','.join(row[5] for row in rows)}]")
        landmarks += np.array(located, dtype=np.float64).tobytes()
        whole += np.array([row[6:9] for row in rows], dtype=np.int64).tobytes()
        real += np.array([row[9:] for row in rows], dtype=np.float64).tobytes()
    owners, photos, hashes, taken = zip(*texts, strict=True) if texts else ((), (), (), ())
    wholes = np.frombuffer(whole, dtype=np.int64).reshape(-1, 3)
    reals = np.frombuffer(real, dtype=np.float64).reshape(-1, 8)
    return FaceBatch(
        identities=tuple(
            NewIdentity(name, external_id, dict(details), expires_at)
            for _, name, external_id, details, expires_at in identities
        ),
        owners=np.searchsorted([i[0] for i in identities], owners).astype(np.int64),
        encodings=Encodings(
            np.frombuffer(vectors, dtype="<f4")
            .reshape(-1, DIMENSION)
            .astype(np.float32, copy=False),
            reals[:, 0].astype(np.float32),
            reals[:, 1].astype(np.float32),
        ),
        photos=photos,
        photo_sha256=hashes,
        sizes=wholes[:, 1:],
        boxes=reals[:, 4:],
        landmarks=np.frombuffer(landmarks, dtype=np.float64).reshape(-1, 5, 2),
        probabilities=reals[:, 2],
        sharpness=reals[:, 3],
        views=wholes[:, 0],
        taken=taken,
    )


def add_faces(session: Session, many: FaceBatch, encoder_id: int) -> int:
    """Store the faces that are not enrolled yet; return how many. The caller has validated them.

    A face that was left without an encoding by the encoder in use gets it, and counts as stored.
    An existing identity, found by name, gets the faces, and the details, expiry and external id
    that it lacks, unless another identity has that external id.
    """
    session.execute(text(f"PRAGMA cache_size = -{_CACHE_KILOBYTES}"))
    indices = np.unique(many.owners).tolist()
    ids = _identity_ids(session, [many.identities[i] for i in indices])
    identity_of = dict(zip(indices, ids, strict=True))
    photo_of = _photo_ids(session, many)
    enrolled, left = _stored_faces(session, ids)
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
    if len(new) < len(many):
        many = many.take(np.array(new, dtype=np.int64))
    face_ids = range(first := _next_id(session, FaceRow), first + len(new))
    columns: dict[str, Iterable[Any]] = {
        "id": face_ids,
        "identity_id": (identity for identity, _ in pairs),
        "photo_id": (photo for _, photo in pairs),
        "encoder_id": repeat(encoder_id, len(new)),
        **dict(zip(("left", "top", "right", "bottom"), many.boxes.T.tolist(), strict=True)),
        # Of finite numbers, this is JSON, but faster. One list at a time: the garbage collector
        # would search a list of them all several times.
        "landmarks": (str(points.tolist()) for points in many.landmarks),
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
    names = ", ".join(f'"{name}"' for name in columns)
    places = ", ".join("?" * len(columns))
    statement = f"INSERT INTO {table.__tablename__} ({names}) VALUES ({places})"
    driver = session.connection().connection.cursor()
    driver.executemany(statement, zip(*columns.values(), strict=True))  # type: ignore[arg-type]


def _next_id(session: Session, table: type[FaceRow | IdentityRow]) -> int:
    """Return an id that was never used: SQLite remembers the highest, even of deleted rows.

    Valid within a write transaction, which excludes other writers.
    """
    highest = text("SELECT seq FROM sqlite_sequence WHERE name = :name")
    return int(session.scalar(highest, {"name": table.__tablename__}) or 0) + 1


def _identity_ids(session: Session, identities: Sequence[NewIdentity]) -> list[int]:
    """Return the ids of these identities, in order, creating those that do not exist."""
    query = select(IdentityRow).where(IdentityRow.name.in_(any_of(i.name for i in identities)))
    existing = {row.name: row for row in session.scalars(query)}
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
    wanted = [i.external_id for i in identities if i.external_id is not None]
    query = select(IdentityRow.external_id).where(IdentityRow.external_id.in_(any_of(wanted)))
    return {external_id for external_id in session.scalars(query) if external_id is not None}


def _photo_ids(session: Session, many: FaceBatch) -> dict[str, int]:
    """Return the id of each photo by its SHA-256, creating those that do not exist."""
    sizes = dict(zip(many.photo_sha256, many.sizes.tolist(), strict=True))
    existing: dict[str, int] = {}
    driver = session.connection().connection.cursor()  # as in _insert
    for batch in batched(sizes, IDS_PER_QUERY):
        places = ", ".join("?" * len(batch))
        statement = f"SELECT sha256, id FROM photos WHERE sha256 IN ({places})"
        driver.execute(statement, tuple(map(bytes.fromhex, batch)))
        existing |= {digest.hex(): photo_id for digest, photo_id in driver.fetchall()}
    first = (session.scalar(select(func.max(PhotoRow.id))) or 0) + 1
    new = [sha256 for sha256 in sizes if sha256 not in existing]
    ids = range(first, first + len(new))
    columns: dict[str, Iterable[Any]] = {
        "id": ids,
        "sha256": map(bytes.fromhex, new),
        "width": (sizes[sha256][0] for sha256 in new),
        "height": (sizes[sha256][1] for sha256 in new),
    }
    _insert(session, PhotoRow, columns)
    return existing | dict(zip(new, ids, strict=True))


def _stored_faces(
    session: Session, identity_ids: Sequence[int]
) -> tuple[set[tuple[int, int]], dict[tuple[int, int], int]]:
    """Return (identity id, photo id) of every face that these identities have.

    And by them, the ids of the faces that the encoder in use has not encoded.
    """
    pairs: set[tuple[int, int]] = set()
    left: dict[tuple[int, int], int] = {}
    query = select(FaceRow.identity_id, FaceRow.photo_id, FaceRow.id, is_searchable())
    rows = session.execute(query.where(FaceRow.identity_id.in_(any_of(identity_ids))))
    for identity, photo, face, searchable in rows:
        pairs.add((identity, photo))
        if not searchable:
            left[identity, photo] = face
    return pairs, left


def _located_face(many: FaceBatch, i: int) -> Face | None:
    """Return where a face is in its photo; None if the file did not say."""
    if not many.boxes[i].any():
        return None
    landmarks = many.landmarks[i].astype(np.float32)
    probability, sharpness = float(many.probabilities[i]), float(many.sharpness[i])
    return Face(Box(*many.boxes[i].tolist()), landmarks, probability, sharpness)
