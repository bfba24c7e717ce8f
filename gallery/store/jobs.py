"""Background jobs requested over HTTP, stored so that a restart resumes them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any
from uuid import uuid4

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from gallery.errors import JobNotFound
from gallery.store.records import JobRecord
from gallery.store.tables import JobRow

_FINISHED_JOBS_KEPT = 100
MOST_TRIES = 3

_NEVER_ENDED = (
    f"it was started {MOST_TRIES} times and never came to an end, perhaps because the server had"
    " too little memory; see its log, then start it again"
)


class JobState(StrEnum):
    """The state of a job. The last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINISHED = (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


def add(session: Session, kind: str) -> JobRecord:
    """Queue a new job, and delete all but the newest finished jobs."""
    old = select(JobRow).where(JobRow.state.in_(FINISHED)).order_by(JobRow.created_at.desc())
    for row in session.scalars(old.offset(_FINISHED_JOBS_KEPT)):
        session.delete(row)
    row = JobRow(id=uuid4().hex, kind=kind, state=JobState.QUEUED, done=0, total=0)
    session.add(row)
    session.flush()
    return _record(row)


def get(session: Session, job_id: str) -> JobRecord:
    """Return a job. Raises JobNotFound."""
    row = session.get(JobRow, job_id)
    if row is None:
        raise JobNotFound(f"there is no job {job_id!r}; old jobs are deleted")
    return _record(row)


def unfinished(session: Session) -> list[JobRecord]:
    """Return the unfinished jobs, which a restart resumes, oldest first."""
    query = select(JobRow).where(JobRow.state.not_in(FINISHED)).order_by(JobRow.created_at)
    return [_record(row) for row in session.scalars(query)]


def begin(session: Session, job_id: str) -> bool:
    """Note that an unfinished job is started; return False if it is finished.

    One that was started `MOST_TRIES` times and never came to an end is marked as failed.
    """
    row = session.get(JobRow, job_id)
    if row is None or row.state in FINISHED:
        return False
    if row.tries >= MOST_TRIES:
        row.state, row.error = JobState.FAILED, _NEVER_ENDED
        return False
    row.state, row.tries, row.done = JobState.RUNNING, row.tries + 1, 0
    return True


def interrupt(session: Session, job_id: str) -> None:
    """Note that the server stopped a job itself: this was no try."""
    row = session.get(JobRow, job_id)
    if row is not None and row.state not in FINISHED:
        row.tries -= 1


def change(session: Session, job_id: str, **values: Any) -> bool:
    """Set fields of an unfinished job; return False if it is finished."""
    unfinished = JobRow.state.not_in(FINISHED)
    changed = session.execute(
        update(JobRow).where(JobRow.id == job_id, unfinished).values(**values)
    )
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
