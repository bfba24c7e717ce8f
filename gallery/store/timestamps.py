"""Timestamps: UTC everywhere. SQLite stores no time zone, so it is removed and put back here."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import DateTime, Dialect, TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """A column of time-zone-aware timestamps, stored in UTC without the zone."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, _: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


def utc_now() -> datetime:
    return datetime.now(UTC)


def stored_text(time: datetime | None) -> str | None:
    """Return a timestamp as the text that UtcDateTime stores, for inserts that bypass the ORM."""
    if time is None:
        return None
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
