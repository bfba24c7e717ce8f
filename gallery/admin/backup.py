"""The whole gallery in one file, made while it is in use, and back from it.

A backup is a zip archive, not compressed: `backup.json` with what it is made of and the SHA-256 of
every other file in it, the database as it was at one moment, and the gallery's own head when it
has one. The index is not in it: it is built again from the database.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

from gallery.config import Settings
from gallery.errors import BackupUnusable, DatabaseUnusable, HomeUnusable
from gallery.matching.learned_heads import drop_learned
from gallery.package_data import is_head_part
from gallery.store import audit, backups, calibrations, faces, identities
from gallery.store.database import SCHEMA, Database, open_database
from gallery.store.records import BackupRecord
from indexer.whole_file import flush_folder, written_whole

_FORM = "face-gallery-backup-1"
_MANIFEST, _DATABASE = "backup.json", "gallery.db"
_BLOCK = 2**20

Progress = Callable[[int, int], None]
"""Called with what is done and what there is to do, such as bytes."""


def quietly(_done: int, _all: int) -> None:
    """Progress that nobody is shown."""


@dataclass(frozen=True)
class BackupInfo:
    """What a backup says of itself.

    encoder : its name and the SHA-256 of its weights, None in a gallery nothing was enrolled in.
    files : name to (bytes, SHA-256).
    """

    id: str
    made_at: datetime
    program: str
    schema: str
    encoder: tuple[str, str] | None
    identities: int
    faces: int
    own_head: bool
    files: dict[str, tuple[int, str]]


def back_up(
    database: Database, settings: Settings, file: Path, progress: Progress = quietly
) -> BackupInfo:
    """Write a backup, at once or not at all, readable by its owner alone.

    A database that is encrypted is so in the backup, with the same key.

    Raises HomeUnusable when it cannot be written, DatabaseUnusable when the disk is full.
    """
    with database.writing() as session:
        record = backups.begin(session)
        audit.record(session, "backup", outcome=record.id)
    try:
        for left in file.parent.glob(f"{glob.escape(file.name)}.*.part"):
            shutil.rmtree(left, ignore_errors=True)  # of one that was killed
        with tempfile.TemporaryDirectory(
            dir=file.parent, prefix=f"{file.name}.", suffix=".part"
        ) as t:
            parts = {_DATABASE: Path(t, _DATABASE)}
            database.copy_to(parts[_DATABASE])
            for head in sorted(settings.home.glob("head*")):
                if is_head_part(head.name):
                    with contextlib.suppress(FileNotFoundError):  # an erasure dropped it just now
                        parts[head.name] = Path(shutil.copyfile(head, Path(t, head.name)))
            found, newest = _info(settings, record, parts)
            with written_whole(file) as out:
                _pack(out, found, parts, progress)
    except OSError as error:
        raise HomeUnusable(
            f"the backup {file} cannot be written: {error.strerror or error}; choose another place"
        ) from error
    with database.writing() as session:
        backups.made(session, record.id, *newest)
    return found


def _info(
    settings: Settings, record: BackupRecord, parts: dict[str, Path]
) -> tuple[BackupInfo, tuple[int, int]]:
    """What a backup of these parts says of itself; and the highest ids that are in it."""
    opened = open_database(settings, parts[_DATABASE])
    with opened.reading() as session:
        encoder = faces.encoder(session)
        people, count = identities.count(session), faces.count(session)
        newest = backups.newest(session)
    opened.close()
    info = BackupInfo(
        id=record.id,
        made_at=record.created_at,
        program=version("face-gallery"),
        schema=SCHEMA,
        encoder=encoder,
        identities=people,
        faces=count,
        own_head=any(name.endswith(".safetensors") for name in parts),
        files={name: (part.stat().st_size, _sha256(part)) for name, part in parts.items()},
    )
    return info, newest


def _pack(out: BinaryIO, info: BackupInfo, parts: dict[str, Path], progress: Progress) -> None:
    whole = sum(size for size, _ in info.files.values())
    done = 0
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        told = {"form": _FORM, **asdict(info), "made_at": info.made_at.isoformat()}
        archive.writestr(_MANIFEST, json.dumps(told, indent=2))
        for name, part in parts.items():
            with part.open("rb") as source, archive.open(name, "w", force_zip64=True) as target:
                while block := source.read(_BLOCK):
                    target.write(block)
                    done += len(block)
                    progress(done, whole)


def verify(file: Path, progress: Progress = quietly) -> BackupInfo:
    """Read a backup whole and check every byte.

    Raises BackupUnusable for what is none, was cut short or altered, or is of a newer version.
    """
    return _unpacked(file, None, progress)


def restore(
    file: Path,
    settings: Settings,
    forget: Sequence[int] = (),
    progress: Progress = quietly,
) -> BackupInfo:
    """Put a backup into the home of these settings, which must not be there, whole or not at all.

    What comes out is another gallery than the one it was made of: their indexes are not mixed up.
    forget : identities that are erased from it before it has its name, and with them whatever was
        learned from the gallery.
    Raises BackupUnusable as `verify`; HomeUnusable when there is something at the home;
    IdentityNotFound for whom it does not hold.
    """
    home = settings.home
    if home.is_symlink() or (home.exists() and (not home.is_dir() or any(home.iterdir()))):
        raise HomeUnusable(
            f"{home} is not empty, and nothing is overwritten; restore to another --home"
        )
    part: Path | None = None
    try:
        home.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in home.parent.glob(f"{glob.escape(home.name)}.*.part"):
            shutil.rmtree(left, ignore_errors=True)  # of one that was killed
        part = Path(tempfile.mkdtemp(dir=home.parent, prefix=f"{home.name}.", suffix=".part"))
        found = _unpacked(file, part, progress)
        found = _begin_anew(file, part, settings, found, forget)
        _flush(part)
        if home.exists():
            home.rmdir()
        os.replace(part, home)
        flush_folder(home.parent)
    except OSError as error:
        raise HomeUnusable(
            f"{home} cannot be restored: {error.strerror or error}; nothing was changed"
        ) from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
    return found


def _unpacked(file: Path, folder: Path | None, progress: Progress) -> BackupInfo:
    """Check every byte, and write the parts to the folder when there is one."""
    try:
        with zipfile.ZipFile(file) as archive:
            found = _told(file, archive)
            _unpack(file, archive, found, folder, progress)
            return found
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise _no_backup(file, str(error.strerror)) from error
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, zlib.error) as error:
        raise _no_backup(file, str(error)) from error
    except OSError as error:
        if error.errno == errno.EINVAL:  # a place before the beginning of the file
            raise _no_backup(file, "its list of contents was altered") from error
        raise


def _begin_anew(
    file: Path, part: Path, settings: Settings, info: BackupInfo, forget: Sequence[int]
) -> BackupInfo:
    """Let it be a gallery of its own, without whom it is to forget; what it holds then."""
    try:
        database = open_database(settings, part / _DATABASE)
    except DatabaseUnusable as error:
        raise _no_backup(
            file,
            "its database cannot be read: it is encrypted with a key (GALLERY_KEY_FILE), or with"
            " another one",
        ) from error
    try:
        problems = database.problems()
        if problems:
            raise _no_backup(file, "; ".join(problems[:3]))
        database.take_new_id()
        with database.writing() as session:
            for one in forget:
                identities.remove(session, identities.get(session, one).id)
                audit.record(session, "forget", identity_id=one, outcome=info.id)
            if forget:  # nothing that was learned from them comes back either
                for calibration in calibrations.list_all(session):
                    calibrations.drop(session, calibration.id)
            audit.record(session, "restore", outcome=info.id)
            people, count = identities.count(session), faces.count(session)
        if forget:
            drop_learned(part)
        database.scrub()
    finally:
        database.close()
    return replace(info, identities=people, faces=count, own_head=info.own_head and not forget)


def _told(file: Path, archive: zipfile.ZipFile) -> BackupInfo:
    try:
        told = json.loads(archive.read(_MANIFEST))
        form, schema = str(told["form"]), str(told["schema"])
        if form != _FORM:
            raise _no_backup(file, f"it has the form {form!r}, this program reads {_FORM!r}")
        if schema > SCHEMA:
            raise _no_backup(
                file,
                f"it is of schema {schema}, this program knows {SCHEMA}: restore it with"
                f" face-gallery {told['program']} or newer",
            )
        return BackupInfo(
            id=str(told["id"]),
            made_at=datetime.fromisoformat(told["made_at"]),
            program=str(told["program"]),
            schema=schema,
            encoder=told["encoder"] and (str(told["encoder"][0]), str(told["encoder"][1])),
            identities=int(told["identities"]),
            faces=int(told["faces"]),
            own_head=bool(told["own_head"]),
            files={_known(file, n): (int(s), str(h)) for n, (s, h) in told["files"].items()},
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise _no_backup(file, "its list of contents cannot be read") from error


def _known(file: Path, name: str) -> str:
    if name != _DATABASE and not is_head_part(name):
        raise _no_backup(file, f"it holds {name!r}, which is no part of a gallery")
    return name


def _unpack(
    file: Path,
    archive: zipfile.ZipFile,
    info: BackupInfo,
    folder: Path | None,
    progress: Progress,
) -> None:
    """Check every part, and write it to the folder when there is one."""
    if _DATABASE not in info.files:
        raise _no_backup(file, "it holds no database")
    whole = sum(size for size, _ in info.files.values())
    done = 0
    for name, (size, sha256) in info.files.items():
        if name not in archive.namelist() or archive.getinfo(name).file_size != size:
            raise _no_backup(file, f"it has no {name} of {size} bytes")
        digest = hashlib.sha256()
        with archive.open(name) as source, _target(folder, name) as target:
            while block := source.read(_BLOCK):
                digest.update(block)
                target.write(block)
                done += len(block)
                progress(done, whole)
        if digest.hexdigest() != sha256:
            raise _no_backup(file, f"{name} in it was altered")


def _target(folder: Path | None, name: str) -> BinaryIO:
    if folder is None:
        return open(os.devnull, "wb")
    return os.fdopen(os.open(folder / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")


def _flush(folder: Path) -> None:
    """Everything in it onto the disk before it gets its name."""
    for file in folder.iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    flush_folder(folder)


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _no_backup(file: Path, why: str) -> BackupUnusable:
    return BackupUnusable(f"{file} is no backup that can be used: {why}")
