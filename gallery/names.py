"""What an identity may be called."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from gallery.errors import DetailsInvalid, InvalidName, SettingInvalid

LONGEST_NAME = 200
MOST_DETAILS, LONGEST_DETAIL = 100, 2_000
_FORBIDDEN = frozenset("/\\")
_JOINERS = frozenset("\u200c\u200d")  # written inside Persian, Hindi and other names


def printable(text: str) -> str:
    """The text with what no UTF-8 has (bytes of a file's name, lone surrogates) as \\x escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def escape_csv_cell(text: str) -> str:
    """Prefix an apostrophe to text that a spreadsheet would run as a formula."""
    return f"'{text}" if text.startswith((*_FORMULA_STARTS, "'")) else text


def unescape_csv_cell(text: str) -> str:
    """Reverse escape_csv_cell."""
    return text.removeprefix("'")


def checked_details(details: Mapping[str, str]) -> dict[str, str]:
    """A user's own facts. Raises DetailsInvalid: too many, too long, or no text."""
    if len(details) > MOST_DETAILS:
        raise DetailsInvalid(
            f"{len(details):,} details, more than the limit of {MOST_DETAILS}; remove some"
        )
    for key, value in details.items():
        _checked_text(key, "a detail's key", LONGEST_NAME)
        _checked_text(value, f"the detail {key!r}", LONGEST_DETAIL)
    return dict(details)


def checked_external_id(external_id: str) -> str:
    """A user's own number of someone. Raises DetailsInvalid."""
    return _checked_text(external_id, "the external id", LONGEST_NAME)


def _checked_text(text: str, what: str, limit: int) -> str:
    if printable(text) != text or "\0" in text:
        raise DetailsInvalid(f"{what} has characters that are in no text: {printable(text)!r}")
    if len(text) > limit:
        raise DetailsInvalid(
            f"{what} has {len(text):,} characters, more than the limit of {limit:,}; shorten it"
        )
    return text


def checked_name(name: str) -> str:
    """The name without outer blanks, in Unicode's composed form (NFC), so that it is found again.

    Raises InvalidName.
    """
    cleaned = unicodedata.normalize("NFC", name).strip()
    if not cleaned:
        raise InvalidName("the name is empty; give the person a name")
    if len(cleaned) > LONGEST_NAME:
        raise InvalidName(
            f"the name has {len(cleaned):,} characters, more than the limit of {LONGEST_NAME};"
            " shorten it"
        )
    bad = sorted(
        {
            c
            for c in cleaned
            if c in _FORBIDDEN or (unicodedata.category(c)[0] == "C" and c not in _JOINERS)
        }
    )
    if bad or cleaned in (".", ".."):
        shown = ", ".join(repr(c) for c in bad) if bad else repr(cleaned)
        raise InvalidName(
            f"the name {cleaned[:60]!r} has {shown}; use no slashes and no control characters"
        )
    return cleaned


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
