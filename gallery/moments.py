"""When: a date, a time, or so many days from now."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from gallery.errors import SettingInvalid

_DAYS = re.compile(r"(\d{1,5})\s*d(ays?)?")


def moment(text: str) -> datetime:
    """`2027-01-31` (its beginning), `2027-01-31T12:00+01:00`, or `90d`; UTC when it says no zone.

    Raises SettingInvalid.
    """
    days = _DAYS.fullmatch(text.strip())
    if days:
        return datetime.now(UTC) + timedelta(days=int(days[1]))
    try:
        found = datetime.fromisoformat(text.strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise SettingInvalid(
            f"{text!r} is no moment; write 2027-01-31, 2027-01-31T12:00+01:00, or 90d (days from"
            " now)"
        ) from error
