"""Saved indexes: whole or not at all, and checked when they are read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from indexer import (
    DuplicateId,
    SnapshotUnusable,
    UnknownEngine,
    VectorIndex,
    open_index,
)
from indexer.snapshot import write_snapshot
from tests.contract.rows import DIMENSION, TOLERANCE, assert_nearest, empty, int64, load, unit

# Saving and loading


@pytest.fixture
def saved(engine: str, tmp_path: Path) -> Path:
    """A saved index of 30 rows: unit(30, 25) under ids 0 to 29."""
    file = tmp_path / "faces.index"
    opened = empty(engine)
    opened.add(np.arange(30), unit(30, 25))
    opened.save(file, {"position": "41", "gallery": "ünïcode\nline"})
    opened.close()
    return file


def test_saved_index_is_loaded_with_its_metadata(engine: str, saved: Path) -> None:
    loaded, metadata = load(engine, DIMENSION, saved)
    assert metadata == {"position": "41", "gallery": "ünïcode\nline"}
    assert loaded.ids().tolist() == list(range(30))
    rows = unit(30, 25)
    stored = dict(enumerate(rows))
    assert_nearest(loaded.search(rows, 5), stored, rows, 5, TOLERANCE[engine])
    with pytest.raises(DuplicateId):
        loaded.add(int64(29), rows[:1])
    assert loaded.erase(int64(0, 1)) == 2
    loaded.add(int64(1, 50), rows[:2])
    stored = {**dict(list(enumerate(rows))[2:]), 1: rows[0], 50: rows[1]}
    assert_nearest(loaded.search(rows, 5), stored, rows, 5, TOLERANCE[engine])


def test_file_saved_after_erasing_has_no_erased_row(index: VectorIndex, tmp_path: Path) -> None:
    rows = unit(30, 25)
    index.add(np.arange(30), rows)
    index.save(tmp_path / "before", {})
    assert index.erase(np.arange(0, 30, 3)) == 10
    index.save(tmp_path / "after", {})
    before, after = ((tmp_path / name).read_bytes() for name in ("before", "after"))
    forms = [[row.astype(form).tobytes()[:16] for row in rows] for form in ("<f2", "<f4")]
    assert any(all(row in before for row in form) for form in forms)
    assert [n for form in forms for n in range(0, 30, 3) if form[n] in after] == []


def test_loaded_index_gives_the_same_results(engine: str, index: VectorIndex, saved: Path):
    index.add(np.arange(30), unit(30, 25))
    loaded, _ = load(engine, DIMENSION, saved)
    before, after = (i.search(unit(9, 26), 30) for i in (index, loaded))
    np.testing.assert_array_equal(before.ids, after.ids)
    np.testing.assert_array_equal(before.similarities, after.similarities)


def test_empty_index_can_be_saved_and_loaded(
    engine: str, index: VectorIndex, tmp_path: Path
) -> None:
    index.save(tmp_path / "empty", {})
    loaded, metadata = load(engine, DIMENSION, tmp_path / "empty")
    assert len(loaded) == 0 and metadata == {}
    loaded.add(int64(3), unit(1, 27))
    assert loaded.search(unit(1, 27), 1).ids.tolist() == [[3]]


def test_truncated_file_is_refused(engine: str, saved: Path) -> None:
    whole = saved.read_bytes()
    for length in [0, 1, *range(2, len(whole), 97), len(whole) - 1]:
        saved.write_bytes(whole[:length])
        with pytest.raises(SnapshotUnusable):
            load(engine, DIMENSION, saved)


def test_trailing_bytes_are_refused(engine: str, saved: Path) -> None:
    saved.write_bytes(saved.read_bytes() + b"\0")
    with pytest.raises(SnapshotUnusable):
        load(engine, DIMENSION, saved)


def test_flipped_bits_are_detected(engine: str, saved: Path) -> None:
    whole = saved.read_bytes()
    header = whole.index(b"\n") + 1
    step = max(1, (len(whole) - header) // 100)
    undetected: list[bytes] = []
    for place in [*range(header), *range(header, len(whole), step), len(whole) - 1]:
        for bit in (0, 2, 5):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            saved.write_bytes(flipped)
            try:
                load(engine, DIMENSION, saved)
            except SnapshotUnusable:
                continue
            undetected.append(bytes(flipped[max(0, place - 12) : place + 12]))
    assert not undetected, f"{len(undetected)} flipped bits loaded, near {undetected[:5]}"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\n", id="empty line"),
        pytest.param(b"hello\n", id="text"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(100), id="image"),
        pytest.param(b"[]\n", id="JSON list"),
        pytest.param(b'{"form": "vector-index-1"}\n', id="half a header"),
        pytest.param(b"{" * 100_000, id="long line"),
    ],
)
def test_other_files_are_refused(engine: str, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "other.index"
    file.write_bytes(content)
    with pytest.raises(SnapshotUnusable):
        load(engine, DIMENSION, file)


def test_valid_checksum_with_a_foreign_payload_is_refused(engine: str, tmp_path: Path) -> None:
    file = tmp_path / "foreign.index"
    for payload in (b"", b"anything else", bytes(1000)):
        write_snapshot(file, engine, DIMENSION, partial(_write, payload), {}, {})
        with pytest.raises(SnapshotUnusable):
            load(engine, DIMENSION, file)


def _write(payload: bytes, file: BinaryIO) -> None:
    file.write(payload)


def test_missing_file_and_folder_are_refused(engine: str, tmp_path: Path) -> None:
    for file in (tmp_path / "nowhere" / "faces.index", tmp_path):
        with pytest.raises(SnapshotUnusable, match=file.name):
            load(engine, DIMENSION, file)


def test_file_of_another_engine_or_dimension_is_refused(engine: str, saved: Path) -> None:
    other = "exact" if engine != "exact" else "faiss"
    with pytest.raises(SnapshotUnusable, match=engine.partition(", ")[0]):
        load(other, DIMENSION, saved)
    with pytest.raises(SnapshotUnusable, match=str(DIMENSION)):
        load(engine, DIMENSION + 1, saved)


def test_unknown_engine_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownEngine, match=r"'hnsw'.*exact, faiss"):
        open_index("hnsw", DIMENSION)


def test_failed_save_leaves_the_old_file_and_no_temporary(
    engine: str,
    saved: Path,
    index: VectorIndex,
    small_disk: Callable[[int], AbstractContextManager[None]],
) -> None:
    index.add(np.arange(1000), unit(1000, 28))
    before = saved.read_bytes()
    with small_disk(8 * 1024), pytest.raises(OSError):
        index.save(saved, {"position": "42"})
    assert saved.read_bytes() == before
    assert [f.name for f in saved.parent.iterdir()] == [saved.name]
    assert load(engine, DIMENSION, saved)[1]["position"] == "41"
    index.save(saved, {"position": "42"})  # with enough space
    loaded, metadata = load(engine, DIMENSION, saved)
    assert len(loaded) == 1000 and metadata == {"position": "42"}


def test_failed_rename_leaves_no_temporary(engine: str, tmp_path: Path, index: VectorIndex) -> None:
    (tmp_path / "faces.index").mkdir()  # nothing can be renamed over a folder
    with pytest.raises(OSError):
        index.save(tmp_path / "faces.index", {})
    assert [f.name for f in tmp_path.iterdir()] == ["faces.index"]
