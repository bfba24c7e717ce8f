"""Calibrations of the operating point: kept by version, at most one of a head's in use."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, select, update
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
    """Keep one, and put it in use; returns its number."""
    row = CalibrationRow(
        head_sha256=head_sha256, adjustment=adjustment, report=report, evidence=evidence
    )
    session.add(row)
    session.flush()
    if in_use:
        use(session, head_sha256, row.id)
    return row.id


def drop(session: Session, number: int) -> None:
    """As if it had never been made."""
    session.execute(delete(CalibrationRow).where(CalibrationRow.id == number))


def use(session: Session, head_sha256: str, number: int) -> None:
    """Put this one of a head's in use, or none with 0. Raises CalibrationNotFound."""
    mine = CalibrationRow.head_sha256 == head_sha256
    if (
        number
        and session.scalar(select(CalibrationRow.id).where(mine, CalibrationRow.id == number))
        is None
    ):
        there = ", ".join(str(r.id) for r in list_all(session) if r.head_sha256 == head_sha256)
        raise CalibrationNotFound(
            f"there is no calibration {number} of the head in use; there are: {there or 'none'}"
            " (0 is the head's own)"
        )
    session.execute(update(CalibrationRow).where(mine).values(in_use=CalibrationRow.id == number))


def in_use(session: Session, head_sha256: str) -> CalibrationRecord | None:
    """The one that is in use with this head."""
    row = session.scalar(
        select(CalibrationRow).where(
            CalibrationRow.head_sha256 == head_sha256, CalibrationRow.in_use
        )
    )
    return None if row is None else _record(row)


def list_all(session: Session) -> list[CalibrationRecord]:
    """Of all heads, the oldest first."""
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
