"""Back up a gallery to one file while it is in use, and restore it.

A backup is an uncompressed zip archive: `backup.json`, which lists every other file with its size
and SHA-256; a snapshot of the database; and the gallery's own head if it has one. The index is not
in it, since it is rebuilt from the database.
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
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

from gallery.config import Settings
from gallery.errors import BackupUnusable, DatabaseUnusable, HomeUnusable
from gallery.matching.learned_heads import delete_trained_heads
from gallery.package_data import is_head_part
from gallery.progress import Progress, no_progress
from gallery.store import audit, backups, calibrations, faces, identities
from gallery.store.database import SCHEMA, Database, open_database
from gallery.store.records import BackupRecord
from indexer.whole_file import atomic_write, fsync_folder

_FORM = "face-gallery-backup-1"
_MANIFEST, _DATABASE = "backup.json", "gallery.db"
_BLOCK = 2**20


@dataclass(frozen=True)
class BackupInfo:
    """The contents of a backup, from its `backup.json`.

    encoder : name and SHA-256 of the weights; None if nothing was ever enrolled.
    files : name to (size in bytes, SHA-256).
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
    database: Database, settings: Settings, file: Path, progress: Progress = no_progress
) -> BackupInfo:
    """Write a backup atomically, readable by its owner only.

    An encrypted database stays encrypted in the backup, with the same key.

    Raises HomeUnusable if it cannot be written, DatabaseUnusable if the disk is full.
    """
    with database.writing() as session:
        record = backups.begin(session)
        audit.record(session, "backup", outcome=record.id)
    try:
        _remove_unfinished(file)
        with tempfile.TemporaryDirectory(
            dir=file.parent, prefix=f"{file.name}.", suffix=".part"
        ) as folder:
            parts = {_DATABASE: Path(folder, _DATABASE)}
            database.copy_to(parts[_DATABASE])
            for head in sorted(settings.home.glob("head*")):
                if is_head_part(head.name):
                    # An erasure may have just removed it.
                    with contextlib.suppress(FileNotFoundError):
                        parts[head.name] = Path(shutil.copyfile(head, Path(folder, head.name)))
            info, newest = _info(settings, record, parts)
            with atomic_write(file) as out:
                _write_archive(out, info, parts, progress)
    except OSError as error:
        raise HomeUnusable(
            f"cannot write the backup {file}: {error.strerror or error}; choose another location"
        ) from error
    with database.writing() as session:
        backups.complete(session, record.id, *newest)
    return info


def _remove_unfinished(target: Path) -> None:
    """Remove what a killed backup or restore left beside its target."""
    for part in target.parent.glob(f"{glob.escape(target.name)}.*.part"):
        shutil.rmtree(part, ignore_errors=True)


def _info(
    settings: Settings, record: BackupRecord, parts: dict[str, Path]
) -> tuple[BackupInfo, tuple[int, int]]:
    """The contents of a backup with these parts, and the highest ids in it."""
    database = open_database(settings, parts[_DATABASE])
    with database.reading() as session:
        encoder = faces.current_encoder(session)
        identity_count, face_count = identities.count(session), faces.count(session)
        newest = backups.newest_ids(session)
    database.close()
    info = BackupInfo(
        id=record.id,
        made_at=record.created_at,
        program=version("face-gallery"),
        schema=SCHEMA,
        encoder=encoder,
        identities=identity_count,
        faces=face_count,
        own_head=any(name.endswith(".safetensors") for name in parts),
        files={name: (part.stat().st_size, _sha256(part)) for name, part in parts.items()},
    )
    return info, newest


def _write_archive(
    out: BinaryIO, info: BackupInfo, parts: dict[str, Path], progress: Progress
) -> None:
    total = sum(size for size, _ in info.files.values())
    done = 0
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        manifest = {"form": _FORM, **asdict(info), "made_at": info.made_at.isoformat()}
        archive.writestr(_MANIFEST, json.dumps(manifest, indent=2))
        for name, part in parts.items():
            with part.open("rb") as source, archive.open(name, "w", force_zip64=True) as target:
                while block := source.read(_BLOCK):
                    target.write(block)
                    done += len(block)
                    progress(done, total)


def verify(file: Path, progress: Progress = no_progress) -> BackupInfo:
    """Check every byte of a backup.

    Raises BackupUnusable if it is not a backup, is truncated, altered, or from a newer version.
    """
    return _read_archive(file, None, progress)


def restore(
    file: Path,
    settings: Settings,
    forget: Sequence[int] = (),
    progress: Progress = no_progress,
) -> BackupInfo:
    """Restore a backup atomically into the home of these settings, which must be missing or empty.

    The restored gallery gets an id of its own, so that its index is never mixed up with that of the
    gallery the backup was made from.

    forget : ids of identities to erase before the gallery is put in place, together with everything
        learned from the gallery.
    Raises BackupUnusable as `verify`; HomeUnusable when there is something at the home;
    IdentityNotFound for whom it does not hold.
    """
    home = settings.home
    if home.is_symlink() or (home.exists() and (not home.is_dir() or any(home.iterdir()))):
        raise HomeUnusable(
            f"{home} is not empty, and a restore never overwrites files; choose another --home"
        )
    part: Path | None = None
    try:
        home.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_unfinished(home)
        part = Path(tempfile.mkdtemp(dir=home.parent, prefix=f"{home.name}.", suffix=".part"))
        info = _read_archive(file, part, progress)
        info = _make_new_gallery(file, part, settings, info, forget)
        _flush(part)
        if home.exists():
            home.rmdir()
        os.replace(part, home)
        fsync_folder(home.parent)
    except OSError as error:
        raise HomeUnusable(
            f"cannot restore to {home}: {error.strerror or error}; nothing was changed"
        ) from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
    return info


def _read_archive(file: Path, folder: Path | None, progress: Progress) -> BackupInfo:
    """Check every byte. folder : where to write the parts; None: nowhere."""
    try:
        with zipfile.ZipFile(file) as archive:
            info = _read_manifest(file, archive)
            _read_parts(file, archive, info, folder, progress)
            return info
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise _unusable(file, str(error.strerror)) from error
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, zlib.error) as error:
        raise _unusable(file, str(error)) from error
    except OSError as error:
        if error.errno == errno.EINVAL:  # an offset before the start of the file
            raise _unusable(file, "its list of contents was altered") from error
        raise


def _make_new_gallery(
    file: Path, part: Path, settings: Settings, info: BackupInfo, forget: Sequence[int]
) -> BackupInfo:
    """Give the unpacked gallery an id of its own and erase identities; return its contents."""
    try:
        database = open_database(settings, part / _DATABASE)
    except DatabaseUnusable as error:
        raise _unusable(
            file,
            "its database cannot be read: it is encrypted, and GALLERY_KEY_FILE is not set or is"
            " not its key",
        ) from error
    try:
        problems = database.problems()
        if problems:
            raise _unusable(file, "; ".join(problems[:3]))
        database.assign_new_id()
        with database.writing() as session:
            for identity_id in forget:
                identities.remove(session, identities.get(session, identity_id).id)
                audit.record(session, "forget", identity_id=identity_id, outcome=info.id)
            if forget:  # calibrations may have learned from the erased identities
                for calibration in calibrations.list_all(session):
                    calibrations.drop(session, calibration.id)
            audit.record(session, "restore", outcome=info.id)
            identity_count, face_count = identities.count(session), faces.count(session)
        if forget:
            delete_trained_heads(part)
        database.scrub()
    finally:
        database.close()
    own_head = info.own_head and not forget
    return replace(info, identities=identity_count, faces=face_count, own_head=own_head)


def _read_manifest(file: Path, archive: zipfile.ZipFile) -> BackupInfo:
    try:
        manifest = json.loads(archive.read(_MANIFEST))
        form, schema = str(manifest["form"]), str(manifest["schema"])
        if form != _FORM:
            raise _unusable(file, f"its format is {form!r}, and this program reads {_FORM!r}")
        if schema > SCHEMA:
            raise _unusable(
                file,
                f"its database has schema {schema}, this program knows {SCHEMA}: restore it with"
                f" face-gallery {manifest['program']} or newer",
            )
        return BackupInfo(
            id=str(manifest["id"]),
            made_at=datetime.fromisoformat(manifest["made_at"]),
            program=str(manifest["program"]),
            schema=schema,
            encoder=manifest["encoder"]
            and (str(manifest["encoder"][0]), str(manifest["encoder"][1])),
            identities=int(manifest["identities"]),
            faces=int(manifest["faces"]),
            own_head=bool(manifest["own_head"]),
            files={
                _checked_name(file, name): (int(size), str(sha256))
                for name, (size, sha256) in manifest["files"].items()
            },
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise _unusable(file, "its list of contents cannot be read") from error


def _checked_name(file: Path, name: str) -> str:
    if name != _DATABASE and not is_head_part(name):
        raise _unusable(file, f"it contains {name!r}, which is not part of a gallery")
    return name


def _read_parts(
    file: Path,
    archive: zipfile.ZipFile,
    info: BackupInfo,
    folder: Path | None,
    progress: Progress,
) -> None:
    """Check every part. folder : where to write the parts; None: nowhere."""
    if _DATABASE not in info.files:
        raise _unusable(file, "it contains no database")
    total = sum(size for size, _ in info.files.values())
    done = 0
    for name, (size, sha256) in info.files.items():
        if name not in archive.namelist() or archive.getinfo(name).file_size != size:
            raise _unusable(file, f"it contains no {name} of {size} bytes")
        digest = hashlib.sha256()
        with archive.open(name) as source, _open_target(folder, name) as target:
            while block := source.read(_BLOCK):
                digest.update(block)
                target.write(block)
                done += len(block)
                progress(done, total)
        if digest.hexdigest() != sha256:
            raise _unusable(file, f"{name} was altered")


def _open_target(folder: Path | None, name: str) -> BinaryIO:
    if folder is None:
        return open(os.devnull, "wb")
    return os.fdopen(os.open(folder / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")


def _flush(folder: Path) -> None:
    """Sync every file, and the folder, to disk."""
    for file in folder.iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    fsync_folder(folder)


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _unusable(file: Path, reason: str) -> BackupUnusable:
    return BackupUnusable(f"{file} cannot be used as a backup: {reason}")
