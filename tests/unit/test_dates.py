"""Dates of photos: what is accepted, how far apart they are, which years they cover."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gallery.dates import (
    FIRST_YEAR,
    YEARS_APART,
    checked_date,
    exif_date,
    years_between,
    years_covered,
    years_to_nearest,
)
from gallery.errors import DateInvalid

days = st.dates(date(FIRST_YEAR, 1, 1), date(2025, 12, 31))
dates = st.builds(lambda day, length: day.isoformat()[:length], days, st.sampled_from((4, 7, 10)))


@given(dates)
def test_valid_dates_are_kept_as_far_as_they_are_known(text: str) -> None:
    assert checked_date(text) == checked_date(f" {text}\n") == text


@pytest.mark.parametrize(
    "text",
    [
        "", "98", "199", "19988", "1998-", "1998-7", "1998-13", "1998-00", "1998-02-30",
        "1998-07-00", "1998/07/14", "1998:07:14", "14.07.1998", "1998-07-14T12:00", "1998-W07",
        "last summer", "0000", "-1998", "١٩٩٨", "\udc80", "1998\x00",
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_the_value_and_the_forms(text: str) -> None:
    with pytest.raises(DateInvalid, match="write a year") as raised:
        checked_date(text)
    message = str(raised.value)
    assert (
        repr(text.strip()) in message
        and "(1998), a month (1998-07) or a day (1998-07-14)" in message
    )


@pytest.mark.parametrize("text", ["1825", "1825-12-31", "0001-01-01", "2999", "9999-12-31"])
def test_dates_without_photography_are_refused(text: str) -> None:
    with pytest.raises(DateInvalid, match=f"in {text}; give a date from 1826 to today"):
        checked_date(text)


def test_the_future_begins_after_today_in_every_time_zone() -> None:
    today = datetime.now(UTC).date()
    assert checked_date(today.isoformat()) == today.isoformat()
    assert checked_date(str(today.year)) == str(today.year)
    with pytest.raises(DateInvalid):
        checked_date((today + timedelta(days=2)).isoformat())


@given(days, st.sampled_from(["", " 12:30:00", " 24:61:99", "\0", " 12:30:00\0\0", "T12:00"]))
def test_exif_dates_give_the_day(day: date, rest: str) -> None:
    text = f"{day:%Y:%m:%d}{rest}"
    assert exif_date(text) == exif_date(text.encode()) == day.isoformat()


@given(st.one_of(st.text(), st.binary(), st.none(), st.integers(), st.tuples(st.integers())))
def test_any_exif_value_gives_a_valid_date_or_none(value: object) -> None:
    found = exif_date(value)
    assert found is None or checked_date(found) == found


@pytest.mark.parametrize(
    "value",
    [
        "0000:00:00 00:00:00", "    :  :     :  :  ", "1825:12:31 00:00:00", "2999:01:01 00:00:00",
        "1998:00:00 00:00:00", "1998:02:30 00:00:00", "1998:07:141", "1998:07:14 é", "1998", "",
        b"\xff\xfe", (1998, 7, 14), 19980714, 1998.5,
    ],
)  # fmt: skip
def test_impossible_exif_dates_are_unknown(value: object) -> None:
    assert exif_date(value) is None


@pytest.mark.parametrize(
    ("first", "second", "years"),
    [
        ("1998", "2010", 12.0),
        ("2010", "1998", -12.0),
        ("1998", "1998", 0.0),
        ("1998-07-14", "1998-07-14", 0.0),
        ("1998", "1998-07", 0.0),  # a year counts as its middle
        ("1998-01-01", "1998", 0.5),
        ("1998-07", "2000-01", 1.5),
        ("1998-07-14", "2003-07-14", 5.0),
    ],
)
def test_years_between_dates(first: str, second: str, years: float) -> None:
    assert years_between(first, second) == years


@given(dates, dates)
def test_distance_is_the_same_both_ways(first: str, second: str) -> None:
    assert years_between(first, second) == -years_between(second, first)


def test_nearest_date_may_be_on_either_side() -> None:
    assert years_to_nearest("2000", ["1990", "2004", "2019"]) == 4.0
    assert years_to_nearest("2000", ["1997", "2004"]) == -3.0
    assert years_to_nearest("2000", []) is None


def test_years_covered_are_periods_without_large_gaps() -> None:
    assert years_covered([]) == []
    assert years_covered(["2019-03", "1998", "2004-07-14", "2001", "1998-02"]) == [
        (1998, 2004),
        (2019, 2019),
    ]
    assert years_covered(["1998", str(1998 + int(YEARS_APART))]) == [(1998, 2003)]
    assert years_covered(["1998", str(1999 + int(YEARS_APART))]) == [(1998, 1998), (2004, 2004)]
