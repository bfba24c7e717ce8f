"""`calibrate`: the operating point refitted on the user's own people, by version."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from gallery.cli.app import JsonOption, app, open_gallery
from gallery.cli.evaluate import encoded, with_interval
from gallery.cli.output import count, emit, say, show
from gallery.errors import SettingInvalid
from gallery.gallery import Gallery

_MOST_NAMED = 10


@app.command()
def calibrate(
    context: typer.Context,
    strangers: Annotated[
        Path | None,
        typer.Option(
            help="Photos of people who are not in the gallery: a folder each, or loose.",
            show_default=False,
        ),
    ] = None,
    use: Annotated[
        int | None,
        typer.Option(
            min=0, help="Put a version in use again; 0: none, as it was.", show_default=False
        ),
    ] = None,
    versions: Annotated[bool, typer.Option("--list", help="Show every version.")] = False,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Refit the promise to your own people, with photos of strangers to them.

    Shows how many strangers get a name and how many of the known are found, before and after.
    The identities need two or more photos each. Nothing else changes, and any version can be put
    in use again.

    Example: `gallery calibrate --strangers visitors/`, then `gallery calibrate --use 0` goes back
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


def _list(gallery: Gallery, as_json: bool) -> None:
    kept = gallery.calibrations()
    head = gallery.scorer.head.sha256
    for one in kept:
        if as_json:
            emit(
                {
                    "version": one.id,
                    "in_use": one.in_use and one.head_sha256 == head,
                    "head_sha256": one.head_sha256,
                    "created_at": one.created_at.isoformat(),
                    "report": one.report,
                }
            )
            continue
        state = "another head" if one.head_sha256 != head else "in use" if one.in_use else ""
        after, photos = one.report["after"], one.report["strangers"]["photos"]
        say(
            f"{one.id}  {one.created_at:%Y-%m-%d %H:%M}  {photos} photos of strangers,"
            f" {after['strangers_named']:.1%} named  {state}"
        )
    if not as_json and not any(one.in_use and one.head_sha256 == head for one in kept):
        say("0  the head's own operating point  in use")


def _calibrate(gallery: Gallery, folder: Path, seed: int, as_json: bool) -> None:
    from gallery.training.calibrate_gallery import calibrate_on, not_enrolled
    from gallery.training.cleaning import without_conflicts
    from gallery.training.dataset import strangers_in

    people, conflicts = without_conflicts(encoded(gallery, strangers_in(folder)))
    stored = gallery.encodings()
    fresh = not_enrolled(people, stored, {face.photo_sha256 for face in gallery.faces()})
    enrolled = [people.photos[i] for i in np.flatnonzero(~fresh).tolist()]
    if not as_json:
        for photo in enrolled:
            say(f"left out: {photo} is a photo that is enrolled", "yellow")
        for first, second in conflicts.two_names:
            say(f"left out: {first} and {second} are one picture under two names", "yellow")
    judge = gallery.scorer
    fitted = calibrate_on(
        judge.head, judge.point(), stored, people.take(np.flatnonzero(fresh)), seed=seed
    )
    number = gallery.keep_calibration(
        fitted.adjustment.as_json(), fitted.report, fitted.evidence.as_json()
    )
    names = {record.id: record.name for record in gallery.identities()}
    named = [(photo, names.get(i, str(i))) for photo, i in fitted.named[:_MOST_NAMED]]
    if as_json:
        emit(
            {
                "version": number,
                "enrolled_left_out": enrolled,
                "pictures_under_two_names": [list(pair) for pair in conflicts.two_names],
                "named_before": [{"photo": p, "identity": name} for p, name in named],
            }
            | fitted.report
        )
        return
    _show(fitted.report)
    if named:
        say("strangers who got a name before, the likeliest first; are they strangers?")
        for photo, name in named:
            say(f"    {photo}: {name}", "dim")
    say(f"calibration {number} is in use; `gallery calibrate --use 0` goes back", "green")


def _show(report: dict[str, Any]) -> None:
    table = Table("", "strangers named", "known found", box=None)
    for when in ("before", "after"):
        row = report[when]
        table.add_row(
            when,
            with_interval(row["strangers_named"], row["strangers_named_interval"]),
            with_interval(row["known_found"], row["known_found_interval"]),
        )
    show(table)
    who = report["strangers"]
    say(
        f"percent with 95 % intervals; {count(who['photos'], 'photo')} of"
        f" {count(who['people'], 'stranger')}, {report['identities']} identities; promised"
        f" {report['rate']:.1%}. After: cross-validated over the strangers. Known: enrolled photos,"
        " each taken out in turn."
    )
