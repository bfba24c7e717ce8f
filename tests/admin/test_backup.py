"""Backup and restore: all or nothing, and every altered file is refused."""

from __future__ import annotations

import json
import os
import stat
import threading
import zipfile
from pathlib import Path

import pytest

from gallery.admin.backup import restore, verify
from gallery.config import Settings, load_settings
from gallery.errors import BackupUnusable, GalleryError, HomeUnusable, IdentityNotFound
from gallery.gallery import Gallery
from gallery.package_data import HEAD_FILE, shipped_file
from gallery.store import faces, identities
from gallery.types import Encodings
from tests.conftest import AddFace


@pytest.fixture
def rows(unit_rows) -> Encodings:
    return unit_rows(200, 12)


@pytest.fixture
def people(gallery: Gallery, rows: Encodings, add_face: AddFace) -> Gallery:
    for i in range(9):
        add_face(gallery.database, f"person {i // 3}", rows.row(i), i)
    return gallery


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "x.backup"


def new_home(people: Gallery, tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path / "restored", cache=people.settings.cache)


def test_restored_gallery_equals_the_original(people: Gallery, file: Path, tmp_path: Path) -> None:
    head = shipped_file(f"dlib-resnet/{HEAD_FILE}").read_bytes()
    (people.settings.home / HEAD_FILE).write_bytes(head)
    made = people.back_up(file)
    assert (made.identities, made.faces, made.own_head) == (3, 9, True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert verify(file) == made
    settings = new_home(people, tmp_path)
    assert restore(file, settings) == made
    for path in (settings.home, *settings.home.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    with Gallery(settings) as restored:
        assert [(r.id, r.name) for r in restored.identities()] == [
            (r.id, r.name) for r in people.identities()
        ]
        assert (
            restored.encodings().encodings.vectors == people.encodings().encodings.vectors
        ).all()
        assert restored.database.gallery_id() != people.database.gallery_id()
        assert len(restored.index.catch_up()) == 9
        assert restored.scorer.head.sha256
        assert [f for f in restored.check() if not f.ok] == []
    assert [f.name for f in tmp_path.iterdir() if ".part" in f.name] == []


def test_backup_is_consistent_while_others_write(
    people: Gallery, file: Path, tmp_path: Path, rows: Encodings, add_face: AddFace
) -> None:
    ended = threading.Event()

    def write() -> None:
        number = 9
        while not ended.is_set() and number < len(rows):
            add_face(people.database, f"person {number}", rows.row(number), number)
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = [people.back_up(tmp_path / f"{i}.backup") for i in range(3)]
    finally:
        ended.set()
        writer.join()
    assert [verify(tmp_path / f"{i}.backup") for i in range(3)] == made
    assert made[0].faces <= made[1].faces <= made[2].faces
    assert all(info.identities == info.faces - 6 for info in made)  # no identity without its face


def test_restore_erases_identities_named_with_forget(
    people: Gallery, file: Path, tmp_path: Path, rows: Encodings
) -> None:
    people.back_up(file)
    receipt = people.forget("person 1")
    settings = new_home(people, tmp_path)
    with pytest.raises(IdentityNotFound):
        restore(file, settings, [99])
    assert not settings.home.exists()
    restore(file, settings, [receipt.identity_id])
    content = b"".join(f.read_bytes() for f in settings.home.iterdir())
    assert b"person 1" not in content and rows.vectors[3].tobytes() not in content
    assert b"person 2" in content


def test_restore_refuses_a_home_that_is_not_empty(people: Gallery, file: Path) -> None:
    people.back_up(file)
    before = {f.name: f.read_bytes() for f in people.settings.home.iterdir()}
    with pytest.raises(HomeUnusable, match="not empty"):
        restore(file, people.settings)
    assert {f.name: f.read_bytes() for f in people.settings.home.iterdir()} == before


def rewrite(file: Path, change) -> None:  # type: ignore[no-untyped-def]
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    change(parts)
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def manifest_with(**values: object):  # type: ignore[no-untyped-def]
    def change(parts: dict[str, bytes]) -> None:
        parts["backup.json"] = json.dumps(json.loads(parts["backup.json"]) | values).encode()

    return change


def flip_bit(parts: dict[str, bytes]) -> None:
    content = bytearray(parts["gallery.db"])
    content[5000] ^= 1
    parts["gallery.db"] = bytes(content)


def add_path_outside(parts: dict[str, bytes]) -> None:
    manifest = json.loads(parts["backup.json"])
    manifest["files"]["../evil"] = [1, "0" * 64]
    parts["backup.json"] = json.dumps(manifest).encode()
    parts["../evil"] = b"x"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (flip_bit, "altered"),
        (add_path_outside, "not part of a gallery"),
        (manifest_with(schema="9999", program="7.1"), "schema 9999.*face-gallery 7.1 or newer"),
        (manifest_with(form="face-gallery-backup-9"), "face-gallery-backup-9"),
        (manifest_with(files={}), "no database"),
        (manifest_with(files=3), "cannot be read"),
        (lambda parts: parts.pop("backup.json"), "cannot be read"),
        (lambda parts: parts.pop("gallery.db"), "gallery.db"),
    ],
)
def test_altered_backup_is_refused_and_nothing_is_created(
    people: Gallery, file: Path, tmp_path: Path, change, message: str
) -> None:
    people.back_up(file)
    rewrite(file, change)
    settings = new_home(people, tmp_path)
    for read in (verify, lambda f: restore(f, settings)):
        with pytest.raises(BackupUnusable, match=message):
            read(file)
    assert not settings.home.exists()
    assert not (tmp_path / "evil").exists()
    assert [f.name for f in tmp_path.iterdir() if ".part" in f.name] == []


@pytest.mark.parametrize("length", [0, 10, 1000, -1])
def test_truncated_backup_is_refused(people: Gallery, file: Path, length: int) -> None:
    people.back_up(file)
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(BackupUnusable):
        verify(file)
    with pytest.raises(BackupUnusable):
        verify(file.with_name("nothing"))


def test_full_disk_keeps_the_earlier_backup(people: Gallery, file: Path, small_disk) -> None:
    file.write_bytes(b"earlier backup")
    with small_disk(60_000), pytest.raises(GalleryError):
        people.back_up(file)
    assert file.read_bytes() == b"earlier backup"
    assert sorted(os.listdir(file.parent)) == sorted({"home", "x.backup"})
    with people.database.reading() as session:
        assert (faces.count(session), identities.count(session)) == (9, 3)
