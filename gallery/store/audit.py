"""The audit trail: who enrolled, asked, changed and erased, by numbers alone, chained by hashes.

Each entry's digest is taken of the one before it and of the entry, so that an entry that was
changed, or taken out from between two others, shows. The newest digest, noted elsewhere, shows
that the end was not cut off either. Entries over the retention are dropped from the beginning.
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
_ERASING = ("forget", "expire")  # how the actions begin after which someone is gone


@dataclass(frozen=True)
class Actor:
    """Who acts: "command line", "this machine", or a key's id; and in which request."""

    name: str = "command line"
    request_id: str | None = None


_acting: ContextVar[Actor] = ContextVar("acting", default=Actor())  # noqa: B039  it is frozen


def act_as(actor: Actor) -> None:
    """For the rest of this task what is recorded is this actor's."""
    _acting.set(actor)


def current() -> Actor:
    """Who acts here."""
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
    """Add an entry, in the transaction of what it tells of. at : when it was, if not now."""
    actor = actor or current()
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
    """The newest so many, the oldest of them first."""
    rows = session.scalars(select(AuditRow).order_by(AuditRow.id.desc()).limit(newest))
    return [_entry(row) for row in reversed(rows.all())]


def erasures(session: Session, identity_id: int) -> list[AuditEntry]:
    """When this identity was erased, where the trail still tells."""
    actions = AuditRow.action.in_(("forget", "expire"))
    query = select(AuditRow).where(AuditRow.identity_id == identity_id, actions)
    return [_entry(row) for row in session.scalars(query.order_by(AuditRow.id))]


def count(session: Session) -> int:
    """How many entries there are."""
    return session.scalar(select(func.count()).select_from(AuditRow)) or 0


def problems(session: Session) -> list[str]:
    """What is wrong with the chain, in words; empty when nothing is."""
    before: AuditRow | None = None
    for row in session.scalars(select(AuditRow).order_by(AuditRow.id)).yield_per(1_000):
        if row.digest != _digest(row):
            return [f"entry {row.id} is not what was written"]
        if before is not None and row.previous != before.digest:
            return [f"an entry between {before.id} and {row.id} is missing or was changed"]
        before = row
    return []


def erased_since(session: Session, entry: int | None) -> tuple[int, bool]:
    """The newest entry, and whether one after `entry` tells of an erasure; None: of none yet."""
    newest = session.scalar(select(func.max(AuditRow.id))) or 0
    if entry is None or entry == newest:
        return newest, False
    erasing = or_(*(AuditRow.action.startswith(action) for action in _ERASING))
    found = session.scalar(select(AuditRow.id).where(AuditRow.id > entry, erasing).limit(1))
    return newest, found is not None


def due(session: Session, days: int) -> bool:
    """Whether the oldest entry is older than so many days."""
    first = select(func.min(AuditRow.id)).scalar_subquery()
    old = select(AuditRow.id).where(AuditRow.id == first, _older(days))
    return session.scalar(old) is not None


def prune(session: Session, days: int) -> None:
    """Drop entries older than so many days from the beginning, as far as there is no other.

    One that was noted while the clock was wrong drops nothing that came before it.
    """
    kept = session.scalar(select(func.min(AuditRow.id)).where(~_older(days)))
    old = AuditRow.id < kept if kept is not None else _older(days)
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
    told = [
        row.previous,
        row.at.astimezone(UTC).isoformat(timespec="microseconds"),
        row.actor,
        row.action,
        row.identity_id,
        row.outcome,
        row.request_id,
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()
