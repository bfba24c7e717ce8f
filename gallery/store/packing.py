"""Faces set aside by a merge or a plan: packed as JSON into its journal, and restored."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import insert, inspect, select
from sqlalchemy.orm import Session

from gallery.store import encoders
from gallery.store.change_log import log_changes
from gallery.store.dedupe_tables import AppliedStepRow, MisfiledDecisionRow
from gallery.store.tables import (
    FaceRow,
    KeptImageRow,
    MergeRow,
    OtherEncodingRow,
    PhotoRow,
    ThumbnailRow,
)

Json = dict[str, Any]
_ENCODING_FIELDS = ("encoder_id", "encoding", "norm", "agreement")
"""The fields of a face, and of each of its other encodings, that depend on the encoder."""


def pack_face(session: Session, face: FaceRow) -> Json:
    """Return a face as JSON, with its photo's row, images and encodings.

    Also whether the user confirmed that it belongs to its identity.
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
    image = session.get(KeptImageRow, face.id)
    if image is not None:
        content = base64.b64encode(image.content).decode()
        packed["kept"] = {"kind": image.kind, "content": content, "landmarks": image.landmarks}
    confirmed = session.get(MisfiledDecisionRow, face.id)
    packed["called_right"] = confirmed is not None and confirmed.identity_id == face.identity_id
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
    """Restore a packed face to an identity, with the encodings of the encoders in use now."""
    current = encoders.current(session)
    kept_encoders = {record.id for record in encoders.with_encodings(session)}
    face = _with_encoder(packed, None if current is None else current.id, kept_encoders)
    photo, thumbnail = face.pop("photo"), face.pop("thumbnail")
    image, others = face.pop("kept", None), face.pop("others")
    is_confirmed = face.pop("called_right", False)
    photo_id = session.scalar(select(PhotoRow.id).where(PhotoRow.sha256 == photo["sha256"]))
    if photo_id is None:
        row = PhotoRow(**photo)
        session.add(row)
        session.flush()
        photo_id = row.id
    face |= {
        "identity_id": identity_id,
        "photo_id": photo_id,
        "encoding": base64.b64decode(face["encoding"]),
        "created_at": datetime.fromisoformat(face["created_at"]),
    }
    session.execute(insert(FaceRow).values(**face))
    if thumbnail is not None:
        jpeg = base64.b64decode(thumbnail)
        session.execute(insert(ThumbnailRow).values(face_id=face["id"], jpeg=jpeg))
    if image is not None:
        values = {**image, "content": base64.b64decode(image["content"])}
        session.execute(insert(KeptImageRow).values(face_id=face["id"], **values))
    if is_confirmed:
        session.execute(
            insert(MisfiledDecisionRow).values(face_id=face["id"], identity_id=identity_id)
        )
    for other in others:
        values = {**other, "encoding": base64.b64decode(other["encoding"])}
        session.execute(insert(OtherEncodingRow).values(face_id=face["id"], **values))
    log_changes(session, [face["id"]])


def drop_packed_images(session: Session) -> int:
    """Delete the images for re-encoding of all packed faces; return how many. Thumbnails stay.

    The caller notes that their bytes must be scrubbed.
    """
    dropped = 0

    def without_image(face: Json) -> Json:
        nonlocal dropped
        dropped += face.get("kept") is not None
        return {key: value for key, value in face.items() if key != "kept"}

    _change_packed_faces(session, without_image)
    return dropped


def drop_packed_encodings(session: Session) -> int:
    """Keep one encoding of each packed face, by the encoder in use if it has one.

    Returns how many were deleted. The caller notes that their bytes must be scrubbed.
    """
    record = encoders.current(session)
    current_id = None if record is None else record.id
    dropped = 0

    def with_one_encoding(face: Json) -> Json:
        nonlocal dropped
        dropped += len(face.get("others", ()))
        return _with_encoder(face, current_id, set())

    _change_packed_faces(session, with_one_encoding)
    return dropped


def _with_encoder(face: Json, encoder_id: int | None, other_ids: set[int]) -> Json:
    """Return a packed face with this encoder's encoding as its own, if it has one.

    Of its other encodings only those by the encoders `other_ids` stay.
    """
    encodings = [{key: face[key] for key in _ENCODING_FIELDS}, *face.get("others", ())]
    own = next((e for e in encodings if e["encoder_id"] == encoder_id), encodings[0])
    others = [e for e in encodings if e is not own and e["encoder_id"] in other_ids]
    return {**face, **own, "others": others}


def _change_packed_faces(session: Session, change: Callable[[Json], Json]) -> None:
    for merge in session.scalars(select(MergeRow)):
        merge.others = [
            {**other, "aside": [change(face) for face in other["aside"]]} for other in merge.others
        ]
    for step in session.scalars(select(AppliedStepRow).where(AppliedStepRow.kind == "drop")):
        if step.kept is not None:
            step.kept = change(step.kept)
    session.flush()
