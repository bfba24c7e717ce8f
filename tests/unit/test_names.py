"""A name is kept as it is meant, found however it is written, and refused with the reason."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gallery.errors import InvalidName
from gallery.names import LONGEST_NAME, checked_name


@pytest.mark.parametrize(
    "name",
    [
        "Grace Hopper",
        "Ada",
        "O'Brien",
        "Jean-Luc",
        "Dr. Who?",
        "李小龍",
        "محمد",
        "Наташа",
        "\N{WOMAN}",
        "1",
        "...",
        "x" * LONGEST_NAME,
        "a: b* <c> | d",
        "-rf",
        "--help",
    ],
)
def test_a_name_stays_as_it_is(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("  Ada \n", "Ada"),
        ("\u00a0Ada\u3000", "Ada"),
        ("Jose\u0301", "Jos\u00e9"),
        ("A\u030angstro\u0308m", "\u00c5ngstr\u00f6m"),
        ("\u1112\u1161\u11ab", "\ud55c"),
        (" " * 500 + "Ada", "Ada"),
        ("e\u0301" * LONGEST_NAME, "\u00e9" * LONGEST_NAME),
    ],
)
def test_blanks_around_it_and_ways_of_writing_do_not_count(given_name: str, kept: str) -> None:
    assert checked_name(given_name) == kept


@pytest.mark.parametrize("name", ["", " ", "\n\t", "\u3000"])
def test_an_empty_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidName, match="empty"):
        checked_name(name)


@pytest.mark.parametrize("length", [LONGEST_NAME + 1, 12_345])
def test_a_long_name_is_refused_with_both_lengths(length: int) -> None:
    with pytest.raises(InvalidName, match=rf"{length:,} characters.*{LONGEST_NAME}"):
        checked_name("x" * length)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a/b", "'/'"),
        ("../etc/passwd", "'/'"),
        ("a\\b", r"'\\\\'"),
        ("a\0b", r"'\\x00'"),
        ("a\nb", r"'\\n'"),
        ("a\tb", r"'\\t'"),
        ("a\x1b[31mb", r"'\\x1b'"),
        ("a\x7fb", r"'\\x7f'"),
        ("a\u202eb", r"'\\u202e'"),  # turns the direction of the text
        ("a\u200bb", r"'\\u200b'"),  # cannot be seen
        ("a\ud800b", r"'\\ud800'"),
        ("a\ue000b", r"'\\ue000'"),
        (".", "'.'"),
        ("..", "'..'"),
        (" .. ", "'..'"),
    ],
)
def test_a_name_that_could_be_a_path_or_a_trick_is_refused(name: str, shown: str) -> None:
    with pytest.raises(InvalidName, match=f"has {shown}"):
        checked_name(name)


@given(st.text(max_size=250))
def test_a_checked_name_is_checked_already(name: str) -> None:
    try:
        kept = checked_name(name)
    except InvalidName as error:
        assert str(error).isprintable()
        return
    assert checked_name(kept) == kept == kept.strip() == unicodedata.normalize("NFC", kept)
    assert 0 < len(kept) <= LONGEST_NAME and not set(kept) & set("/\\\0\n")
    for form in ("NFC", "NFD"):
        assert checked_name(unicodedata.normalize(form, name)) == kept
