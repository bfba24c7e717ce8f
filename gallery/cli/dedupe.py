"""`dedupe`: what is there twice or under the wrong name; `undo`: an applied plan taken back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gallery.cli.app import JsonOption, app, open_gallery
from gallery.cli.output import count, emit, percent, progress, say
from gallery.errors import SettingInvalid
from gallery.json_forms.to_json import findings_json

if TYPE_CHECKING:
    from gallery.dedupe.findings import Findings
    from gallery.gallery import Gallery

_MOST_SHOWN = 20


@app.command()
def dedupe(
    context: typer.Context,
    folder: Annotated[Path | None, typer.Argument(metavar="[FOLDER]", show_default=False)] = None,
    precision: Annotated[
        float, typer.Option(help="Of the pairs of faces put together, this share is to be right.")
    ] = 0.99,
    people: Annotated[
        bool | None,
        typer.Option(
            "--people/--no-people",
            help="The folders right inside FOLDER are people by name, or not; else it looks.",
            show_default=False,
        ),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            help="Write plan.json, plan.csv and report.html to this folder, to decide on."
        ),
    ] = None,
    apply: Annotated[
        Path | None,
        typer.Option(
            help="Do what was accepted in this plan: a .json or .csv file, or the folder, of which"
            " the one that was changed last is taken."
        ),
    ] = None,
    over: Annotated[
        float | None,
        typer.Option(
            "--accept-over",
            help="With --apply: what is undecided is accepted from this probability on, 0 to 1.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --apply: say what it would do, and do nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Find duplicates and wrong names. Nothing is changed, unless a plan is applied.

    With a folder: photos that are copies, faces of one person, and, where its folders are people,
    photos in the wrong one. Without: identities of the gallery that seem to be one person, photos
    under the wrong name, and faces enrolled twice. Photo files are never touched.

    Example: `gallery dedupe ~/Pictures --plan review/`
    """
    with open_gallery(context) as gallery:
        if apply is not None:
            if folder is not None or plan is not None:
                raise SettingInvalid("--apply takes a plan alone, without FOLDER and --plan")
            _apply(gallery, apply, over, dry_run, as_json)
            return
        if over is not None or dry_run:
            raise SettingInvalid("--accept-over and --dry-run belong to --apply PLAN")
        found = _find(gallery, folder, precision, people)
        files = []
        if plan is not None:
            with progress("writing the report") as advance:
                files = gallery.write_plan(found, folder, plan, advance)
    if as_json:
        emit(findings_json(found) | ({"plan": [str(file) for file in files]} if files else {}))
        return
    _show(found)
    for file in files:
        say(f"wrote {file}", "green")


@app.command()
def undo(
    context: typer.Context,
    number: Annotated[
        int | None,
        typer.Argument(
            metavar="[NUMBER]",
            help="As `dedupe --apply` said it; else the last.",
            show_default=False,
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--list", help="Only list what can be undone.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Take an applied dedupe plan back, all of it or nothing.

    Example: `gallery undo`
    """
    with open_gallery(context) as gallery:
        if every:
            for applied, steps, left in gallery.applied_plans():
                if as_json:
                    emit({"number": applied, "steps": steps, "undoable": left == steps})
                else:
                    kept = "" if left == steps else ", overtaken: cannot be undone"
                    say(f"{applied}: {count(steps, 'step')}{kept}")
            return
        undone, lines = gallery.undo_plan(number)
    if as_json:
        emit({"number": undone, "undone": lines})
        return
    for line in lines:
        say(line)
    say(f"plan {undone} is undone", "green")


def _find(gallery: Gallery, folder: Path | None, precision: float, people: bool | None) -> Findings:
    if folder is None:
        with progress("comparing faces") as advance:
            return gallery.findings(advance)
    with progress("reading photos") as advance:

        def told(what: str, done: int, whole: int) -> None:
            advance(done, whole, what)

        return gallery.dedupe_folder(folder, precision=precision, people=people, progress=told)


def _apply(gallery: Gallery, plan: Path, over: float | None, dry_run: bool, as_json: bool) -> None:
    if over is not None and not 0.0 <= over <= 1.0:
        raise SettingInvalid(f"--accept-over {over:g}, expected 0 to 1")
    done = gallery.apply_plan(plan, accept_over=over, dry_run=dry_run)
    if as_json:
        emit({"number": done.number, "done": list(done.lines), "dry_run": dry_run})
        return
    for line in done.lines:
        say(line)
    if not done.lines:
        say("nothing in the plan is accepted; nothing was changed")
    elif dry_run:
        say("a dry run: nothing was changed", "yellow")
    else:
        say(f"done; `gallery undo {done.number}` takes it back", "green")


def _show(found: Findings) -> None:
    say(
        f"{count(found.photos, 'photo')}, {count(found.faces, 'face')}:"
        f" {count(len(found.copies), 'group')} of copies,"
        f" {count(len(found.people), 'person', 'people')} with several faces,"
        f" {count(len(found.identities), 'pair')} of names that seem to be one person,"
        f" {count(len(found.misfiled), 'photo')} under a wrong name,"
        f" {count(len(found.skipped), 'file')} skipped",
        "bold",
    )
    if found.folders_are_people:
        say("the folders were taken for people by name; --no-people says that they are not", "dim")
    elif found.folders > 1:
        say(
            "the folders were not taken for people by name, since they hold several each, or the"
            " same ones; --people says that they are, and looks for wrong names",
            "dim",
        )
    for wrong in found.misfiled[:_MOST_SHOWN]:
        whose = f"{wrong.suggested}'s" if wrong.suggested else "nobody's here"
        say(f"wrong name? {wrong.face.photo} ({percent(wrong.probability)})", "magenta")
        say(f"    under {wrong.identity}, seems to be {whose}, by {wrong.nearest.photo}", "dim")
    for same in found.identities[:_MOST_SHOWN]:
        say(f"one person? {' and '.join(same.names)} ({percent(same.probability)})", "green")
        say(f"    by {same.deciding[0].photo} and {same.deciding[1].photo}", "dim")
    for copies in found.copies[:_MOST_SHOWN]:
        say(f"copies: {copies.why} ({percent(copies.probability)})", "cyan")
        for photo in copies.photos:
            say(f"    {photo}")
    for person in found.people[:_MOST_SHOWN]:
        sure = "as you said" if person.confirmed else percent(person.probability)
        say(f"one person, {count(len(person.faces), 'face')} ({sure})", "green")
        for face in person.faces[:_MOST_SHOWN]:
            say(f"    {face.photo}  at {', '.join(f'{v:.0f}' for v in face.box.as_list())}")
        if len(person.faces) > _MOST_SHOWN:
            say(f"    and {len(person.faces) - _MOST_SHOWN} more", "dim")
    parts = (found.misfiled, found.identities, found.copies, found.people)
    more = sum(max(0, len(part) - _MOST_SHOWN) for part in parts)
    if more:
        say(f"and {more} more findings: --plan DIR or --json has all", "dim")
    for _, reason in found.skipped:
        say(f"skipped: {reason}", "yellow")
