"""What an identity may be called."""

from __future__ import annotations

import unicodedata

from gallery.errors import InvalidName

LONGEST_NAME = 200
_FORBIDDEN = frozenset("/\\")
_JOINERS = frozenset("\u200c\u200d")  # written inside Persian, Hindi and other names


def printable(text: str) -> str:
    """The text with what no UTF-8 has (bytes of a file's name, lone surrogates) as \\x escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


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
