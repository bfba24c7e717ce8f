"""`dedupe`: find duplicates and wrong names. `undo`: undo an applied plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gallery.cli.app import JsonOption, app
from gallery.cli.left_out import say_left_out
from gallery.cli.opening import open_existing, open_gallery
from gallery.cli.output import certainty, count, emit, progress, say
from gallery.errors import SettingInvalid
from gallery.json_forms.to_json import findings_json

if TYPE_CHECKING:
    from gallery.dedupe.findings import Findings, FoundFace
    from gallery.gallery import Gallery

_MAX_LISTED = 20


@app.command()
def dedupe(
    context: typer.Context,
    folder: Annotated[Path | None, typer.Argument(metavar="[FOLDER]", show_default=False)] = None,
    precision: Annotated[
        float,
        typer.Option(help="The share of face pairs put together that should be right."),
    ] = 0.99,
    people: Annotated[
        bool | None,
        typer.Option(
            "--people/--no-people",
            help="Whether the subfolders of FOLDER are named after people. Default: detected.",
            show_default=False,
        ),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            help="Write plan.json, plan.csv and report.html to this folder, for you to review."
        ),
    ] = None,
    apply: Annotated[
        Path | None,
        typer.Option(
            help="Apply what you accepted in this plan: a .json or .csv file, or the folder, whose"
            " most recently changed plan is used."
        ),
    ] = None,
    over: Annotated[
        float | None,
        typer.Option(
            "--accept-over",
            help="With --apply: also accept undecided findings with at least this probability (0 to"
            " 1).",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="With --apply: show what would be done, and change nothing."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Find duplicates and wrong names. Nothing is changed unless you apply a plan.

    With FOLDER: copies of a photo, faces of the same person and, if its subfolders are people,
    photos in the wrong one. Without: identities of the gallery that seem to be the same person,
    photos under the wrong name, and faces enrolled twice. Photo files are never changed.

    Example: `gallery dedupe ~/Pictures --plan review/`
    """
    _check_precision(precision)
    with (open_existing if folder is None else open_gallery)(context) as gallery:
        if apply is not None:
            if folder is not None or plan is not None:
                raise SettingInvalid("--apply cannot be combined with FOLDER or --plan")
            _apply(gallery, apply, over, dry_run, as_json)
            return
        if over is not None or dry_run:
            raise SettingInvalid("--accept-over and --dry-run need --apply PLAN")
        findings = _find(gallery, folder, precision, people)
        files = []
        if plan is not None:
            with progress("writing the report") as advance:
                files = gallery.write_plan(findings, folder, plan, advance)
    if as_json:
        emit(findings_json(findings) | ({"plan": [str(file) for file in files]} if files else {}))
        return
    _show(findings, folder, people)
    for file in files:
        say(f"wrote {file}", "green")


@app.command()
def undo(
    context: typer.Context,
    number: Annotated[
        int | None,
        typer.Argument(
            metavar="[NUMBER]",
            help="The number that `dedupe --apply` printed. Default: the last plan.",
            show_default=False,
        ),
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="Only list the applied plans.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Undo an applied dedupe plan, completely or not at all.

    Example: `gallery undo`
    """
    with open_existing(context) as gallery:
        if list_all:
            for applied, steps, undoable in gallery.applied_plans():
                if as_json:
                    emit({"number": applied, "steps": steps, "undoable": undoable == steps})
                else:
                    state = "" if undoable == steps else ", changed since: cannot be undone"
                    say(f"{applied}: {count(steps, 'step')}{state}")
            return
        undone, lines = gallery.undo_plan(number)
    if as_json:
        emit({"number": undone, "undone": lines})
        return
    _say_lines(lines)
    say(f"plan {undone} was undone", "green")


def _check_precision(precision: float) -> None:
    from gallery.dedupe.clustering.operating_point import shipped_calibration

    low, *_, high = shipped_calibration().precisions
    if not low <= precision <= high:
        raise SettingInvalid(f"--precision is {precision:g}, expected {low} to {high}")


def _find(gallery: Gallery, folder: Path | None, precision: float, people: bool | None) -> Findings:
    if folder is None:
        with progress("comparing faces") as advance:
            return gallery.findings(advance)
    with progress("reading photos") as bar:
        return gallery.dedupe_folder(folder, precision=precision, people=people, progress=bar.step)


def _apply(gallery: Gallery, plan: Path, over: float | None, dry_run: bool, as_json: bool) -> None:
    if over is not None and not 0.0 <= over <= 1.0:
        raise SettingInvalid(f"--accept-over is {over:g}, expected 0 to 1")
    applied = gallery.apply_plan(plan, accept_over=over, dry_run=dry_run)
    if as_json:
        emit({"number": applied.number, "done": list(applied.lines), "dry_run": dry_run})
        return
    _say_lines(applied.lines)
    if not applied.lines:
        say("no finding in the plan is accepted; nothing was changed")
    elif dry_run:
        say("dry run: nothing was changed", "yellow")
    else:
        say(f"done; `gallery undo {applied.number}` undoes it", "green")


def _say_lines(lines: Iterable[str]) -> None:
    for line, times in Counter(lines).items():
        say(line if times == 1 else f"{line} ({times} times)")


def _summary(findings: Findings, *, is_folder: bool, is_unsure: bool) -> str:
    """What was compared and found; only the kinds of findings that were looked for.

    is_unsure : whether wrong names were not looked for because the subfolders may not be people.
    """
    wrong_names = f"{count(len(findings.misfiled), 'photo')} under the wrong name"
    if not is_folder:
        return (
            f"{count(findings.faces, 'face')}:"
            f" {count(len(findings.identities), 'pair')} of identities that seem to be one person,"
            f" {wrong_names}, {count(len(findings.copies), 'face')} enrolled twice"
        )
    parts = [
        f"{count(len(findings.copies), 'group')} of copies",
        f"{count(len(findings.people), 'person', 'people')} with several faces",
    ]
    if findings.folders_are_people:
        pairs = count(len(findings.identities), "pair")
        parts += [f"{pairs} of subfolders that seem to be one person", wrong_names]
    parts.append(f"{count(len(findings.skipped), 'file')} skipped")
    found = (
        f"{count(findings.photos, 'photo')}, {count(findings.faces, 'face')}: {', '.join(parts)}"
    )
    if is_unsure:
        found += "; wrong names not checked: add --people if each subfolder is one person"
    return found


def _show(findings: Findings, folder: Path | None, people: bool | None) -> None:
    is_unsure = people is None and not findings.folders_are_people and findings.folders > 1
    say(_summary(findings, is_folder=folder is not None, is_unsure=is_unsure), "bold")
    if findings.folders_are_people:
        say("the subfolders were taken for people; use --no-people if they are not", "dim")
    elif people is False:
        say("Wrong names were not checked, because of --no-people.", "dim")
    elif is_unsure:
        say(
            "The subfolders may not be people: some hold several people, several hold the same"
            " person, or many photos are in none.",
            "yellow",
        )
    for misfiled in findings.misfiled[:_MAX_LISTED]:
        suggested = misfiled.suggested or "someone not in this collection"
        say(f"wrong name? {_face(misfiled.face)} ({certainty(misfiled.probability)})", "magenta")
        say(
            f"    under {misfiled.identity}, seems to be {suggested};"
            f" nearest: {_face(misfiled.nearest)}",
            "dim",
        )
    for pair in findings.identities[:_MAX_LISTED]:
        say(f"one person? {' and '.join(pair.names)} ({certainty(pair.probability)})", "green")
        say(f"    see {_pair(pair.deciding)}", "dim")
    for copies in findings.copies[:_MAX_LISTED]:
        say(f"copies: {copies.why} ({certainty(copies.probability)})", "cyan")
        if copies.faces:
            say(f"    {_pair((copies.faces[0], copies.faces[1]))}")
        for photo in () if copies.faces else copies.photos:
            say(f"    {photo}")
    for person in findings.people[:_MAX_LISTED]:
        basis = "confirmed by you" if person.confirmed else certainty(person.probability)
        say(f"one person, {count(len(person.faces), 'face')} ({basis})", "green")
        for face in person.faces[:_MAX_LISTED]:
            say(f"    {face.photo}  at {', '.join(f'{v:.0f}' for v in face.box.as_list())}")
        if len(person.faces) > _MAX_LISTED:
            say(f"    and {len(person.faces) - _MAX_LISTED} more", "dim")
    kinds = (findings.misfiled, findings.identities, findings.copies, findings.people)
    more = sum(max(0, len(kind) - _MAX_LISTED) for kind in kinds)
    if more:
        say(f"and {count(more, 'more finding')}: --plan DIR or --json lists all", "dim")
    for _, reason in findings.skipped:
        say(f"skipped: {reason}", "yellow")
    say_left_out(findings.left_out)


def _face(face: FoundFace) -> str:
    """A face's photo; of an enrolled face also its name and id."""
    if face.face_id is None:
        return face.photo
    return f"{face.photo} ({face.name}, face {face.face_id})"


def _pair(faces: tuple[FoundFace, FoundFace]) -> str:
    """Two faces; a photo that both are from is named once."""
    first, second = faces
    if first.face_id is None or first.photo != second.photo:
        return f"{_face(first)} and {_face(second)}"
    return (
        f"{first.name} (face {first.face_id}) and {second.name} (face {second.face_id}),"
        f" both from {first.photo}"
    )
