"""What the store holds of a person, in full: what an erasure takes, and what others keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import String, cast, func, select
from sqlalchemy.orm import Session

from gallery.errors import FaceNotFound
from gallery.store import identities
from gallery.store.tables import (
    ENCODING_BYTES,
    DistinctRow,
    FaceRow,
    IdentityRow,
    KeptRow,
    MergeRow,
    OtherEncodingRow,
    PhotoRow,
    ThumbnailRow,
)
from gallery.types import DIMENSION, Float32

_FACES_A_QUERY = 10_000  # SQLite takes 32,766 parameters


@dataclass(frozen=True)
class Remains:
    """What there is of some faces of an identity, or of all of it (`whole`).

    encodings : float32 (n, 128), by every encoder; those that a merge put aside are among the
        texts, as base64.
    texts : names, paths, hashes of photos, details.  pictures : thumbnails, and what is kept.
    counted : rows by kind.
    """

    identity_id: int
    face_ids: tuple[int, ...]
    whole: bool
    encodings: Float32
    texts: tuple[str, ...]
    pictures: tuple[bytes, ...]
    counted: dict[str, int]


def of(session: Session, identity_id: int, face_ids: Sequence[int] | None) -> Remains:
    """Of these faces of an identity alone, or, with None, of the whole person.

    Raises IdentityNotFound or FaceNotFound when it is gone.
    """
    if face_ids is not None:
        some = select(FaceRow).where(FaceRow.identity_id == identity_id, FaceRow.id.in_(face_ids))
        rows = session.scalars(some.order_by(FaceRow.id)).all()
        if len(rows) < len(set(face_ids)):
            raise FaceNotFound(f"a face of {sorted(face_ids)} is gone, or somebody else's now")
        return _remains(session, identity_id, rows, [], None)
    row = session.get_one(IdentityRow, identities.get(session, identity_id).id)
    rows = session.scalars(select(FaceRow).where(FaceRow.identity_id == identity_id)).all()
    notes = session.scalars(select(MergeRow).where(MergeRow.holder_id == identity_id)).all()
    texts = [row.name, row.external_id or "", *map(str, row.details.values())]
    for note in notes:
        texts += [str(note.before["external_id"] or ""), *map(str, note.before["details"].values())]
        for other in note.others:
            texts += [other["name"], other["external_id"] or ""]
            texts += [str(value) for value in other["details"].values()]
            for face in other["aside"]:
                texts += [face["source"], face["encoding"], face["thumbnail"] or ""]
                texts += [face["kept"]["content"]] if face.get("kept") else []
                texts += [one["encoding"] for one in face.get("others", ())]
    distinct = select(func.count()).where(
        (DistinctRow.first_id == identity_id) | (DistinctRow.second_id == identity_id)
    )
    counted = {"merges": len(notes), "distinct": session.scalar(distinct) or 0}
    return _remains(session, identity_id, rows, texts, counted)


def _remains(
    session: Session,
    identity_id: int,
    rows: Sequence[FaceRow],
    texts: list[str],
    counted: dict[str, int] | None,
) -> Remains:
    ids = [row.id for row in rows]
    thumbnails: list[bytes] = []
    kept: list[bytes] = []
    others: list[bytes] = []
    for start in range(0, len(ids), _FACES_A_QUERY):
        some = ids[start : start + _FACES_A_QUERY]
        thumbnails += session.scalars(
            select(ThumbnailRow.jpeg).where(ThumbnailRow.face_id.in_(some))
        )
        kept += session.scalars(select(KeptRow.content).where(KeptRow.face_id.in_(some)))
        others += session.scalars(
            select(OtherEncodingRow.encoding).where(OtherEncodingRow.face_id.in_(some))
        )
    photos = {row.photo_id: row.photo.sha256 for row in rows}
    joined = b"".join([*(row.encoding for row in rows), *others])
    return Remains(
        identity_id=identity_id,
        face_ids=tuple(ids),
        whole=counted is not None,
        encodings=np.frombuffer(joined, dtype="<f4").reshape(-1, DIMENSION).astype(np.float32),
        texts=tuple(
            dict.fromkeys(t for t in (*texts, *(r.source for r in rows), *photos.values()) if t)
        ),
        pictures=(*thumbnails, *kept),
        counted={"faces": len(ids), "thumbnails": len(thumbnails)}
        | ({"kept_pictures": len(kept)} if kept else {})
        | ({"other_encodings": len(others)} if others else {})
        | (counted or {}),
    )


def is_another_text(session: Session, text: str) -> bool:
    """Whether a text is rightly there still, as a part of what is kept of somebody else."""
    columns = (
        IdentityRow.name,
        IdentityRow.external_id,
        cast(IdentityRow.details, String),
        FaceRow.source,
        PhotoRow.sha256,
        cast(MergeRow.others, String),
    )
    return any(
        session.scalar(select(column).where(func.instr(column, text) > 0).limit(1)) is not None
        for column in columns
    )


def is_another_picture(session: Session, jpeg: bytes) -> bool:
    """Whether somebody else has the same one, having been enrolled from the same picture."""
    same = (
        select(ThumbnailRow.face_id).where(ThumbnailRow.jpeg == jpeg),
        select(KeptRow.face_id).where(KeptRow.content == jpeg),
    )
    return any(session.scalar(query.limit(1)) is not None for query in same)


def is_another_encoding(session: Session, encoding: Float32) -> bool:
    """Whether somebody else was enrolled from the same picture, so that the encoding is theirs."""
    content = encoding.astype("<f4").tobytes()
    assert len(content) == ENCODING_BYTES
    same = (
        select(FaceRow.id).where(FaceRow.encoding == content),
        select(OtherEncodingRow.face_id).where(OtherEncodingRow.encoding == content),
    )
    return any(session.scalar(query.limit(1)) is not None for query in same)
