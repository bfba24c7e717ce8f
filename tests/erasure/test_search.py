"""Traces are found in every format, and nothing else is."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import numpy as np
import pytest

from gallery.erasure.search import Hit, TraceKind, search, searchable_texts, traces_of
from gallery.types import Encodings

NAME = "Zoë Überall"


@pytest.fixture
def rows(unit_rows) -> Encodings:
    return unit_rows(3, 5)


def hits(folder: Path, rows: Encodings, *, text: str = NAME) -> list[Hit]:
    pictures = [bytes(range(256)) * 4]
    return list(search([folder], traces_of(rows.vectors, [text], pictures)).hits)


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
    result = search([tmp_path, tmp_path], traces_of(rows.vectors, [NAME], []))
    assert result.hits == () and result.unreadable == ()
    assert result.bytes == (tmp_path / "file").stat().st_size


def test_short_texts_and_numbers_are_not_searched_for() -> None:
    names, texts = ["Bo", "Ada L"], ["12345678", "2026-11-24", "short", "photos/1.jpg"]
    assert searchable_texts(names, texts) == ["Ada L", "photos/1.jpg"]


def test_unreadable_folder_is_reported(tmp_path: Path, rows) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read every folder")
    (tmp_path / "closed").mkdir(mode=0o000)
    assert search([tmp_path], traces_of(rows.vectors, [], [])).unreadable


def test_link_is_followed_only_if_named(tmp_path: Path, rows) -> None:
    target = tmp_path / "elsewhere"
    target.write_bytes(rows.vectors[0].tobytes())
    (tmp_path / "home").mkdir()
    link = tmp_path / "home" / "gallery.db"
    link.symlink_to(target)
    traces = traces_of(rows.vectors, [], [])
    assert search([tmp_path / "home"], traces).hits == ()
    assert {h.file for h in search([tmp_path / "home", link], traces).hits} == {target}


def test_search_without_traces_finds_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    assert search([tmp_path], []).hits == ()
