"""Calibrations of the operating point, numbered; at most one per head is in use."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.orm import Session

from gallery.errors import CalibrationNotFound
from gallery.store.records import CalibrationRecord
from gallery.store.tables import CalibrationRow


def add(
    session: Session,
    head_sha256: str,
    adjustment: dict[str, Any],
    report: dict[str, Any],
    evidence: dict[str, Any] | None,
    *,
    in_use: bool = True,
) -> int:
    """Store a calibration and return its number. Fields as in CalibrationRecord."""
    row = CalibrationRow(
        head_sha256=head_sha256, adjustment=adjustment, report=report, evidence=evidence
    )
    session.add(row)
    session.flush()
    if in_use:
        set_in_use(session, head_sha256, row.id)
    return row.id


def drop(session: Session, number: int) -> None:
    """Delete a calibration."""
    session.execute(delete(CalibrationRow).where(CalibrationRow.id == number))


def set_in_use(session: Session, head_sha256: str, number: int) -> None:
    """Use a calibration of this head, or with 0 the head's own. Raises CalibrationNotFound."""
    of_head = CalibrationRow.head_sha256 == head_sha256
    if (
        number
        and session.scalar(select(CalibrationRow.id).where(of_head, CalibrationRow.id == number))
        is None
    ):
        known = ", ".join(str(r.id) for r in list_all(session) if r.head_sha256 == head_sha256)
        raise CalibrationNotFound(
            f"there is no calibration {number} of the head in use; available: {known or 'none'}"
            " (0 is the head's own)"
        )
    session.execute(
        update(CalibrationRow).where(of_head).values(in_use=CalibrationRow.id == number)
    )


_IN_USE = select(CalibrationRow).where(
    CalibrationRow.head_sha256 == bindparam("head"), CalibrationRow.in_use
)


def in_use(session: Session, head_sha256: str) -> CalibrationRecord | None:
    """Return the calibration in use with this head."""
    row = session.scalar(_IN_USE, {"head": head_sha256})
    return None if row is None else _record(row)


def list_all(session: Session) -> list[CalibrationRecord]:
    """Return the calibrations of all heads, oldest first."""
    return [
        _record(row) for row in session.scalars(select(CalibrationRow).order_by(CalibrationRow.id))
    ]


def _record(row: CalibrationRow) -> CalibrationRecord:
    return CalibrationRecord(
        id=row.id,
        head_sha256=row.head_sha256,
        adjustment=row.adjustment,
        report=row.report,
        evidence=row.evidence,
        in_use=row.in_use,
        created_at=row.created_at,
    )
