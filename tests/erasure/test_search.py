"""Traces are found in every format, and nothing else is."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from gallery.erasure.search import Hit, Trace, TraceKind, Traces, search, searchable_texts
from gallery.types import Encodings

NAME = "Zoë Überall"


@pytest.fixture
def rows(unit_rows) -> Encodings:
    return unit_rows(3, 5)


def hits(folder: Path, rows: Encodings, *, text: str = NAME) -> list[Hit]:
    pictures = [bytes(range(256)) * 4]
    return list(search([folder], Traces(rows.vectors, [text], pictures)).hits)


@pytest.mark.parametrize(
    "form",
    [
        lambda row: row.astype("<f4").tobytes(),
        lambda row: row.astype("<f2").tobytes(),
        lambda row: row.astype("<f8").tobytes(),
        lambda row: base64.b64encode(row.astype("<f4").tobytes()),
        lambda row: (row.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes(),
        lambda row: row.astype("<f4").tobytes()[96:160],  # partly overwritten
    ],
)
def test_encoding_is_found_in_every_number_format(tmp_path: Path, rows, form) -> None:
    (tmp_path / "file").write_bytes(b"before" + form(rows.vectors[1]) + b"after")
    found = hits(tmp_path, rows)
    assert found and {(h.trace.kind, h.trace.number) for h in found} == {(TraceKind.ENCODING, 1)}


@pytest.mark.parametrize(
    "content",
    [
        NAME.encode(),
        json.dumps({"name": NAME}).encode(),
        np.array([NAME]).tobytes(),
        NAME.encode("utf-16-le"),
        "Zoe\u0308 U\u0308berall".encode(),
    ],
)
def test_text_is_found_in_every_text_encoding(tmp_path: Path, rows, content: bytes) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"\0\1\2" + content)
    assert {h.trace.kind for h in hits(tmp_path, rows)} == {TraceKind.TEXT}


@pytest.mark.parametrize("form", [str.encode, bytes.fromhex])
def test_sha256_is_found_as_text_and_as_bytes(tmp_path: Path, rows, form) -> None:
    sha256 = hashlib.sha256(b"a photo").hexdigest()
    (tmp_path / "file").write_bytes(b"\0" + form(sha256) + b"\1")
    assert [(h.trace.kind, h.at) for h in hits(tmp_path, rows, text=sha256)] == [
        (TraceKind.TEXT, 1)
    ]
    assert hits(tmp_path, rows, text=sha256[:-1] + "?") == []


def test_picture_is_found_without_its_beginning(tmp_path: Path, rows) -> None:
    picture = bytes(range(256)) * 4
    (tmp_path / "file").write_bytes(b"another beginning" + picture[300:])
    assert {h.trace.kind for h in hits(tmp_path, rows)} == {TraceKind.PICTURE}


def test_trace_across_two_blocks_is_found(tmp_path: Path, rows) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.write(b"\7" * (16 * 2**20 - 11))
        file.write(rows.vectors[0].tobytes())
    found = hits(tmp_path, rows)
    assert min(h.at for h in found) == 16 * 2**20 - 11


def test_data_of_other_people_is_no_trace(tmp_path: Path, rows, unit_rows) -> None:
    (tmp_path / "file").write_bytes(unit_rows(2000, 6).vectors.tobytes() + b"Zoe Ueberall")
    (tmp_path / "link").symlink_to("/dev/zero")
    result = search([tmp_path, tmp_path], Traces(rows.vectors, [NAME], []))
    assert result.hits == () and result.unreadable == ()
    assert result.bytes == (tmp_path / "file").stat().st_size


def test_short_texts_and_numbers_are_not_searched_for() -> None:
    names, texts = ["Bo", "Ada L"], ["12345678", "2026-11-24", "short", "photos/1.jpg"]
    assert searchable_texts(names, texts) == ["Ada L", "photos/1.jpg"]


def test_unreadable_folder_is_reported(tmp_path: Path, rows) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read every folder")
    (tmp_path / "closed").mkdir(mode=0o000)
    assert search([tmp_path], Traces(rows.vectors, [], [])).unreadable


def test_link_is_followed_only_if_named(tmp_path: Path, rows) -> None:
    target = tmp_path / "elsewhere"
    target.write_bytes(rows.vectors[0].tobytes())
    (tmp_path / "home").mkdir()
    link = tmp_path / "home" / "gallery.db"
    link.symlink_to(target)
    traces = Traces(rows.vectors, [], [])
    assert search([tmp_path / "home"], traces).hits == ()
    assert {h.file for h in search([tmp_path / "home", link], traces).hits} == {target}


def test_search_without_traces_finds_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    assert search([tmp_path], []).hits == ()


@pytest.mark.parametrize("seed", range(6))
def test_search_agrees_with_a_plain_one(tmp_path: Path, seed: int) -> None:
    """Patterns of every length, at every offset, also across blocks; some within others."""
    choice = random.Random(seed)
    alphabet = b"ab" if seed % 2 else bytes(range(256))
    patterns = {bytes(choice.choices(alphabet, k=choice.randint(1, 90))) for _ in range(60)}
    patterns |= {pattern[choice.randint(0, 9) :] for pattern in patterns if len(pattern) > 30}
    traces = [Trace(TraceKind.TEXT, n, pattern) for n, pattern in enumerate(sorted(patterns))]
    for number in range(4):
        content = bytearray(choice.randbytes(2**20 + 5000) if number % 2 else bytes(2**20 + 5000))
        for pattern in choice.sample(sorted(patterns), 30):
            at = choice.choice(
                [0, 2**20, len(content) - len(pattern), choice.randrange(len(content))]
            )
            at = max(0, min(at - choice.randint(0, 90), len(content) - len(pattern)))
            content[at : at + len(pattern)] = pattern
        (tmp_path / str(number)).write_bytes(content)
    found = {(hit.file.name, hit.trace.content, hit.at) for hit in search([tmp_path], traces).hits}
    contents = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    expected = {
        (name, pattern, content.find(pattern))
        for name, content in contents.items()
        for pattern in patterns
        if pattern in content
    }
    assert len(expected) >= 60 and found == expected


def test_paths_that_are_alike_are_found(tmp_path: Path) -> None:
    paths = [f"photos/of-many-people/img-{number:05}.jpg" for number in range(3000)]
    (tmp_path / "file").write_bytes("\n".join(paths[::2]).encode())
    hits = search([tmp_path], Traces(np.empty((0, 128), np.float32), paths, [])).hits
    assert sorted(hit.trace.number for hit in hits) == list(range(0, 3000, 2))


def test_only_bytes_that_belong_to_no_row_are_unused(tmp_path: Path) -> None:
    file = tmp_path / "rows.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, name TEXT UNIQUE)")
        names = [f"name {number:04}" for number in range(2000)]
        for number, name in enumerate(names):
            connection.execute("INSERT INTO rows VALUES (?, ?)", (number, name))
        connection.execute("INSERT INTO rows VALUES (5000, ?)", ("a long row " * 9000,))
        connection.execute("DELETE FROM rows WHERE id % 5 = 0 OR id BETWEEN 400 AND 900")
        connection.commit()
    traces = Traces(np.empty((0, 128), np.float32), names, [])
    everywhere = {names[hit.trace.number] for hit in search([file], traces).hits}
    unused = {names[hit.trace.number] for hit in search([file], traces, unused=True).hits}
    deleted = {name for n, name in enumerate(names) if n % 5 == 0 or 400 <= n <= 900}
    assert everywhere >= set(names) - deleted
    assert unused >= everywhere & deleted and len(unused & deleted) > 300
    # Of some of the others SQLite has left copies where it split and joined pages.
    assert len(unused - deleted) < len(names) / 4
