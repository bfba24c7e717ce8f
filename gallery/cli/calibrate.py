"""`calibrate`: refit the operating point to the gallery's own people; list and switch versions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gallery.cli.app import JsonOption, app
from gallery.cli.evaluate import SeedOption, steps
from gallery.cli.evaluation_tables import show_calibration
from gallery.cli.left_out import say_left_out_of_people
from gallery.cli.opening import open_gallery
from gallery.cli.output import count, emit, say
from gallery.errors import SettingInvalid
from gallery.gallery import Gallery

_MAX_LISTED = 10


@app.command()
def calibrate(
    context: typer.Context,
    strangers: Annotated[
        Path | None,
        typer.Option(
            help="Photos of people who are not in the gallery: one folder per person, or loose.",
            show_default=False,
        ),
    ] = None,
    use: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Use this version again; 0: the head's own operating point.",
            show_default=False,
        ),
    ] = None,
    versions: Annotated[bool, typer.Option("--list", help="List all versions.")] = False,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Calibrate the operating point on your own people, with photos of strangers to them.

    Shows, before and after, how many strangers are matched and how many known people are found.
    Needs identities with two or more photos. Nothing else changes, and you can return to any
    version.

    Example: `gallery calibrate --strangers visitors/`; `gallery calibrate --use 0` undoes it
    """
    if [strangers is not None, use is not None, versions].count(True) != 1:
        raise SettingInvalid("give one of --strangers DIR, --use N and --list")
    with open_gallery(context) as gallery:
        if use is not None:
            gallery.use_calibration(use)
        if strangers is None:
            _list(gallery, as_json)
        else:
            _calibrate(gallery, strangers, seed, as_json)
            say_left_out_of_people(strangers, with_loose=True, as_json=as_json)


def _list(gallery: Gallery, as_json: bool) -> None:
    head = gallery.scorer.head.sha256
    is_any_in_use = False
    for record in gallery.calibrations():
        is_in_use = record.in_use and record.head_sha256 == head
        is_any_in_use |= is_in_use
        if as_json:
            emit(
                {
                    "version": record.id,
                    "in_use": is_in_use,
                    "head_sha256": record.head_sha256,
                    "created_at": record.created_at.isoformat(),
                    "report": record.report,
                }
            )
            continue
        state = "in use" if is_in_use else "" if record.head_sha256 == head else "another head"
        after = record.report["after"]
        photos = count(record.report["strangers"]["photos"], "photo")
        say(
            f"{record.id}  {record.created_at:%Y-%m-%d %H:%M}  {photos} of strangers,"
            f" {after['strangers_named']:.1%} matched  {state}"
        )
    if not as_json and not is_any_in_use:
        say("0  the head's own operating point  in use")


def _calibrate(gallery: Gallery, folder: Path, seed: int, as_json: bool) -> None:
    from gallery.training.calibrate_gallery import calibrate_gallery

    with steps("calibration") as advance:
        run = calibrate_gallery(gallery, folder, seed=seed, progress=advance)
    names = {record.id: record.name for record in gallery.identities()}
    matched = [(photo, names.get(i, str(i))) for photo, i in run.calibration.matched[:_MAX_LISTED]]
    if as_json:
        emit(
            {
                "version": run.version,
                "enrolled_left_out": list(run.already_enrolled),
                "pictures_under_two_names": [list(pair) for pair in run.duplicates.across_people],
                "named_before": [{"photo": p, "identity": name} for p, name in matched],
            }
            | run.calibration.report
        )
        return
    for photo in run.already_enrolled:
        say(f"left out: {photo} is enrolled", "yellow")
    for first, second in run.duplicates.across_people:
        say(f"left out: {first} and {second} are the same picture under two names", "yellow")
    show_calibration(run.calibration.report)
    if matched:
        say("strangers matched before, the most likely first; check that they are strangers:")
        for photo, name in matched:
            say(f"    {photo}: {name}", "dim")
    say(f"calibration {run.version} is in use; `gallery calibrate --use 0` undoes it", "green")
