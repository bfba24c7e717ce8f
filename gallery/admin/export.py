"""Write enrolled faces or answers to CSV or JSON files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gallery.errors import SettingInvalid
from gallery.names import escape_csv_cell, printable
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
