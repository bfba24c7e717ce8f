"""Jobs: long work asked for over HTTP, kept so that a restart goes on with it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any
from uuid import uuid4

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from gallery.errors import JobNotFound
from gallery.store.records import JobRecord
from gallery.store.tables import JobRow

_KEPT = 100


class JobState(StrEnum):
    """Where a job is. It ends as one of the last three."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


def add(session: Session, kind: str) -> JobRecord:
    """A new one, queued; of those that have ended the newest are kept."""
    old = select(JobRow).where(JobRow.state.in_(ENDED)).order_by(JobRow.created_at.desc())
    for row in session.scalars(old.offset(_KEPT)):
        session.delete(row)
    row = JobRow(id=uuid4().hex, kind=kind, state=JobState.QUEUED, done=0, total=0)
    session.add(row)
    session.flush()
    return _record(row)


def get(session: Session, job_id: str) -> JobRecord:
    """Raises JobNotFound."""
    row = session.get(JobRow, job_id)
    if row is None:
        raise JobNotFound(f"there is no job {job_id!r}; it may have been dropped as too old")
    return _record(row)


def unended(session: Session) -> list[JobRecord]:
    """What a restart has to go on with, the oldest first."""
    query = select(JobRow).where(JobRow.state.not_in(ENDED)).order_by(JobRow.created_at)
    return [_record(row) for row in session.scalars(query)]


def change(session: Session, job_id: str, **values: Any) -> bool:
    """Set fields of a job that has not ended; False when it has."""
    running = JobRow.state.not_in(ENDED)
    changed = session.execute(update(JobRow).where(JobRow.id == job_id, running).values(**values))
    return bool(changed.rowcount)  # type: ignore[attr-defined]


def _record(row: JobRow) -> JobRecord:
    return JobRecord(
        id=row.id,
        kind=row.kind,
        state=row.state,
        done=row.done,
        total=row.total,
        result=row.result,
        error=row.error,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
