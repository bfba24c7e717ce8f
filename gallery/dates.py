"""Dates of photos, as far as they are known: `1998`, `1998-07` or `1998-07-14`."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from gallery.errors import DateInvalid

FIRST_YEAR = 1826
"""Of the oldest photograph that survives."""

YEARS_APART = 5.0
"""An answer says so if a person's photos are all further than this from the query's date.

A judgement, not a measurement: adults change little in five years, children a lot. Anything shorter
would add a note to most answers.
"""

_DATE = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?")
_EXIF_DATE = re.compile(r"([0-9]{4})[:-]([0-9]{2})[:-]([0-9]{2})(?![0-9])")
_DAYS_PER_YEAR = 365.2425


def checked_date(text: str) -> str:
    """Return a date that a user gave as ISO text of 4, 7 or 10 characters. Raises DateInvalid."""
    text = text.strip()
    try:
        first, _ = _first_and_last_day(text)
    except ValueError as error:
        raise DateInvalid(
            f"{text[:40]!r} is not the date of a photo; write a year (1998), a month (1998-07) or a"
            " day (1998-07-14)"
        ) from error
    if first.year < FIRST_YEAR or first > _latest_day():
        raise DateInvalid(
            f"no photo was taken in {text}; give a date from {FIRST_YEAR} to today, such as 1998,"
            " 1998-07 or 1998-07-14"
        )
    return text


def exif_date(value: object) -> str | None:
    """Return the day of an EXIF date such as `1998:07:14 12:30:00`; None for anything else.

    Cameras whose clock was never set, and broken files, have dates that cannot be.
    """
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if not isinstance(value, str) or not value.isascii():
        return None
    match = _EXIF_DATE.match(value.strip(" \0"))
    try:
        return None if match is None else checked_date("-".join(match.groups()))
    except DateInvalid:
        return None


def years_between(first: str, second: str) -> float:
    """Return the years from one checked date to another, negative if the second is earlier.

    A year or a month counts as its middle. Rounded to one decimal.
    """
    days = _middle(second) - _middle(first)
    return round(days / _DAYS_PER_YEAR, 1)


def years_to_nearest(taken: str, dates: Iterable[str]) -> float | None:
    """Return the years from `taken` to the nearest of the dates, by sign; None without dates."""
    return min((years_between(taken, other) for other in dates), key=abs, default=None)


def years_covered(dates: Iterable[str]) -> list[tuple[int, int]]:
    """Return the first and last year of each period that has photos, ascending.

    Years that are at most YEARS_APART apart are one period.
    """
    periods: list[tuple[int, int]] = []
    for year in sorted({int(text[:4]) for text in dates}):
        if periods and year - periods[-1][1] <= YEARS_APART:
            periods[-1] = (periods[-1][0], year)
        else:
            periods.append((year, year))
    return periods


def _middle(text: str) -> float:
    first, last = _first_and_last_day(text)
    return (first.toordinal() + last.toordinal()) / 2


def _first_and_last_day(text: str) -> tuple[date, date]:
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    year, month, day = (None if part is None else int(part) for part in match.groups())
    assert year is not None
    first = date(year, 1 if month is None else month, 1 if day is None else day)
    if day is not None:
        return first, first
    last_month = 12 if month is None else month
    return first, date(year, last_month, monthrange(year, last_month)[1])


def _latest_day() -> date:
    """Today in the time zone that is furthest ahead, since photos have local dates."""
    return (datetime.now(UTC) + timedelta(hours=14)).date()
