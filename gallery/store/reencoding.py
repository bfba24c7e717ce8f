"""Re-encoding: a new encoder's encodings beside those in use, and the switch between the two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Exists, delete, func, insert, literal_column, select, update
from sqlalchemy.orm import Session

from gallery.errors import CannotReencode, EncoderChanged
from gallery.store import encoders
from gallery.store.change_log import log_changes, note_unsought, request_scrub
from gallery.store.encoders import EncoderState
from gallery.store.packing import drop_packed_encodings
from gallery.store.tables import FaceRow, IdentityRow, KeptImageRow, OtherEncodingRow, PhotoRow
from gallery.types import Encodings, Float32


@dataclass(frozen=True)
class FaceToEncode:
    """A face without an encoding by the next encoder.

    landmarks : float32 (5, 2), pixels of the upright photo.
    views : number of views averaged in its encoding.
    has_image : whether an image to re-encode it from is stored.
    """

    id: int
    identity_id: int
    name: str
    photo: str
    photo_sha256: str
    landmarks: Float32
    views: int
    has_image: bool

    @property
    def has_landmarks(self) -> bool:
        """Whether its landmarks are known; those of an imported face may not be."""
        return bool(np.isfinite(self.landmarks).all() and np.ptp(self.landmarks, axis=0).any())


def begin(session: Session, name: str, weights_sha256: str, spec: str | None) -> None:
    """Make an encoder the next one, and drop the encodings of another next one.

    Its own earlier encodings, for example from an interrupted run, stay. The encoder in use keeps
    its state, to encode the faces that were left out when it came into use. The previous encoder
    keeps its state until the switch, so that a rollback is always possible.
    Raises EncoderChanged if the encoder is in use and has encoded every face.
    """
    record = encoders.get_or_add(session, name, weights_sha256, spec)
    if record.state is EncoderState.CURRENT:
        if not unencoded(session):
            raise EncoderChanged(f"the gallery's encodings are already of {record}; nothing to do")
        return
    if record.state is EncoderState.PREVIOUS:
        return
    other = encoders.in_state(session, EncoderState.NEXT)
    if other is not None and other.id != record.id:
        _drop_encodings(session, other.id)
    encoders.set_state(session, record.id, EncoderState.NEXT)


def to_encode(session: Session, encoder_id: int) -> Iterator[FaceToEncode]:
    """Yield the faces without an encoding by this encoder, by ascending id."""
    rows = session.execute(
        select(
            FaceRow.id,
            IdentityRow.id,
            IdentityRow.name,
            FaceRow.source,
            PhotoRow.sha256,
            FaceRow.landmarks,
            FaceRow.views,
            select(KeptImageRow.face_id).where(KeptImageRow.face_id == FaceRow.id).exists(),
        )
        .join(IdentityRow, IdentityRow.id == FaceRow.identity_id)
        .join(PhotoRow, PhotoRow.id == FaceRow.photo_id)
        .where(FaceRow.encoder_id != encoder_id, ~_has_other_encoding(encoder_id))
        .order_by(FaceRow.id)
    )
    for row in rows:
        landmarks = np.array(row[5], dtype=np.float32)
        yield FaceToEncode(*row[:5], landmarks, *row[6:])


def save(session: Session, encoder_id: int, face_id: int, encodings: Encodings) -> bool:
    """Store a face's encoding, (1, 128); return False if the face was erased.

    Raises CannotReencode if the encoder's encodings are no longer kept.
    """
    _refuse_past(session, encoder_id)
    if session.scalar(select(FaceRow.id).where(FaceRow.id == face_id)) is None:
        return False
    session.merge(
        OtherEncodingRow(
            face_id=face_id,
            encoder_id=encoder_id,
            encoding=encodings.vectors.astype("<f4").tobytes(),
            norm=float(encodings.norms[0]),
            agreement=float(encodings.agreement[0]),
        )
    )
    session.flush()
    return True


def progress(session: Session, encoder_id: int) -> tuple[int, int]:
    """Return how many faces have an encoding by this encoder, and how many faces there are."""
    encoded = select(func.count()).where(
        (FaceRow.encoder_id == encoder_id) | _has_other_encoding(encoder_id)
    )
    return session.scalar(encoded) or 0, session.scalar(select(func.count(FaceRow.id))) or 0


def switch(session: Session, encoder_id: int) -> None:
    """Use this encoder's encodings for searches, and keep those in use until now for rollback.

    Faces that it has not encoded keep their encodings, and are not searchable until it has.
    The encodings of older encoders are deleted. Raises CannotReencode if this encoder's were.
    """
    _refuse_past(session, encoder_id)
    before = encoders.current(session)
    ids = select(FaceRow.id).where(
        _has_other_encoding(encoder_id), FaceRow.encoder_id != encoder_id
    )
    columns = (FaceRow.id, FaceRow.encoder_id, FaceRow.encoding, FaceRow.norm, FaceRow.agreement)
    session.execute(
        insert(OtherEncodingRow)
        .prefix_with("OR REPLACE")
        .from_select(
            ["face_id", "encoder_id", "encoding", "norm", "agreement"],
            select(*columns).where(FaceRow.id.in_(ids)),
        )
    )
    other = OtherEncodingRow
    new = {
        column: select(getattr(other, column))
        .where(other.face_id == FaceRow.id, other.encoder_id == encoder_id)
        .scalar_subquery()
        for column in ("encoding", "norm", "agreement")
    }
    session.execute(
        update(FaceRow)
        .where(FaceRow.id.in_(ids))
        .values(**new, encoder_id=encoder_id)
        .execution_options(synchronize_session=False)
    )
    if before is not None and before.id == encoder_id:
        previous = encoders.in_state(session, EncoderState.PREVIOUS)
    else:
        previous = before
    kept_ids = {encoder_id} if previous is None else {encoder_id, previous.id}
    note_unsought(session)
    session.execute(delete(other).where(other.encoder_id == encoder_id))
    session.execute(delete(other).where(other.encoder_id.not_in(kept_ids)))
    for record in encoders.with_encodings(session):
        if record.id not in kept_ids:
            encoders.set_state(session, record.id, EncoderState.PAST)
    if previous is not None:
        encoders.set_state(session, previous.id, EncoderState.PREVIOUS)
    encoders.set_state(session, encoder_id, EncoderState.CURRENT)
    session.expire_all()
    log_changes(session, list(session.scalars(select(FaceRow.id).order_by(FaceRow.id))))


def finish(session: Session) -> int:
    """Delete the encodings of all encoders but the current one, also of faces set aside.

    Returns how many there were. Their bytes still have to be scrubbed, which is noted.
    """
    dropped = session.scalar(select(func.count(literal_column("1"))).select_from(OtherEncodingRow))
    for record in encoders.with_encodings(session):
        if record.state is not EncoderState.CURRENT:
            _drop_encodings(session, record.id)
    note_unsought(session)
    session.execute(delete(OtherEncodingRow))
    request_scrub(session)
    return (dropped or 0) + drop_packed_encodings(session)


def unencoded(session: Session) -> list[tuple[int, str, str]]:
    """Return (face id, identity name, photo name) of faces that the encoder in use has not encoded.

    No search finds them.
    """
    current = encoders.current(session)
    rows = session.execute(
        select(FaceRow.id, IdentityRow.name, FaceRow.source)
        .join(IdentityRow, IdentityRow.id == FaceRow.identity_id)
        .where(FaceRow.encoder_id != (None if current is None else current.id))
        .order_by(FaceRow.id)
    )
    return [(row[0], row[1], row[2]) for row in rows]


def _refuse_past(session: Session, encoder_id: int) -> None:
    record = encoders.get(session, encoder_id)
    if record.state is EncoderState.PAST:
        raise CannotReencode(
            f"re-encoding with {record} was ended meanwhile, by --finish or by another change, and"
            " its encodings were deleted; run `gallery re-encode` to start again"
        )


def _has_other_encoding(encoder_id: int) -> Exists:
    return (
        select(OtherEncodingRow.face_id)
        .where(OtherEncodingRow.face_id == FaceRow.id, OtherEncodingRow.encoder_id == encoder_id)
        .exists()
    )


def _drop_encodings(session: Session, encoder_id: int) -> None:
    note_unsought(session)
    session.execute(delete(OtherEncodingRow).where(OtherEncodingRow.encoder_id == encoder_id))
    encoders.set_state(session, encoder_id, EncoderState.PAST)
