"""Faces and their encodings: stored, read back, counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
from sqlalchemy import ColumnElement, Row, Select, delete, func, select
from sqlalchemy.orm import Session, contains_eager

from gallery.errors import InvalidEncoding
from gallery.names import printable
from gallery.store import encoders
from gallery.store.change_log import log_changes, remember_to_scrub
from gallery.store.encoders import EncoderState
from gallery.store.records import FaceRecord, NewFace, StoredEncodings
from gallery.store.tables import (
    EncoderRow,
    FaceRow,
    IdentityRow,
    KeptRow,
    OtherEncodingRow,
    PhotoRow,
    ThumbnailRow,
)
from gallery.types import DIMENSION, Box, Encodings, IdentityRef, Photo

_IDS_A_QUERY = 10_000  # SQLite takes 32,766 parameters
_UNIT_TOLERANCE = 1e-3
_EncodingRow = Row[int, int, bytes, float, float]


def encoder_id(session: Session, name: str, weights_sha256: str, spec: str | None = None) -> int:
    """The encoder's row, made when the gallery has none. spec : what opens the encoder.

    Raises EncoderChanged when the gallery's encodings are another encoder's.
    """
    return encoders.use(session, name, weights_sha256, spec)


def encoder(session: Session) -> tuple[str, str] | None:
    """The name and the SHA-256 of the weights that the gallery's encodings are of."""
    row = encoders.current(session)
    return None if row is None else (row.name, row.weights_sha256)


def check_encoder(session: Session, name: str, weights_sha256: str) -> None:
    """Raises EncoderChanged when the gallery's encodings are another encoder's."""
    encoders.check_current(session, name, weights_sha256, None)


def face_of(session: Session, identity_id: int, photo_sha256: str) -> int | None:
    """The face enrolled for this identity from this photo, seen by the encoder in use."""
    return session.scalar(
        select(FaceRow.id)
        .join(PhotoRow)
        .where(FaceRow.identity_id == identity_id, PhotoRow.sha256 == photo_sha256, in_search())
    )


def in_search() -> ColumnElement[bool]:
    """Of a face: whether its encoding is of the encoder in use."""
    now = select(EncoderRow.id).where(EncoderRow.state == EncoderState.CURRENT).scalar_subquery()
    return FaceRow.encoder_id == now


def of_photo(session: Session, photo_sha256: str) -> list[int]:
    """The faces enrolled from a photo, for whomever."""
    query = select(FaceRow.id).join(PhotoRow).where(PhotoRow.sha256 == photo_sha256)
    return list(session.scalars(query.order_by(FaceRow.id)))


def add(session: Session, identity_id: int, photo: Photo, new: NewFace, encoder: int) -> int:
    """Store one face and log it; returns its id.

    A face that an earlier encoder saw, and this one did not, keeps its id, and what a way back to
    that encoder needs.
    Raises InvalidEncoding for anything but one finite encoding of unit length.
    """
    vectors = new.encodings.vectors
    if vectors.shape != (1, DIMENSION) or vectors.dtype != np.float32:
        raise InvalidEncoding(
            f"an encoding of {vectors.dtype} {vectors.shape}, expected float32 (1, {DIMENSION})"
        )
    length = float(np.linalg.norm(vectors))
    if not abs(length - 1.0) <= _UNIT_TOLERANCE:  # also refuses NaN
        raise InvalidEncoding(f"an encoding of length {length}, expected 1")
    photo_id = _photo_id(session, photo)
    earlier = session.scalar(
        select(FaceRow).where(
            FaceRow.identity_id == identity_id, FaceRow.photo_id == photo_id, ~in_search()
        )
    )
    if earlier is not None:
        _make_room(session, earlier, new.face.box, encoder)
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
    )
    row = session.merge(row) if earlier is not None else row
    session.add(row)
    session.flush()
    log_changes(session, [row.id])
    return row.id


def _make_room(session: Session, row: FaceRow, box: Box, encoder: int) -> None:
    """Before a face is seen anew: put its encoding beside, while its encoder's are kept.

    Of what there is of another face of the photo, which was enrolled in its place, only the
    previous encoder's encoding stays: going back gives the answers that there were.
    """
    kept = {record.id: record.state for record in encoders.kept(session)}
    last = next((i for i, state in kept.items() if state is EncoderState.PREVIOUS), None)
    same = _is_in(box, Box(row.left, row.top, row.right, row.bottom))
    theirs = OtherEncodingRow
    stale = theirs.encoder_id == encoder
    if not same:
        stale |= theirs.encoder_id != (encoder if last is None else last)
        pictures = [
            session.scalar(delete(table).where(table.face_id == row.id).returning(table.face_id))
            for table in (KeptRow, ThumbnailRow)
        ]
        if any(face_id is not None for face_id in pictures):
            remember_to_scrub(session)
    session.execute(delete(theirs).where(theirs.face_id == row.id, stale))
    if row.encoder_id == last or (same and row.encoder_id in kept):
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


def _is_in(one: Box, other: Box) -> bool:
    """Whether the middle of each is in the other."""
    return all(
        box.left <= x <= box.right and box.top <= y <= box.bottom
        for box, (x, y) in ((one, other.centre), (other, one.centre))
    )


def _photo_id(session: Session, photo: Photo) -> int:
    found = session.scalar(select(PhotoRow.id).where(PhotoRow.sha256 == photo.sha256))
    if found is not None:
        return found
    row = PhotoRow(sha256=photo.sha256, width=photo.width, height=photo.height)
    session.add(row)
    session.flush()
    return row.id


def count(session: Session) -> int:
    """How many faces there are."""
    return session.scalar(select(func.count()).select_from(FaceRow)) or 0


def ids(session: Session) -> list[int]:
    """The ids of all faces that are in searches, ascending."""
    return list(session.scalars(select(FaceRow.id).where(in_search()).order_by(FaceRow.id)))


def records(session: Session, *, identity_id: int | None = None) -> list[FaceRecord]:
    """Enrolled faces, of one identity or of all."""
    query = _with_photo_and_identity()
    if identity_id is not None:
        query = query.where(FaceRow.identity_id == identity_id)
    return [_record(row) for row in session.scalars(query)]


def records_by_id(session: Session, face_ids: Iterable[int]) -> dict[int, FaceRecord]:
    """Those of the given faces that are there."""
    found: dict[int, FaceRecord] = {}
    for some in _batches(face_ids):
        query = _with_photo_and_identity().where(FaceRow.id.in_(some))
        found |= {row.id: _record(row) for row in session.scalars(query)}
    return found


def encodings_by_id(session: Session, face_ids: Iterable[int]) -> StoredEncodings:
    """The encodings of those of the given faces that are there."""
    rows: list[_EncodingRow] = []
    for some in _batches(sorted(face_ids)):
        rows += session.execute(_encodings().where(FaceRow.id.in_(some)))
    return _stored(rows)


def encodings_of(session: Session, identity_ids: Iterable[int]) -> StoredEncodings:
    """Every encoding of these identities."""
    rows: list[_EncodingRow] = []
    for some in _batches(sorted(int(i) for i in identity_ids)):
        rows += session.execute(_encodings().where(FaceRow.identity_id.in_(some)))
    return _stored(sorted(rows, key=lambda row: row[0]))


def all_encodings(session: Session, block: int = 10_000) -> Iterator[StoredEncodings]:
    """Every encoding, in blocks of ascending face id."""
    last = 0
    while rows := session.execute(_encodings().where(FaceRow.id > last).limit(block)).all():
        yield _stored(rows)
        last = rows[-1][0]


def _batches(face_ids: Iterable[int]) -> Iterator[list[int]]:
    remaining = iter(face_ids)
    while batch := list(islice(remaining, _IDS_A_QUERY)):
        yield batch


def _encodings() -> Select[int, int, bytes, float, float]:
    columns = (
        FaceRow.id,
        FaceRow.identity_id,
        FaceRow.encoding,
        FaceRow.norm,
        FaceRow.agreement,
    )
    return select(*columns).where(in_search()).order_by(FaceRow.id)


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


def _with_photo_and_identity() -> Select[FaceRow]:
    return (
        select(FaceRow)
        .join(IdentityRow)
        .join(PhotoRow)
        .options(contains_eager(FaceRow.identity), contains_eager(FaceRow.photo))
        .order_by(FaceRow.id)
    )


def _record(row: FaceRow) -> FaceRecord:
    return FaceRecord(
        id=row.id,
        identity=IdentityRef(row.identity.id, row.identity.name),
        photo=row.source,
        photo_sha256=row.photo.sha256,
        box=Box(row.left, row.top, row.right, row.bottom),
        probability=row.probability,
        sharpness=row.sharpness,
        norm=row.norm,
        created_at=row.created_at,
    )
