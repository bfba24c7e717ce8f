"""The audit trail: who enrolled, queried, changed and erased, without names, chained by hashes.

Each entry's digest covers the previous digest and the entry, so an entry that was changed, or
removed from between two others, is detected. To detect a truncated end, note the newest digest
elsewhere. Entries older than the retention period are deleted from the beginning.
"""

from __future__ import annotations

import hashlib
import json
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, delete, func, or_, select
from sqlalchemy.orm import Session

from gallery.store.records import AuditEntry
from gallery.store.tables import AuditRow

_FIRST = "0" * 64
_ERASING = ("forget", "expire")  # prefixes of the actions that erase


@dataclass(frozen=True)
class Actor:
    """Who acts, and in which request.

    name : "command line", "this machine", "server", or an API key's id.
    """

    name: str = "command line"
    request_id: str | None = None


_acting: ContextVar[Actor] = ContextVar("acting", default=Actor())  # noqa: B039  frozen


def act_as(actor: Actor) -> None:
    """Record the rest of this task as done by this actor."""
    _acting.set(actor)


def current_actor() -> Actor:
    """Return the actor of this task."""
    return _acting.get()


def record(
    session: Session,
    action: str,
    *,
    identity_id: int | None = None,
    outcome: str | None = None,
    actor: Actor | None = None,
    at: datetime | None = None,
) -> None:
    """Add an entry, in the transaction of the action itself.

    actor : by default the actor of this task.  at : by default now.
    """
    actor = actor or current_actor()
    last = session.scalar(select(AuditRow).order_by(AuditRow.id.desc()).limit(1))
    row = AuditRow(
        at=at or datetime.now(UTC),
        actor=actor.name,
        action=action,
        identity_id=identity_id,
        outcome=outcome,
        request_id=actor.request_id,
        previous=_FIRST if last is None else last.digest,
    )
    row.digest = _digest(row)
    session.add(row)
    session.flush()


def entries(session: Session, newest: int) -> list[AuditEntry]:
    """Return the newest entries, at most `newest`, oldest first."""
    rows = session.scalars(select(AuditRow).order_by(AuditRow.id.desc()).limit(newest))
    return [_entry(row) for row in reversed(rows.all())]


def erasures(session: Session, identity_id: int) -> list[AuditEntry]:
    """Return the entries of this identity's erasures that are still in the trail."""
    actions = AuditRow.action.in_(_ERASING)
    query = select(AuditRow).where(AuditRow.identity_id == identity_id, actions)
    return [_entry(row) for row in session.scalars(query.order_by(AuditRow.id))]


def count(session: Session) -> int:
    """Return the number of entries."""
    return session.scalar(select(func.count()).select_from(AuditRow)) or 0


def problems(session: Session) -> list[str]:
    """Return what is wrong with the chain; empty when it is intact."""
    before: AuditRow | None = None
    for row in session.scalars(select(AuditRow).order_by(AuditRow.id)).yield_per(1_000):
        if row.digest != _digest(row):
            return [f"entry {row.id} was changed"]
        if before is not None and row.previous != before.digest:
            return [f"an entry between {before.id} and {row.id} is missing or was changed"]
        before = row
    return []


def erasure_since(session: Session, entry: int | None) -> tuple[int, bool]:
    """Return the newest entry's id, and whether an erasure was recorded after `entry`.

    With None for `entry` there is no erasure to report.
    """
    newest = session.scalar(select(func.max(AuditRow.id))) or 0
    if entry is None or entry == newest:
        return newest, False
    erasing = or_(*(AuditRow.action.startswith(action) for action in _ERASING))
    erasure = session.scalar(select(AuditRow.id).where(AuditRow.id > entry, erasing).limit(1))
    return newest, erasure is not None


def is_prune_due(session: Session, days: int) -> bool:
    """Whether the oldest entry is older than `days`."""
    first = select(func.min(AuditRow.id)).scalar_subquery()
    old = select(AuditRow.id).where(AuditRow.id == first, _older(days))
    return session.scalar(old) is not None


def prune(session: Session, days: int) -> None:
    """Delete the entries older than `days` that precede every newer entry.

    The chain stays whole even if the clock was wrong for a while.
    """
    first_kept = session.scalar(select(func.min(AuditRow.id)).where(~_older(days)))
    old = AuditRow.id < first_kept if first_kept is not None else _older(days)
    session.execute(delete(AuditRow).where(old))


def _entry(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        id=row.id,
        at=row.at,
        actor=row.actor,
        action=row.action,
        identity_id=row.identity_id,
        outcome=row.outcome,
        request_id=row.request_id,
        digest=row.digest,
    )


def _older(days: int) -> ColumnElement[bool]:
    return AuditRow.at < datetime.now(UTC) - timedelta(days=days)


def _digest(row: AuditRow) -> str:
    fields = [
        row.previous,
        row.at.astimezone(UTC).isoformat(timespec="microseconds"),
        row.actor,
        row.action,
        row.identity_id,
        row.outcome,
        row.request_id,
    ]
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()
