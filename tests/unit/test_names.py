"""A name is kept as it is meant, found however it is written, and refused with the reason."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gallery.errors import InvalidName
from gallery.names import (
    LONGEST_NAME,
    checked_name,
    escape_csv_cell,
    folded,
    spellings,
    unescape_csv_cell,
)


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


@pytest.mark.parametrize(
    ("name", "others"),
    [
        (
            "Mei Lin",
            [
                "mei lin",
                "MEI LIN",
                "Mei  Lin",
                "mei-lin",
                "Mei_Lin",
                "mei.lin",
                "\uff2d\uff45\uff49 Lin",
            ],
        ),
        ("Al Sharpton", ["Al_Sharpton", "al\N{NO-BREAK SPACE}sharpton", "AL\N{EN DASH}SHARPTON"]),
        ("José Núñez", ["Jose Nunez", "JOSÉ NÚÑEZ", "jose\u0301-nunez"]),
        ("Weiß", ["WEISS", "Weiss", "weiẞ"]),
        ("İlker", ["ilker", "Ilker"]),
        ("J. R. Smith", ["J R Smith", "j.r.smith"]),
        ("O'Brien", ["O\u2019Brien", "o\u02bcbrien"]),
        ("Наталья Фёдорова", ["наталья-федорова"]),
        ("Τσίπρας", ["ΤΣΙΠΡΑΣ", "Τσιπρας"]),
        ("עִבְרִית", ["עברית"]),
        ("مُحَمَّد", ["محمد"]),
        ("علی\u200cرضا", ["علیرضا"]),  # noqa: RUF001
        ("玛丽·居里", ["玛丽・居里", "玛丽 居里"]),
        ("\uff34anaka", ["tanaka"]),
    ],
)
def test_near_names_fold_to_the_same(name: str, others: list[str]) -> None:
    for other in others:
        assert folded(checked_name(other)) == folded(checked_name(name)), other


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Mei Lin", "Meilin"),
        ("Mei Lin", "Mei Ling"),
        ("Ann", "Anna"),
        ("Анна", "Aннa"),  # two letters of the second are Latin
        ("किरण", "करण"),  # Kiran and Karan: a vowel sign is a letter
        ("ใจดี", "ใจดู"),
        ("たなか", "たなが"),
        ("1", "-1"),
        ("1.0", "1 0"),
        ("...", "-"),
        ("person 1", "person 11"),
    ],
)
def test_other_names_stay_apart(one: str, other: str) -> None:
    assert folded(checked_name(one)) != folded(checked_name(other))


@given(st.text(max_size=50))
def test_folding_is_stable_and_blind_to_form(name: str) -> None:
    assert folded(folded(name)) == folded(name)
    for form in ("NFC", "NFD"):
        assert folded(unicodedata.normalize(form, name)) == folded(name)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("'t Hooft", "'t Hooft"),
        ("''t Hooft", "''t Hooft"),
        ("'Abd", "'Abd"),
        ("'", "'"),
        ("''", "''"),
        ("=1+1", "'=1+1"),
        ("-rf", "'-rf"),
        ("'=1+1", "''=1+1"),
        ("''@a", "'''@a"),
    ],
)
def test_only_formulas_are_escaped_in_a_cell(text: str, cell: str) -> None:
    assert escape_csv_cell(text) == cell
    assert unescape_csv_cell(cell) == text


@given(st.text(alphabet="'=-+@\t at", max_size=6))
def test_a_cell_is_read_as_it_was(text: str) -> None:
    assert unescape_csv_cell(escape_csv_cell(text)) == text
    assert not escape_csv_cell(text).startswith(("=", "+", "-", "@", "\t", "\r"))


def test_spellings_are_those_of_folders() -> None:
    assert set(spellings("Émilie du Châtelet")) >= {
        "Émilie_du_Châtelet",
        "emilie-du-chatelet",
        "Émilie.du.Châtelet",
    }
    assert "Calista Flockhart" in spellings("Calista_Flockhart")
    assert spellings("Ada") == []


@given(st.text(st.characters(max_codepoint=127)))
def test_plain_letters_are_folded_as_all_others_are(name: str) -> None:
    joiner = "\u200d"  # counts for nothing beside letters, but is not ASCII
    if any(character.isalpha() for character in name):
        assert folded(name) == folded(name + joiner)
    else:
        assert folded(name) == name
