"""The encoders whose encodings are stored: the one in use, the next one, the last one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from gallery.errors import EncoderChanged
from gallery.store.tables import EncoderRow


class EncoderState(StrEnum):
    """current : answers.  next : is being encoded with.  previous : kept for a way back."""

    CURRENT = "current"
    NEXT = "next"
    PREVIOUS = "previous"
    PAST = "past"


@dataclass(frozen=True)
class EncoderRecord:
    """spec : what opens it; None of a gallery that an older version made."""

    id: int
    name: str
    weights_sha256: str
    spec: str | None
    state: EncoderState

    def __str__(self) -> str:
        return f"{self.spec or self.name} ({self.weights_sha256[:12]})"


def in_state(session: Session, state: EncoderState) -> EncoderRecord | None:
    """The encoder in this state, of which there is one at most (but of PAST)."""
    row = session.scalar(select(EncoderRow).where(EncoderRow.state == state))
    return None if row is None else _record(row)


def get(session: Session, encoder_id: int) -> EncoderRecord:
    """The encoder of this id, which is there."""
    return _record(session.get_one(EncoderRow, encoder_id))


def current(session: Session) -> EncoderRecord | None:
    """The encoder in use; None while nothing was ever enrolled."""
    return in_state(session, EncoderState.CURRENT)


def kept(session: Session) -> list[EncoderRecord]:
    """All of which there may be encodings."""
    rows = session.scalars(select(EncoderRow).where(EncoderRow.state != EncoderState.PAST))
    return [_record(row) for row in rows]


def check_current(session: Session, name: str, weights_sha256: str, spec: str | None) -> None:
    """Raises EncoderChanged when the gallery's encodings are another encoder's."""
    now = current(session)
    if now is not None and (now.name, now.weights_sha256) != (name, weights_sha256):
        other = f"{spec or name} ({weights_sha256[:12]})" if weights_sha256 else (spec or name)
        raise EncoderChanged(
            f"the gallery's encodings are of {now}, not of {other};"
            " encodings of two encoders cannot be compared: change the gallery with `gallery"
            f" re-encode --encoder {spec or name}`, use its own encoder (no --encoder, no"
            " GALLERY_ENCODER), or enrol the photos again into a new --home"
        )


def use(session: Session, name: str, weights_sha256: str, spec: str | None) -> int:
    """The id of the encoder in use, made so when the gallery has none. Raises EncoderChanged."""
    check_current(session, name, weights_sha256, spec)
    row = _found(session, name, weights_sha256, spec)
    row.state = EncoderState.CURRENT
    session.flush()
    return row.id


def note_spec(session: Session, encoder_id: int, spec: str) -> None:
    """Remember what opens it now."""
    session.get_one(EncoderRow, encoder_id).spec = spec


def make(session: Session, name: str, weights_sha256: str, spec: str) -> EncoderRecord:
    """The record of an encoder, in whatever state; of a new one PAST."""
    return _record(_found(session, name, weights_sha256, spec))


def put_in_state(session: Session, encoder_id: int, state: EncoderState) -> None:
    """The caller keeps it to one encoder a state."""
    session.get_one(EncoderRow, encoder_id).state = state
    session.flush()


def _found(session: Session, name: str, weights_sha256: str, spec: str | None) -> EncoderRow:
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


def _record(row: EncoderRow) -> EncoderRecord:
    return EncoderRecord(row.id, row.name, row.weights_sha256, row.spec, EncoderState(row.state))
