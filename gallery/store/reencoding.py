"""A gallery's faces encoded anew beside the encodings in use, and the switch between the two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Exists, delete, func, insert, literal_column, select, update
from sqlalchemy.orm import Session

from gallery.errors import CannotReencode, EncoderChanged
from gallery.store import encoders
from gallery.store.change_log import log_changes, remember_to_scrub
from gallery.store.encoders import EncoderState
from gallery.store.packing import drop_packed_encodings
from gallery.store.tables import FaceRow, IdentityRow, KeptRow, OtherEncodingRow, PhotoRow
from gallery.types import Encodings, Float32


@dataclass(frozen=True)
class FaceToEncode:
    """A face that the next encoder has not seen. landmarks : float32 (5, 2), of the upright photo.

    kept : whether its picture is.
    """

    id: int
    identity_id: int
    name: str
    photo: str
    photo_sha256: str
    landmarks: Float32
    views: int
    kept: bool

    @property
    def placed(self) -> bool:
        """Whether its landmarks say where it is; those of an imported face may be unknown."""
        return bool(np.isfinite(self.landmarks).all() and np.ptp(self.landmarks, axis=0).any())


def begin(session: Session, name: str, weights_sha256: str, spec: str) -> None:
    """Make an encoder the next one; what another next one had encoded is dropped.

    What is there of it already, from before or from a run that was cut short, stays.
    The one in use stays that, and is for the faces that were left when it came into use.
    The previous one stays that until the switch, so that there is a way back all the time.
    Raises EncoderChanged when it is in use and no faces were left.
    """
    record = encoders.make(session, name, weights_sha256, spec)
    if record.state is EncoderState.CURRENT:
        if not unseen(session):
            raise EncoderChanged(f"the gallery's encodings are of {record} already; nothing to do")
        return
    if record.state is EncoderState.PREVIOUS:
        return
    other = encoders.in_state(session, EncoderState.NEXT)
    if other is not None and other.id != record.id:
        _drop(session, other.id)
    encoders.put_in_state(session, record.id, EncoderState.NEXT)


def to_encode(session: Session, encoder_id: int) -> Iterator[FaceToEncode]:
    """Faces that have no encoding of this encoder, ascending."""
    rows = session.execute(
        select(
            FaceRow.id,
            IdentityRow.id,
            IdentityRow.name,
            FaceRow.source,
            PhotoRow.sha256,
            FaceRow.landmarks,
            FaceRow.views,
            select(KeptRow.face_id).where(KeptRow.face_id == FaceRow.id).exists(),
        )
        .join(IdentityRow, IdentityRow.id == FaceRow.identity_id)
        .join(PhotoRow, PhotoRow.id == FaceRow.photo_id)
        .where(FaceRow.encoder_id != encoder_id, ~_has(encoder_id))
        .order_by(FaceRow.id)
    )
    for row in rows:
        points = np.array(row[5], dtype=np.float32)
        yield FaceToEncode(row[0], row[1], row[2], row[3], row[4], points, row[6], row[7])


def put(session: Session, encoder_id: int, face_id: int, encodings: Encodings) -> bool:
    """Store a face's encoding, (1, 128); False when the face is gone.

    Raises CannotReencode when the encoder's encodings are not kept any more.
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


def done(session: Session, encoder_id: int) -> tuple[int, int]:
    """How many faces have an encoding of this encoder, and how many faces there are."""
    has = select(func.count()).where((FaceRow.encoder_id == encoder_id) | _has(encoder_id))
    return session.scalar(has) or 0, session.scalar(select(func.count(FaceRow.id))) or 0


def switch(session: Session, encoder_id: int) -> None:
    """Let this encoder's encodings answer; those in use until now are kept for a way back.

    Faces that it has not seen keep what they have, and are in no search until they are encoded.
    Of older encoders nothing is kept. Raises CannotReencode when that is so of this one, too.
    """
    _refuse_past(session, encoder_id)
    before = encoders.current(session)
    ids = select(FaceRow.id).where(_has(encoder_id), FaceRow.encoder_id != encoder_id)
    now = (FaceRow.id, FaceRow.encoder_id, FaceRow.encoding, FaceRow.norm, FaceRow.agreement)
    session.execute(
        insert(OtherEncodingRow)
        .prefix_with("OR REPLACE")
        .from_select(
            ["face_id", "encoder_id", "encoding", "norm", "agreement"],
            select(*now).where(FaceRow.id.in_(ids)),
        )
    )
    theirs = OtherEncodingRow
    new = {
        column: select(getattr(theirs, column))
        .where(theirs.face_id == FaceRow.id, theirs.encoder_id == encoder_id)
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
        last = encoders.in_state(session, EncoderState.PREVIOUS)
    else:
        last = before
    kept = {encoder_id} if last is None else {encoder_id, last.id}
    session.execute(delete(theirs).where(theirs.encoder_id == encoder_id))
    session.execute(delete(theirs).where(theirs.encoder_id.not_in(kept)))
    for record in encoders.kept(session):
        if record.id not in kept:
            encoders.put_in_state(session, record.id, EncoderState.PAST)
    if last is not None:
        encoders.put_in_state(session, last.id, EncoderState.PREVIOUS)
    encoders.put_in_state(session, encoder_id, EncoderState.CURRENT)
    session.expire_all()
    log_changes(session, list(session.scalars(select(FaceRow.id).order_by(FaceRow.id))))


def finish(session: Session) -> int:
    """Drop what is kept of the previous encoder, and of one that is being encoded with, of faces
    that a merge or a plan put aside too.

    Returns how many encodings that were; their bytes are to be scrubbed.
    """
    dropped = session.scalar(select(func.count(literal_column("1"))).select_from(OtherEncodingRow))
    for record in encoders.kept(session):
        if record.state is not EncoderState.CURRENT:
            _drop(session, record.id)
    session.execute(delete(OtherEncodingRow))
    remember_to_scrub(session)
    return (dropped or 0) + drop_packed_encodings(session)


def unseen(session: Session) -> list[tuple[int, str, str]]:
    """Faces that are in no search, since the encoder in use has not seen them.

    Their ids, whose they are, and what their photos are called.
    """
    now = encoders.current(session)
    rows = session.execute(
        select(FaceRow.id, IdentityRow.name, FaceRow.source)
        .join(IdentityRow, IdentityRow.id == FaceRow.identity_id)
        .where(FaceRow.encoder_id != (None if now is None else now.id))
        .order_by(FaceRow.id)
    )
    return [(row[0], row[1], row[2]) for row in rows]


def _refuse_past(session: Session, encoder_id: int) -> None:
    record = encoders.get(session, encoder_id)
    if record.state is EncoderState.PAST:
        raise CannotReencode(
            f"re-encoding with {record} was ended meanwhile, by --finish or by another change, and"
            " what it had encoded was dropped; run `gallery re-encode` again to begin anew"
        )


def _has(encoder_id: int) -> Exists:
    return (
        select(OtherEncodingRow.face_id)
        .where(OtherEncodingRow.face_id == FaceRow.id, OtherEncodingRow.encoder_id == encoder_id)
        .exists()
    )


def _drop(session: Session, encoder_id: int) -> None:
    session.execute(delete(OtherEncodingRow).where(OtherEncodingRow.encoder_id == encoder_id))
    encoders.put_in_state(session, encoder_id, EncoderState.PAST)
