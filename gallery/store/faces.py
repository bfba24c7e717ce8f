"""Enrolled faces and their encodings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Row,
    Select,
    and_,
    bindparam,
    delete,
    false,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session

from gallery.batching import batched
from gallery.errors import InvalidEncoding
from gallery.names import printable
from gallery.store import encoders
from gallery.store.change_log import log_changes, note_unsought, request_scrub
from gallery.store.encoders import EncoderState
from gallery.store.records import FaceRecord, NewFace, StoredEncodings
from gallery.store.tables import (
    IDS_PER_QUERY,
    EncoderRow,
    FaceRow,
    IdentityRow,
    KeptImageRow,
    OtherEncodingRow,
    PhotoRow,
    ThumbnailRow,
)
from gallery.types import DIMENSION, Box, Encodings, Face, IdentityRef, Photo

_UNIT_TOLERANCE = 1e-3
_EncodingRow = Row[int, int, bytes, float, float]


def encoder_id(session: Session, name: str, weights_sha256: str, spec: str | None = None) -> int:
    """Return the id of the encoder in use, storing it if the gallery has none.

    spec : the setting that opens the encoder.
    Raises EncoderChanged when the gallery's encodings are by another encoder.
    """
    return encoders.get_or_set_current(session, name, weights_sha256, spec)


def current_encoder(session: Session) -> tuple[str, str] | None:
    """Return the name and the weights' SHA-256 of the encoder in use; None in an empty gallery."""
    row = encoders.current(session)
    return None if row is None else (row.name, row.weights_sha256)


def face_id_of(session: Session, identity_id: int, photo_sha256: str) -> int | None:
    """Return the id of the searchable face that this identity has from this photo."""
    return session.scalar(
        select(FaceRow.id)
        .join(PhotoRow)
        .where(FaceRow.identity_id == identity_id, PhotoRow.sha256 == photo_sha256, is_searchable())
    )


def photo_hashes(session: Session, identity_id: int) -> set[str]:
    """Return the SHA-256 of the file of each searchable face that this identity has."""
    query = select(PhotoRow.sha256).join(FaceRow)
    return set(session.scalars(query.where(FaceRow.identity_id == identity_id, is_searchable())))


def is_searchable() -> ColumnElement[bool]:
    """A condition on faces: the encoding is by the encoder in use."""
    current = (
        select(EncoderRow.id).where(EncoderRow.state == EncoderState.CURRENT).scalar_subquery()
    )
    return FaceRow.encoder_id == current


def ids_of_photo(session: Session, photo_sha256: str) -> list[int]:
    """Return the ids of the faces enrolled from a photo, ascending, of any identity."""
    query = select(FaceRow.id).join(PhotoRow).where(PhotoRow.sha256 == photo_sha256)
    return list(session.scalars(query.order_by(FaceRow.id)))


def add(session: Session, identity_id: int, photo: Photo, new: NewFace, encoder: int) -> int:
    """Store one face, log the change, and return the face's id.

    A face of this identity and photo that only an earlier encoder encoded keeps its id, and what
    a rollback to that encoder needs, and its date.
    Raises InvalidEncoding unless there is exactly one finite encoding of unit length.
    """
    vectors = new.encodings.vectors
    if vectors.shape != (1, DIMENSION) or vectors.dtype != np.float32:
        raise InvalidEncoding(
            f"the encoding is {vectors.dtype} {vectors.shape}, expected float32 (1, {DIMENSION})"
        )
    length = float(np.linalg.norm(vectors))
    if not abs(length - 1.0) <= _UNIT_TOLERANCE:  # also refuses NaN
        raise InvalidEncoding(f"the encoding has length {length}, expected 1")
    photo_id = _photo_id(session, photo)
    earlier = session.scalar(
        select(FaceRow).where(
            FaceRow.identity_id == identity_id, FaceRow.photo_id == photo_id, ~is_searchable()
        )
    )
    if earlier is not None:
        _set_earlier_aside(session, earlier, new.face.box, encoder)
    dates = (new.taken, None if earlier is None else earlier.taken, photo.taken)
    row = FaceRow(
        id=None if earlier is None else earlier.id,
        identity_id=identity_id,
        photo_id=photo_id,
        encoder_id=encoder,
        left=new.face.box.left,
        top=new.face.box.top,
        right=new.face.box.right,
        bottom=new.face.box.bottom,
        landmarks=[[float(v) for v in point] for point in new.face.landmarks],
        probability=new.face.probability,
        sharpness=new.face.sharpness,
        encoding=vectors.astype("<f4").tobytes(),
        norm=float(new.encodings.norms[0]),
        agreement=float(new.encodings.agreement[0]),
        views=new.views,
        source=printable(photo.source)[:4096],
        taken=next((date for date in dates if date is not None), None),
        picture_hash=new.picture_hash,
    )
    row = session.merge(row) if earlier is not None else row
    session.add(row)
    session.flush()
    log_changes(session, [row.id])
    return row.id


def encode_anew(
    session: Session, face_id: int, face: Face | None, encodings: Encodings, encoder: int
) -> None:
    """Give a face that only an earlier encoder encoded an encoding, (1, 128), by the one in use.

    What a rollback needs stays. face : where it is in its photo; None if that is unknown, so that
    it is taken to be the same face.
    """
    row = session.get_one(FaceRow, face_id)
    box = Box(row.left, row.top, row.right, row.bottom) if face is None else face.box
    _set_earlier_aside(session, row, box, encoder)
    if face is not None:
        row.left, row.top, row.right, row.bottom = box.left, box.top, box.right, box.bottom
        row.landmarks = face.landmarks.tolist()
        row.probability, row.sharpness = face.probability, face.sharpness
    row.encoder_id, row.encoding = encoder, encodings.vectors.astype("<f4").tobytes()
    row.norm, row.agreement = float(encodings.norms[0]), float(encodings.agreement[0])
    session.flush()
    log_changes(session, [face_id])


def _set_earlier_aside(session: Session, row: FaceRow, box: Box, encoder: int) -> None:
    """Before a face is encoded anew: set its encoding aside, as long as its encoder's are kept.

    If the photo's new face is another one, only the previous encoder's encoding of the old face
    stays, so that a rollback restores the earlier answers.
    """
    states = {record.id: record.state for record in encoders.with_encodings(session)}
    previous = next((i for i, state in states.items() if state is EncoderState.PREVIOUS), None)
    same_face = box.is_at(Box(row.left, row.top, row.right, row.bottom))
    other = OtherEncodingRow
    stale = other.encoder_id == encoder
    if not same_face:
        stale |= other.encoder_id != (encoder if previous is None else previous)
        dropped = [
            session.scalar(delete(table).where(table.face_id == row.id).returning(table.face_id))
            for table in (KeptImageRow, ThumbnailRow)
        ]
        if any(face_id is not None for face_id in dropped):
            request_scrub(session)
    note_unsought(session)
    session.execute(delete(other).where(other.face_id == row.id, stale))
    if row.encoder_id == previous or (same_face and row.encoder_id in states):
        session.merge(
            OtherEncodingRow(
                face_id=row.id,
                encoder_id=row.encoder_id,
                encoding=row.encoding,
                norm=row.norm,
                agreement=row.agreement,
            )
        )
    session.flush()


def _photo_id(session: Session, photo: Photo) -> int:
    existing = session.scalar(select(PhotoRow.id).where(PhotoRow.sha256 == photo.sha256))
    if existing is not None:
        return existing
    row = PhotoRow(sha256=photo.sha256, width=photo.width, height=photo.height)
    session.add(row)
    session.flush()
    return row.id


def count(session: Session) -> int:
    """Return the number of enrolled faces, searchable or not."""
    return session.scalar(select(func.count()).select_from(FaceRow)) or 0


def ids(session: Session) -> list[int]:
    """Return the ids of all searchable faces, ascending."""
    return list(session.scalars(select(FaceRow.id).where(is_searchable()).order_by(FaceRow.id)))


def records(session: Session, *, identity_id: int | None = None) -> list[FaceRecord]:
    """Return the enrolled faces of one identity or of all, in ascending order of id."""
    query = _records()
    if identity_id is not None:
        query = query.where(FaceRow.identity_id == identity_id)
    return [_record(row) for row in session.execute(query)]


def records_below(session: Session, limits: Mapping[str, float]) -> list[FaceRecord]:
    """Return the faces with a known value, which is not 0, under any of these limits, by id.

    limits : by the name of a column: "sharpness", "norm", "agreement".
    """
    columns = FaceRow.__table__.c
    below = (and_(columns[name] > 0.0, columns[name] < limit) for name, limit in limits.items())
    query = _records().where(or_(false(), *below))
    return [_record(row) for row in session.execute(query)]


def records_by_id(session: Session, face_ids: Iterable[int]) -> dict[int, FaceRecord]:
    """Return those of the given faces that exist, by id."""
    records: dict[int, FaceRecord] = {}
    for batch in batched(face_ids, IDS_PER_QUERY):
        rows = session.execute(_RECORDS_BY_ID, {"ids": batch})
        records |= {row.id: _record(row) for row in rows}
    return records


def records_of_photo(session: Session, sha256: str) -> list[FaceRecord]:
    """Return the faces enrolled from this file, by ascending id."""
    return [_record(row) for row in session.execute(_records().where(PhotoRow.sha256 == sha256))]


def set_taken(session: Session, face_id: int, taken: str | None) -> None:
    """Set the date of a face's photo, checked, or None for unknown."""
    session.execute(update(FaceRow).where(FaceRow.id == face_id).values(taken=taken))
    session.expire_all()


def dates_of(session: Session, identity_ids: Iterable[int]) -> dict[int, list[str]]:
    """Return the dates of the searchable faces of each identity that has any, by its id."""
    dates: dict[int, list[str]] = {}
    for batch in batched(identity_ids, IDS_PER_QUERY):
        query = select(FaceRow.identity_id, FaceRow.taken).distinct()
        query = query.where(FaceRow.identity_id.in_(batch), is_searchable())
        for identity_id, taken in session.execute(query):
            if taken is not None:
                dates.setdefault(identity_id, []).append(taken)
    return dates


def all_owners(session: Session) -> list[int]:
    """Return the ids of all identities that have faces, ascending."""
    return list(
        session.scalars(select(FaceRow.identity_id).distinct().order_by(FaceRow.identity_id))
    )


def with_faces(session: Session, identity_ids: Iterable[int]) -> list[int]:
    """Return those of these identities that have faces."""
    return [
        owner
        for batch in batched(identity_ids, IDS_PER_QUERY)
        for owner in session.scalars(
            select(FaceRow.identity_id).distinct().where(FaceRow.identity_id.in_(batch))
        )
    ]


def owners(session: Session, face_ids: Iterable[int]) -> set[int]:
    """Return the ids of the identities of those of the given faces that exist."""
    found: set[int] = set()
    for batch in batched(face_ids, IDS_PER_QUERY):
        found.update(session.scalars(select(FaceRow.identity_id).where(FaceRow.id.in_(batch))))
    return found


def identities_of(session: Session, face_ids: Iterable[int]) -> set[int]:
    """Return the ids of the identities of those of the given faces that are searchable."""
    return {
        identity_id
        for batch in batched(face_ids, IDS_PER_QUERY)
        for identity_id in session.scalars(_IDENTITIES_OF, {"ids": batch})
    }


def encodings_by_id(session: Session, face_ids: Iterable[int]) -> StoredEncodings:
    """Return the encodings of those of the given faces that are searchable."""
    rows: list[_EncodingRow] = []
    for batch in batched(sorted(face_ids), IDS_PER_QUERY):
        rows += session.execute(_ENCODINGS_BY_ID, {"ids": batch})
    return _stored(rows)


def encodings_of(session: Session, identity_ids: Iterable[int]) -> StoredEncodings:
    """Return every searchable encoding of these identities."""
    rows: list[_EncodingRow] = []
    for batch in batched(sorted(int(i) for i in identity_ids), IDS_PER_QUERY):
        rows += session.execute(_ENCODINGS_OF, {"ids": batch})
    return _stored(sorted(rows, key=lambda row: row[0]))


def all_encodings(session: Session, block: int = 10_000) -> Iterator[StoredEncodings]:
    """Yield every searchable encoding, in blocks of `block` rows, by ascending face id."""
    last = 0
    while rows := session.execute(_encodings().where(FaceRow.id > last).limit(block)).all():
        yield _stored(rows)
        last = rows[-1][0]


def _encodings() -> Select[int, int, bytes, float, float]:
    columns = (
        FaceRow.id,
        FaceRow.identity_id,
        FaceRow.encoding,
        FaceRow.norm,
        FaceRow.agreement,
    )
    return select(*columns).where(is_searchable()).order_by(FaceRow.id)


def _stored(rows: Sequence[_EncodingRow]) -> StoredEncodings:
    joined = b"".join(row[2] for row in rows)
    vectors = np.frombuffer(joined, dtype="<f4").reshape(-1, DIMENSION).astype(np.float32)
    return StoredEncodings(
        face_ids=np.array([row[0] for row in rows], dtype=np.int64),
        identity_ids=np.array([row[1] for row in rows], dtype=np.int64),
        encodings=Encodings(
            vectors,
            np.array([row[3] for row in rows], dtype=np.float32),
            np.array([row[4] for row in rows], dtype=np.float32),
        ),
    )


def _records() -> Select[Any]:
    """What a record needs, as columns: faster than rows as objects, and without the encodings."""
    box = (FaceRow.left, FaceRow.top, FaceRow.right, FaceRow.bottom)
    measures = (FaceRow.probability, FaceRow.sharpness, FaceRow.norm, FaceRow.agreement)
    return (
        select(FaceRow.id, FaceRow.identity_id, IdentityRow.name, FaceRow.source, PhotoRow.sha256)
        .add_columns(*box, *measures, FaceRow.created_at, FaceRow.taken, FaceRow.picture_hash)
        .join(IdentityRow, FaceRow.identity_id == IdentityRow.id)
        .join(PhotoRow, FaceRow.photo_id == PhotoRow.id)
        .order_by(FaceRow.id)
    )


def _record(row: Row[Any]) -> FaceRecord:
    return FaceRecord(
        id=row.id,
        identity=IdentityRef(row.identity_id, row.name),
        photo=row.source,
        photo_sha256=row.sha256,
        box=Box(row.left, row.top, row.right, row.bottom),
        probability=row.probability,
        sharpness=row.sharpness,
        norm=row.norm,
        agreement=row.agreement,
        created_at=row.created_at,
        taken=row.taken,
        picture_hash=row.picture_hash,
    )


# Built once: building a statement takes longer than running it.
_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_IDENTITIES_OF = select(FaceRow.identity_id).distinct().where(FaceRow.id.in_(_IDS), is_searchable())
_ENCODINGS_OF = _encodings().where(FaceRow.identity_id.in_(_IDS))
_ENCODINGS_BY_ID = _encodings().where(FaceRow.id.in_(_IDS))
_RECORDS_BY_ID = _records().where(FaceRow.id.in_(_IDS))
