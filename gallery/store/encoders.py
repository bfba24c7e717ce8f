"""The encoders whose encodings are stored: the current, the next and the previous one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Row, bindparam, select
from sqlalchemy.orm import Session

from gallery.errors import EncoderChanged
from gallery.store.tables import EncoderRow


class EncoderState(StrEnum):
    """What the encodings of an encoder are for.

    The current one's are searched, the next one's are being made, the previous one's are kept for a
    rollback. Of a past encoder no encodings are kept.
    """

    CURRENT = "current"
    NEXT = "next"
    PREVIOUS = "previous"
    PAST = "past"


@dataclass(frozen=True)
class EncoderRecord:
    """An encoder. spec : the setting that opens it; None if an older version recorded it."""

    id: int
    name: str
    weights_sha256: str
    spec: str | None
    state: EncoderState

    def __str__(self) -> str:
        return f"{self.spec or self.name} ({self.weights_sha256[:12]})"


_COLUMNS = (
    EncoderRow.id,
    EncoderRow.name,
    EncoderRow.weights_sha256,
    EncoderRow.spec,
    EncoderRow.state,
)
_IN_STATE = select(*_COLUMNS).where(EncoderRow.state == bindparam("state"))


def in_state(session: Session, state: EncoderState) -> EncoderRecord | None:
    """Return the encoder in this state. At most one is, except for PAST."""
    row = session.execute(_IN_STATE, {"state": state}).one_or_none()
    return None if row is None else _record(row)


def get(session: Session, encoder_id: int) -> EncoderRecord:
    """Return the encoder with this id, which must exist."""
    return _record(session.get_one(EncoderRow, encoder_id))


def current(session: Session) -> EncoderRecord | None:
    """Return the encoder in use; None until the first enrolment."""
    return in_state(session, EncoderState.CURRENT)


def with_encodings(session: Session) -> list[EncoderRecord]:
    """Return the encoders that may have stored encodings."""
    rows = session.scalars(select(EncoderRow).where(EncoderRow.state != EncoderState.PAST))
    return [_record(row) for row in rows]


def check_current(session: Session, name: str, weights_sha256: str, spec: str | None) -> None:
    """Raise EncoderChanged if the gallery's encodings are by another encoder."""
    record = current(session)
    if record is not None and (record.name, record.weights_sha256) != (name, weights_sha256):
        other = f"{spec or name} ({weights_sha256[:12]})" if weights_sha256 else (spec or name)
        raise EncoderChanged(
            f"the gallery's encodings are of {record}, not of {other};"
            " encodings of two encoders cannot be compared: re-encode the gallery with `gallery"
            f" re-encode --encoder {spec or name}`, use its own encoder (no --encoder, no"
            " GALLERY_ENCODER), or enrol the photos again into a new --home"
        )


def get_or_set_current(session: Session, name: str, weights_sha256: str, spec: str | None) -> int:
    """Return the id of the encoder in use, setting it if there is none. Raises EncoderChanged."""
    check_current(session, name, weights_sha256, spec)
    row = _get_or_add(session, name, weights_sha256, spec)
    row.state = EncoderState.CURRENT
    session.flush()
    return row.id


def set_spec(session: Session, encoder_id: int, spec: str) -> None:
    """Store the setting that opens an encoder."""
    session.get_one(EncoderRow, encoder_id).spec = spec


def get_or_add(session: Session, name: str, weights_sha256: str, spec: str | None) -> EncoderRecord:
    """Return the record of an encoder, adding it in state PAST if it is new."""
    return _record(_get_or_add(session, name, weights_sha256, spec))


def check_in_use(session: Session, weights_sha256: str) -> None:
    """Raise EncoderChanged if the gallery has encodings, and another encoder is in use."""
    record = current(session)
    if record is not None and record.weights_sha256 != weights_sha256:
        raise EncoderChanged(f"the gallery's encodings are now of {record}; try again")


def set_state(session: Session, encoder_id: int, state: EncoderState) -> None:
    """Set an encoder's state. The caller ensures that at most one encoder is in each."""
    session.get_one(EncoderRow, encoder_id).state = state
    session.flush()


def _get_or_add(session: Session, name: str, weights_sha256: str, spec: str | None) -> EncoderRow:
    row = session.scalar(
        select(EncoderRow).where(
            EncoderRow.name == name, EncoderRow.weights_sha256 == weights_sha256
        )
    )
    if row is None:
        row = EncoderRow(name=name, weights_sha256=weights_sha256, state=EncoderState.PAST)
        session.add(row)
    if spec is not None:
        row.spec = spec
    session.flush()
    return row


def _record(row: EncoderRow | Row[int, str, str, str | None, str]) -> EncoderRecord:
    spec = None if row.spec == "None" else row.spec  # as an earlier version stored a missing one
    return EncoderRecord(row.id, row.name, row.weights_sha256, spec, EncoderState(row.state))
