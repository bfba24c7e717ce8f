"""`export` and `import`: faces, or answers to queries, in files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gallery.admin.export import FACE_COLUMNS, QUERY_COLUMNS, write_table
from gallery.cli.app import JsonOption, NewOption, app
from gallery.cli.exit_status import ERROR
from gallery.cli.left_out import say_left_out
from gallery.cli.opening import open_existing, open_gallery
from gallery.cli.output import complain, count, emit, note, progress, say
from gallery.errors import SettingInvalid
from gallery.gallery import Gallery
from gallery.json_forms.to_json import decision_json, error_json, face_record_json
from gallery.vision.folder import LeftOut, photos_in, split_unlistable


@app.command()
def export(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A .npz, .csv or .json file.", show_default=False),
    ],
    queries: Annotated[
        Path | None,
        typer.Option(
            help="Instead: query every face in every photo in this folder, and export the answers."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Export every enrolled face, or the answers to a folder of photos, to a file.

    A NumPy archive (.npz) includes encodings, and `gallery import` reads it. CSV and JSON do not.

    Exit status: 0 written, 2 an error, also if a subfolder could not be listed: its answers are
    missing.

    Examples: `gallery export faces.npz`, `gallery export answers.csv --queries ~/Pictures/2024`
    """
    suffix = file.suffix.lower()
    if suffix not in (".csv", ".json", ".npz"):
        raise SettingInvalid(f"{file} ends in {file.suffix!r}; end it in .npz, .csv or .json")
    if not file.parent.is_dir():
        raise SettingInvalid(f"{file.parent} is not a folder; create it first")
    if suffix == ".npz" and queries is not None:
        raise SettingInvalid(f"answers cannot be written to {file}; end it in .csv or .json")
    left_out: list[LeftOut] = []
    with open_existing(context) as gallery:
        if suffix == ".npz":
            number = gallery.export(file)
        elif queries is None:
            rows = _face_rows(gallery)
        else:
            rows = _answer_rows(gallery, queries, left_out)
    unlistable, left_out = split_unlistable(left_out)
    if suffix != ".npz":
        number = len(rows)
        write_table(file, rows, FACE_COLUMNS if queries is None else QUERY_COLUMNS)
    if as_json:
        emit({"file": str(file), "rows": number})
    else:
        noun = "face" if queries is None else "answer"
        unread = sum(row.get("outcome") == "error" for row in rows) if queries is not None else 0
        errors = f", {count(unread, 'photo')} of them not read" if unread else ""
        say(f"exported {count(number, noun)} to {file}{errors}")
    for folder, reason in unlistable:
        complain(f"{folder} {reason}; its photos have no answers")
    say_left_out(left_out, as_json=as_json)
    if unlistable:
        raise typer.Exit(ERROR)


def _face_rows(gallery: Gallery) -> list[dict[str, Any]]:
    identities = {record.id: record for record in gallery.identities()}
    return [
        face_record_json(face)
        | {
            "external_id": identities[face.identity.id].external_id,
            "details": identities[face.identity.id].details,
        }
        for face in gallery.faces()
        if face.identity.id in identities
    ]


def _answer_rows(gallery: Gallery, folder: Path, left_out: list[LeftOut]) -> list[dict[str, Any]]:
    rows = []
    with progress("querying") as advance:
        photos = photos_in(folder, left_out)
        for done, answer in enumerate(gallery.query_many(photos, all_faces=True), start=1):
            if answer.error is not None:
                rows.append(error_json(answer.photo, answer.error))
            rows += [decision_json(answer.photo, decision) for decision in answer.decisions]
            advance(done, len(photos))
    return rows


@app.command("import")
def import_faces(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .npz file.", show_default=False)],
    new: NewOption = False,
    as_json: JsonOption = False,
) -> None:
    """Enrol faces with their encodings from a NumPy archive written by `gallery export`.

    Photos are not read, and faces are not compared with the gallery: run `gallery dedupe`
    afterwards. Faces of a name that exists are added to it. After an interruption, run it again to
    add the rest.

    Example: `gallery import faces.npz`
    """
    with open_gallery(context) as gallery, progress("importing") as advance:
        added, already = gallery.import_from(file, advance, new=new, note=note)
    if as_json:
        emit({"file": str(file), "added": added, "already": already})
    else:
        say(f"added {count(added, 'face')}; {already} already enrolled")
