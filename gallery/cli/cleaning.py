"""`dedupe`: what is there twice, in a folder of photos or in the gallery."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gallery.cli.app import JsonOption, app, open_gallery
from gallery.cli.output import count, emit, percent, progress, say
from gallery.wire import folder_report_json, gallery_report_json

if TYPE_CHECKING:
    from gallery.dedupe.folder import FolderReport
    from gallery.dedupe.reports import GalleryReport


@app.command()
def dedupe(
    context: typer.Context,
    folder: Annotated[Path | None, typer.Argument(metavar="[FOLDER]", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Find duplicates; nothing is deleted or merged.

    With a folder: photos that are copies, and groups of faces of one person. Without: identities of
    the gallery that seem to be one person, and faces enrolled twice.

    Example: `gallery dedupe ~/Pictures`
    """
    with open_gallery(context) as gallery:
        if folder is None:
            with progress("comparing faces") as advance:
                enrolled = gallery.dedupe(advance)
        else:
            with progress("reading photos") as advance:
                found = gallery.dedupe_folder(folder, advance)
    if folder is None:
        emit(gallery_report_json(enrolled)) if as_json else _show_gallery(enrolled)
    else:
        emit(folder_report_json(found)) if as_json else _show_folder(found)


def _show_folder(report: FolderReport) -> None:
    say(
        f"{count(report.photos, 'photo')}, {count(report.faces, 'face')}:"
        f" {count(len(report.copies), 'group')} of copies,"
        f" {count(len(report.people), 'person', 'people')} with several faces,"
        f" {count(len(report.skipped), 'file')} skipped",
        "bold",
    )
    for copies in report.copies:
        say(f"copies ({copies.why}, similarity {copies.similarity:.3f})", "cyan")
        for photo in copies.photos:
            say(f"    {photo}")
    for person in report.people:
        say(f"one person, {len(person.faces)} faces ({percent(person.probability)})", "green")
        for face in person.faces:
            say(f"    {face.photo}  at {', '.join(f'{v:.0f}' for v in face.box.as_list())}")
    for _, reason in report.skipped:
        say(f"skipped: {reason}", "yellow")


def _show_gallery(report: GalleryReport) -> None:
    say(
        f"{count(report.identities, 'identity', 'identities')}, {count(report.faces, 'face')}:"
        f" {count(len(report.same_people), 'pair')} of identities that seem to be one person,"
        f" {count(len(report.same_faces), 'face')} enrolled twice",
        "bold",
    )
    for found in report.same_people:
        first, second = found.identities
        say(f"one person? {first.name} and {second.name} ({percent(found.probability)})", "green")
        say(f"    by {found.deciding[0].photo} and {found.deciding[1].photo}", "dim")
    for same in report.same_faces:
        first_face, second_face = same.faces
        say(f"same face (cosine {same.similarity:.3f})", "cyan")
        say(f"    {first_face.identity.name}: face {first_face.id}, {first_face.photo}")
        say(f"    {second_face.identity.name}: face {second_face.id}, {second_face.photo}")
