"""Query a folder of photos, and write enrolled faces or answers to CSV or JSON files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gallery.errors import PhotoError, SettingInvalid
from gallery.names import escape_csv_cell, printable
from gallery.progress import Progress, no_progress
from gallery.types import Decision
from gallery.vision.folder import LeftOut, photos_in
from indexer.whole_file import atomic_write

_BOX = ("left", "top", "right", "bottom")
FACE_COLUMNS = (
    "identity_id",
    "identity",
    "face_id",
    "photo",
    "photo_sha256",
    *_BOX,
    "probability",
    "sharpness",
    "norm",
    "created_at",
    "taken",
    "external_id",
    "details",
)
QUERY_COLUMNS = (
    "photo",
    "outcome",
    "identity_id",
    "identity",
    "probability",
    "runner_up",
    "runner_up_probability",
    *_BOX,
    "reason",
)


@dataclass(frozen=True)
class PhotoAnswer:
    """The decisions about a photo's faces, or why the photo could not be read."""

    photo: Path
    decisions: tuple[Decision, ...]
    error: str | None


def query_folder(
    query_all: Callable[[Path], list[Decision]],
    folder: Path,
    progress: Progress = no_progress,
    left_out: list[LeftOut] | None = None,
) -> Iterator[PhotoAnswer]:
    """Query every face in every photo under a folder.

    query_all : Gallery.query_all.  left_out : see gallery.vision.folder.photos_in.
    Raises PhotoUnreadable if the folder cannot be read.
    """
    photos = photos_in(folder, left_out)
    for done, photo in enumerate(photos, start=1):
        try:
            yield PhotoAnswer(photo, tuple(query_all(photo)), None)
        except PhotoError as error:
            yield PhotoAnswer(photo, (), str(error))
        progress(done, len(photos))


def write_table(file: Path, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    """Write rows in their JSON form to a .json file, or flattened to columns to a .csv file.

    Raises SettingInvalid for another suffix, OSError if the file cannot be written.
    """
    if file.suffix.lower() == ".json":
        text = json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
    elif file.suffix.lower() == ".csv":
        text = _csv(rows, columns)
    else:
        raise SettingInvalid(f"{file} ends in {file.suffix!r}; end it in .csv or .json")
    with atomic_write(file) as target:
        target.write(printable(text).encode())


def _csv(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        cells = _flat(row).items()
        writer.writerow({k: escape_csv_cell(v) if isinstance(v, str) else v for k, v in cells})
    return text.getvalue()


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    identity = row["identity"] or {}
    face = row.get("face") or {}
    runner_up = row.get("runner_up") or {}
    box = row.get("box") or face.get("box") or [None] * len(_BOX)
    return {
        **row,
        "details": json.dumps(row.get("details") or {}, ensure_ascii=False),
        "identity_id": identity.get("id"),
        "identity": identity.get("name"),
        "runner_up": (runner_up.get("identity") or {}).get("name"),
        "runner_up_probability": runner_up.get("probability"),
        **dict(zip(_BOX, box, strict=True)),
    }
