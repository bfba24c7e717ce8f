"""Checks of what users type: names, their own details, dates."""

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
_DOTS = frozenset(".\u00b7\u2027\u30fb")  # also those between the parts of a foreign name
_APOSTROPHES = str.maketrans("\u2018\u2019\u02bc", "'''")
_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "\u0131": "i", "æ": "ae", "œ": "oe"}
)
"""Letters that Unicode does not take apart into a plain letter and an accent."""
_ASCII_SEPARATORS = str.maketrans("-_.", "   ")


def printable(text: str) -> str:
    """Escape what UTF-8 cannot encode: raw bytes of a file name, lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()


_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def escape_csv_cell(text: str) -> str:
    """Prefix an apostrophe to text that a spreadsheet would run as a formula.

    So do apostrophes before such a text, which unescape_csv_cell takes away again. Any others, as
    of "'t Hooft", stay as they are.
    """
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA_STARTS) else text


def unescape_csv_cell(text: str) -> str:
    """Reverse escape_csv_cell."""
    is_escaped = text.startswith("'") and text.lstrip("'").startswith(_FORMULA_STARTS)
    return text[1:] if is_escaped else text


def checked_details(details: Mapping[str, str]) -> dict[str, str]:
    """Check a user's own details. Raises DetailsInvalid: too many, too long, or not valid text."""
    if len(details) > MOST_DETAILS:
        raise DetailsInvalid(
            f"{len(details):,} details, more than the limit of {MOST_DETAILS}; remove some"
        )
    for key, value in details.items():
        _checked_text(key, "a detail's key", LONGEST_NAME)
        _checked_text(value, f"the detail {key!r}", LONGEST_DETAIL)
    return dict(details)


def checked_external_id(external_id: str) -> str:
    """Check a user's own id of a person. Raises DetailsInvalid."""
    return _checked_text(external_id, "the external id", LONGEST_NAME)


def _checked_text(text: str, field: str, limit: int) -> str:
    if printable(text) != text or "\0" in text:
        raise DetailsInvalid(f"{field} has invalid Unicode characters: {printable(text)!r}")
    if len(text) > limit:
        raise DetailsInvalid(
            f"{field} has {len(text):,} characters, more than the limit of {limit:,}; shorten it"
        )
    return text


def checked_name(name: str) -> str:
    """Check a name. Return it without outer blanks, in composed Unicode (NFC).

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


def folded(name: str) -> str:
    """Return a name without case, accents, and how its parts are joined.

    Names with the same result are probably one person's: "Mei Lin", "mei-lin" and "MEI_LIN"; "José"
    and "Jose"; "Weiß" and "WEISS". Letters of different scripts stay different. A name without
    letters stays as it is: "-1" is not "1".
    """
    if name.isascii():  # the same, in a tenth of the time
        text = name.lower()
        return text if text == text.upper() else " ".join(text.translate(_ASCII_SEPARATORS).split())
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
    text = text.translate(_APOSTROPHES).translate(_LETTERS)
    if not any(character.isalpha() for character in text):
        return text
    kept = (" " if _is_separator(c) else c for c in text if not _is_accent(c) and c not in _JOINERS)
    return " ".join("".join(kept).split())


def spellings(name: str) -> list[str]:
    """Return a name of several words as folders of photos spell it: "Mei_Lin", "mei-lin", ..."""
    words = "".join(" " if _is_separator(c) else c for c in name).split()
    forms = (words, folded(name).split())
    return [joiner.join(form) for joiner in " _-." for form in forms] if len(words) > 1 else []


def _is_separator(character: str) -> bool:
    return character in _DOTS or unicodedata.category(character) in ("Zs", "Pd", "Pc")


def _is_accent(character: str) -> bool:
    """Whether it is a mark on a letter: an accent, or a point of Hebrew or Arabic.

    The vowel signs of India and Thailand and the voicing marks of Japan, which have the combining
    classes between and below, are letters of their own: without them, names would be others.
    """
    combining = unicodedata.combining(character)
    return 10 <= combining <= 36 or combining >= 200


_DAYS = re.compile(r"(\d{1,5})\s*d(ays?)?")


def moment(text: str) -> datetime:
    """Parse a date, a time, or a number of days from now, in UTC unless it names a zone.

    text : `2027-01-31` (its beginning), `2027-01-31T12:00+01:00`, or `90d`.
    Raises SettingInvalid.
    """
    days = _DAYS.fullmatch(text.strip())
    if days:
        return datetime.now(UTC) + timedelta(days=int(days[1]))
    try:
        time = datetime.fromisoformat(text.strip())
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise SettingInvalid(
            f"{text!r} is not a valid date; write 2027-01-31, 2027-01-31T12:00+01:00, or 90d"
            " (days from now)"
        ) from error
