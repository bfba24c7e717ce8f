"""With a key, no personal data is on the disk in plaintext, and everything works."""

from __future__ import annotations

import secrets
from pathlib import Path

import numpy as np
import pytest

from gallery.admin.backup import restore
from gallery.config import DATABASE_FILE, INDEX_FILE, load_settings
from gallery.errors import DatabaseUnusable, SettingInvalid
from gallery.gallery import Gallery
from gallery.types import Encodings
from tests.conftest import AddFace


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "key"
    file.write_text(secrets.token_hex(32) + "\n")
    return file


@pytest.fixture
def rows(unit_rows) -> Encodings:
    return unit_rows(6, 30)


def filled(home: Path, cache: Path, key: Path, rows: Encodings, add_face: AddFace) -> Gallery:
    gallery = Gallery.open(home, cache=cache, key_file=key)
    for i in range(6):
        add_face(gallery.database, f"Clear Name {i // 3}", rows.row(i), i)
    return gallery


def files_with_plaintext(home: Path, rows: Encodings) -> list[str]:
    traces = [b"Clear Name", b"photos/", b"SQLite format", rows.vectors[0].tobytes()]
    traces.append(rows.vectors[0].astype(np.float16).tobytes())
    return [f.name for f in home.rglob("*") if f.is_file() for t in traces if t in f.read_bytes()]


def test_encrypted_home_has_no_plaintext_and_can_be_restored(
    tmp_path: Path, cache: Path, key: Path, rows: Encodings, add_face: AddFace
) -> None:
    home = tmp_path / "home"
    with filled(home, cache, key, rows, add_face) as gallery:
        assert gallery.index.search(rows.vectors[4:5], 1).ids.tolist() == [[5]]
        assert (home / f"{DATABASE_FILE}-wal").stat().st_size  # the log is encrypted too
        assert files_with_plaintext(home, rows) == []
        gallery.back_up(tmp_path / "x.backup")
        receipt = gallery.forget("Clear Name 1")
        assert receipt.faces == 3
        assert [f for f in gallery.check() if not f.ok] == []
    assert not (home / INDEX_FILE).exists() and files_with_plaintext(home, rows) == []
    assert files_with_plaintext(tmp_path, rows) == []  # the backup is encrypted too
    with Gallery.open(home, cache=cache, key_file=key) as again:
        assert [r.name for r in again.identities()] == ["Clear Name 0"]
    settings = load_settings(home=tmp_path / "restored", cache=cache, key_file=key)
    restore(tmp_path / "x.backup", settings)
    with Gallery(settings) as restored:
        assert len(restored.identities()) == 2


def test_wrong_key_is_refused(
    tmp_path: Path, cache: Path, key: Path, rows: Encodings, add_face: AddFace, capfd
) -> None:
    home = tmp_path / "home"
    filled(home, cache, key, rows, add_face).close()
    before = (home / DATABASE_FILE).read_bytes()
    other = key.with_name("other")
    other.write_text("ab" * 32)
    for wrong in (None, other):
        with pytest.raises(DatabaseUnusable, match="GALLERY_KEY_FILE"):
            Gallery.open(home, cache=cache, key_file=wrong)
    assert (home / DATABASE_FILE).read_bytes() == before
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("content", [b"", b"short", b"g" * 64, b"\xff" * 64])
def test_invalid_key_is_refused_without_showing_it(
    tmp_path: Path, cache: Path, content: bytes
) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(SettingInvalid, match="GALLERY_KEY_FILE") as refused:
        Gallery.open(tmp_path / "home", cache=cache, key_file=file)
    assert "short" not in str(refused.value) and "ggg" not in str(refused.value)
    with pytest.raises(SettingInvalid, match="cannot be read"):
        Gallery.open(tmp_path / "home", cache=cache, key_file=tmp_path / "nothing")
