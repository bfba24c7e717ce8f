"""Faces that a merge or a plan put aside: packed into its journal as JSON, and put back."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import insert, inspect, select
from sqlalchemy.orm import Session

from gallery.store import encoders
from gallery.store.change_log import log_changes
from gallery.store.tables import (
    AppliedStepRow,
    FaceRow,
    KeptRow,
    MergeRow,
    MisfiledDecisionRow,
    OtherEncodingRow,
    PhotoRow,
    ThumbnailRow,
)

Json = dict[str, Any]
_SEEN = ("encoder_id", "encoding", "norm", "agreement")
"""What a face and each of its other encodings have of an encoder."""


def pack_face(session: Session, face: FaceRow) -> Json:
    """A face as JSON, with its photo's row, its thumbnail, its picture, its other encodings, and
    whether it was called right.
    """
    packed = {
        column.key: getattr(face, column.key)
        for column in inspect(FaceRow).columns
        if column.key not in ("identity_id", "photo_id")
    }
    packed["encoding"] = base64.b64encode(face.encoding).decode()
    packed["created_at"] = face.created_at.isoformat()
    photo = face.photo
    packed["photo"] = {"sha256": photo.sha256, "width": photo.width, "height": photo.height}
    thumbnail = session.get(ThumbnailRow, face.id)
    packed["thumbnail"] = None if thumbnail is None else base64.b64encode(thumbnail.jpeg).decode()
    kept = session.get(KeptRow, face.id)
    if kept is not None:
        content = base64.b64encode(kept.content).decode()
        packed["kept"] = {"kind": kept.kind, "content": content, "landmarks": kept.landmarks}
    right = session.get(MisfiledDecisionRow, face.id)
    packed["called_right"] = right is not None and right.identity_id == face.identity_id
    packed["others"] = [
        {
            "encoder_id": other.encoder_id,
            "encoding": base64.b64encode(other.encoding).decode(),
            "norm": other.norm,
            "agreement": other.agreement,
        }
        for other in session.scalars(
            select(OtherEncodingRow).where(OtherEncodingRow.face_id == face.id)
        )
    ]
    return packed


def unpack_face(session: Session, identity_id: int, packed: Json) -> None:
    """Put a packed face under an identity, as the encoders are now."""
    now = encoders.current(session)
    kept_encoders = {record.id for record in encoders.kept(session)}
    face = _settled(packed, None if now is None else now.id, kept_encoders)
    photo, thumbnail = face.pop("photo"), face.pop("thumbnail")
    kept, others = face.pop("kept", None), face.pop("others")
    right = face.pop("called_right", False)
    found = session.scalar(select(PhotoRow.id).where(PhotoRow.sha256 == photo["sha256"]))
    if found is None:
        row = PhotoRow(**photo)
        session.add(row)
        session.flush()
        found = row.id
    face |= {
        "identity_id": identity_id,
        "photo_id": found,
        "encoding": base64.b64decode(face["encoding"]),
        "created_at": datetime.fromisoformat(face["created_at"]),
    }
    session.execute(insert(FaceRow).values(**face))
    if thumbnail is not None:
        jpeg = base64.b64decode(thumbnail)
        session.execute(insert(ThumbnailRow).values(face_id=face["id"], jpeg=jpeg))
    if kept is not None:
        content = base64.b64decode(kept["content"])
        values = {**kept, "content": content}
        session.execute(insert(KeptRow).values(face_id=face["id"], **values))
    if right:
        session.execute(
            insert(MisfiledDecisionRow).values(face_id=face["id"], identity_id=identity_id)
        )
    for other in others:
        values = {**other, "encoding": base64.b64decode(other["encoding"])}
        session.execute(insert(OtherEncodingRow).values(face_id=face["id"], **values))
    log_changes(session, [face["id"]])


def drop_packed_pictures(session: Session) -> int:
    """Drop the kept pictures of all packed faces; returns how many. Their bytes are to be scrubbed.

    Thumbnails stay.
    """
    dropped = 0

    def without(face: Json) -> Json:
        nonlocal dropped
        dropped += face.get("kept") is not None
        return {key: value for key, value in face.items() if key != "kept"}

    _change_all(session, without)
    return dropped


def drop_packed_encodings(session: Session) -> int:
    """Leave one encoding of each packed face, of the encoder in use if there is one.

    Returns how many were dropped. Their bytes are to be scrubbed.
    """
    record = encoders.current(session)
    now = None if record is None else record.id
    dropped = 0

    def with_one(face: Json) -> Json:
        nonlocal dropped
        dropped += len(face.get("others", ()))
        return _settled(face, now, set())

    _change_all(session, with_one)
    return dropped


def _settled(face: Json, now: int | None, beside: set[int]) -> Json:
    """A packed face with the encoding of the encoder `now`, if it has that, for its own; others
    only of the encoders `beside`.
    """
    seen = [{key: face[key] for key in _SEEN}, *face.get("others", ())]
    own = next((one for one in seen if one["encoder_id"] == now), seen[0])
    others = [one for one in seen if one is not own and one["encoder_id"] in beside]
    return {**face, **own, "others": others}


def _change_all(session: Session, change: Callable[[Json], Json]) -> None:
    for note in session.scalars(select(MergeRow)):
        note.others = [
            {**other, "aside": [change(face) for face in other["aside"]]} for other in note.others
        ]
    for step in session.scalars(select(AppliedStepRow).where(AppliedStepRow.kind == "drop")):
        if step.kept is not None:
            step.kept = change(step.kept)
    session.flush()
