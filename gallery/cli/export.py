"""`export`, `import` and `check`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from gallery.cli.app import JsonOption, app, open_gallery
from gallery.cli.output import ERROR, FOUND, NONE, count, emit, out, progress, say
from gallery.errors import PhotoError, SettingInvalid
from gallery.gallery import Gallery
from gallery.json_forms.to_json import decision_json, error_json, face_record_json
from gallery.names import escape_csv_cell, printable
from gallery.vision.photo import photos_in
from indexer.whole_file import written_whole

if TYPE_CHECKING:
    from gallery.erasure.report import TraceReport

_FACE_COLUMNS = (
    "identity_id",
    "identity",
    "face_id",
    "photo",
    "photo_sha256",
    "left",
    "top",
    "right",
    "bottom",
    "probability",
    "sharpness",
    "norm",
    "created_at",
    "external_id",
    "details",
)
_QUERY_COLUMNS = (
    "photo",
    "outcome",
    "identity_id",
    "identity",
    "probability",
    "runner_up",
    "runner_up_probability",
    "left",
    "top",
    "right",
    "bottom",
    "reason",
)


@app.command()
def export(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Ends in .npz, .csv or .json.", show_default=False),
    ],
    queries: Annotated[
        Path | None,
        typer.Option(help="Instead: the answers to every photo under this folder, all faces."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write every enrolled face, or the answers to a folder of photos, to a file.

    CSV and JSON are without encodings; a NumPy archive (.npz) has them: `gallery import` reads it.

    Examples: `gallery export faces.npz`, `gallery export answers.csv --queries ~/Pictures/2024`
    """
    if file.suffix.lower() not in (".csv", ".json", ".npz"):
        raise SettingInvalid(f"{file} ends in {file.suffix!r}; end it in .npz, .csv or .json")
    if not file.parent.is_dir():
        raise SettingInvalid(f"{file.parent} is not a folder; make it first")
    if file.suffix.lower() == ".npz":
        if queries is not None:
            raise SettingInvalid(f"answers cannot be written to {file}; end it in .csv or .json")
        with open_gallery(context) as gallery:
            written = gallery.export(file)
        emit({"file": str(file), "rows": written}) if as_json else say(f"{written} faces in {file}")
        return
    columns = _FACE_COLUMNS if queries is None else _QUERY_COLUMNS
    with open_gallery(context) as gallery:
        if queries is None:
            people = {record.id: record for record in gallery.identities()}
            rows = [
                face_record_json(face)
                | {
                    "external_id": people[face.identity.id].external_id,
                    "details": people[face.identity.id].details,
                }
                for face in gallery.faces()
                if face.identity.id in people
            ]
        else:
            rows = list(_answers(gallery, queries))
    text = json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
    if file.suffix.lower() == ".csv":
        text = _csv(columns, (_flat(row) for row in rows))
    with written_whole(file) as target:
        target.write(printable(text).encode())
    emit({"file": str(file), "rows": len(rows)}) if as_json else say(f"{len(rows)} rows in {file}")


def _answers(gallery: Gallery, folder: Path) -> Iterator[dict[str, Any]]:
    photos = photos_in(folder)
    with progress("asking") as advance:
        for done, photo in enumerate(photos, start=1):
            try:
                for answer in gallery.query_all(photo):
                    yield decision_json(str(photo), answer)
            except PhotoError as error:
                yield error_json(str(photo), str(error))
            advance(done, len(photos))


def _csv(columns: tuple[str, ...], rows: Iterable[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {k: escape_csv_cell(v) if isinstance(v, str) else v for k, v in row.items()} for row in rows
    )
    return text.getvalue()


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    identity, face, second = (
        row["identity"] or {},
        row.get("face") or {},
        row.get("runner_up") or {},
    )
    box = row.get("box") or face.get("box") or [None] * 4
    return {
        **row,
        "details": json.dumps(row.get("details") or {}, ensure_ascii=False),
        "identity_id": identity.get("id"),
        "identity": identity.get("name"),
        "runner_up": (second.get("identity") or {}).get("name"),
        "runner_up_probability": second.get("probability"),
        **dict(zip(("left", "top", "right", "bottom"), box, strict=True)),
    }


@app.command("import")
def import_faces(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .npz.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Enrol the faces of a NumPy archive with precomputed encodings, as `gallery export` writes it.

    No photo is looked at and nobody is compared: run `gallery dedupe` afterwards. A name that is
    there gets the faces. Cut short, running it again adds what is missing.

    Example: `gallery import faces.npz`
    """
    with open_gallery(context) as gallery, progress("importing") as advance:
        added, there = gallery.import_from(file, advance)
    if as_json:
        emit({"file": str(file), "added": added, "already": there})
    else:
        say(f"{count(added, 'face')} added, {there} there already")


@app.command()
def check(
    context: typer.Context,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Mend first what can be: the index, permissions, what was left half-written or"
            " half-erased. Nobody is dropped.",
        ),
    ] = False,
    traces: Annotated[
        str | None,
        typer.Option(
            metavar="WHO",
            help="Instead: where this person, by id or name, can be found in the gallery's files.",
            show_default=False,
        ),
    ] = None,
    photos: Annotated[
        list[Path] | None,
        typer.Option(
            "--photo",
            help="With --traces, of someone who is gone: look for the encodings of this photo's"
            " faces as well. Repeat it for several.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look at the gallery, the index, the head, the weights and their licences.

    Exit status: 0 everything is well, 2 something is not. With --traces: 0 no trace of the person,
    1 there are traces.

    Example: `gallery check`, or after an erasure `gallery check --traces 7 --photo hers.jpg`
    """
    if photos and traces is None:
        raise SettingInvalid("--photo goes with --traces WHO")
    if repair and traces is not None:
        raise SettingInvalid("--repair and --traces exclude each other; give one of them")
    if traces is not None:
        with open_gallery(context) as gallery:
            found = gallery.traces(traces, photos or ())
        _show_tracing(found, as_json)
        raise typer.Exit(FOUND if found.clean else NONE)
    with open_gallery(context) as gallery:
        findings = gallery.check(repair=repair)
    for finding in findings:
        if as_json:
            emit({"part": finding.part, "ok": finding.ok, "said": finding.message})
        else:
            mark = "[green]ok [/]" if finding.ok else "[bold red]BAD[/]"
            out.print(mark, f"[bold]{finding.part}[/]:", escape(printable(finding.message)))
    raise typer.Exit(FOUND if all(f.ok for f in findings) else ERROR)


def _show_tracing(found: TraceReport, as_json: bool) -> None:
    if as_json:
        emit(
            {
                "in_gallery": found.here,
                "clean": found.clean,
                "said": list(found.said),
                "files": found.files,
                "bytes": found.bytes,
                "traces": [
                    {"file": str(hit.file), "kind": hit.trace.kind.value, "at": hit.at}
                    for hit in found.hits
                ],
            }
        )
        return
    for line in found.said:
        say(line)
    kinds: dict[tuple[str, str], int] = {}
    for hit in found.hits:
        kind = str(hit.file), hit.trace.kind.value
        kinds[kind] = kinds.get(kind, 0) + 1
    for (where, what), number in kinds.items():
        say(f"    {where}: {count(number, 'trace')} of {what}", "yellow")
    if found.clean:
        say("no trace was found", "green")
