"""`demo`: the main job on real photos, in a gallery that is thrown away afterwards."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from gallery.cli.app import JsonOption, app
from gallery.cli.output import FOUND, NONE, emit, percent, progress, say, show
from gallery.gallery import Gallery
from gallery.json_forms.to_json import decision_json, findings_json

if TYPE_CHECKING:
    from gallery.demo.folder import OwnDemo, Share
    from gallery.demo.packaged import EmbeddedDemo


@app.command()
def demo(
    photos: Annotated[
        Path | None,
        typer.Argument(metavar="[PHOTOS]", help="A folder for each person.", show_default=False),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=2, help="Take this many people.")] = None,
    seed: Annotated[int, typer.Option(help="Of which people are taken.")] = 0,
    out_folder: Annotated[
        Path, typer.Option("--out", help="Where the contact sheet is saved.")
    ] = Path("gallery-demo"),
    as_json: JsonOption = False,
) -> None:
    """Show the main job: enrol, query, deduplicate, in a gallery thrown away afterwards.

    Without a folder: on photos of Grace Hopper and Eileen Collins that installed packages carry.
    With one: people with two or more photos are enrolled with all but their last and queried with
    that; every fifth of them, and everyone with a single photo, is a stranger.

    Example: `gallery demo people/ --limit 400`
    """
    out_folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="gallery-demo-") as home,
        Gallery.open(Path(home, "home")) as gallery,
    ):
        if photos is None:
            copies = Path(home, "copies")
            copies.mkdir()
            right = _embedded(gallery, copies, out_folder, as_json)
        else:
            _own(gallery, photos, limit, seed, out_folder, as_json)
            right = True  # the figures are the answer
    raise typer.Exit(FOUND if right else NONE)


def _embedded(gallery: Gallery, copies: Path, out_folder: Path, as_json: bool) -> bool:
    from gallery.demo.packaged import run_embedded_demo, tiles
    from gallery.demo.sheet import draw_sheet

    with progress("asking") as advance:
        shown = run_embedded_demo(gallery, copies, advance)
    sheet = out_folder / "contact-sheet.png"
    draw_sheet(
        tiles(shown), "What was asked, and what was answered", sheet, gallery.pipeline.reader
    )
    if as_json:
        emit(_embedded_json(shown, sheet))
        return shown.right
    table = Table("asked", "is", "answered", "sure", "ms", "why", box=None, header_style="bold")
    for asked in shown.asked:
        style = "green" if asked.right else "bold red"
        table.add_row(
            escape(asked.photo),
            escape(asked.truth),
            f"[{style}]{escape(asked.answered)}[/]",
            percent(asked.decision.probability) if asked.decision.identity else "",
            f"{1000 * asked.seconds:.0f}",
            escape(_short(asked.decision.reason)),
        )
    show(table)
    report = shown.duplicates
    say(f"\nDuplicates in a folder of {report.photos} photos:", "bold")
    for group in report.copies:
        say(f"  {len(group.photos)} copies of one photo, such as {Path(group.photos[0]).name}")
    for person in report.people:
        say(f"  {len(person.faces)} faces of one person ({percent(person.probability)})")
    _steps(shown.seconds)
    say(f"\nContact sheet: {sheet}")
    if shown.right:
        say("Everything was answered as it should be.", "bold green")
    else:
        say("Not everything was answered as it should be.", "bold red")
    return shown.right


def _short(reason: str) -> str:
    """Without the enrolled photo, which fills a table."""
    return reason.partition(", by ")[0]


def _embedded_json(shown: EmbeddedDemo, sheet: Path) -> dict[str, Any]:
    return {
        "asked": [
            {"truth": a.truth, "right": a.right, "seconds": round(a.seconds, 4)}
            | decision_json(a.photo, a.decision)
            for a in shown.asked
        ],
        "duplicates": findings_json(shown.duplicates),
        "seconds": {step: round(took, 3) for step, took in shown.seconds.items()},
        "right": shown.right,
        "contact_sheet": str(sheet),
    }


def _own(
    gallery: Gallery, photos: Path, limit: int | None, seed: int, out_folder: Path, as_json: bool
) -> None:
    from gallery.demo.folder import mistake_tiles, run_own_demo
    from gallery.demo.sheet import draw_sheet

    with progress("enrolling and asking") as advance:
        shown = run_own_demo(gallery, photos, limit, seed, advance)
    tiles = mistake_tiles(shown)
    sheet = out_folder / "worst-mistakes.png"
    if tiles:
        draw_sheet(tiles, "The worst mistakes", sheet, gallery.pipeline.reader)
    figures = _figures(shown)
    if as_json:
        emit(
            {
                "folder": str(photos),
                "part": shown.folder.part,
                "seed": seed,
                "people": len(shown.folder.people),
                "enrolled_photos": shown.enrolled_photos,
                "unusable_photos": shown.unusable_photos,
                "figures": {
                    name: {"count": share.count, "of": share.of, "share": share.value}
                    | {"interval95": share.interval}
                    for name, share in figures.items()
                },
                "seconds": {step: round(took, 2) for step, took in shown.seconds.items()},
                "worst_mistakes": str(sheet) if tiles else None,
            }
        )
        return
    part = f" (only those its split.csv calls {shown.folder.part})" if shown.folder.part else ""
    say(
        f"{len(shown.folder.people)} people of {photos}{part}, seed {seed}:"
        f" {shown.enrolled_photos} photos enrolled, {len(shown.asked)} queries",
        "bold",
    )
    table = Table("", "share", "95 % interval", "queries", box=None, header_style="bold")
    for name, share in figures.items():
        low, high = share.interval
        table.add_row(
            name, f"{share.value:.1%}", f"{low:.1%} to {high:.1%}", f"{share.count} of {share.of}"
        )
    show(table)
    if shown.unusable_photos:
        say(f"{shown.unusable_photos} photos could not be enrolled")
    _steps(shown.seconds)
    if tiles:
        say(f"\nThe worst mistakes, as pictures: {sheet}")
    else:
        say("\nThere were no mistakes to show.")


def _figures(shown: OwnDemo) -> dict[str, Share]:
    return {
        "known people found": shown.share(("found",), known=True),
        "known people misnamed": shown.share(("misnamed",), known=True),
        "known people lost to ambiguity": shown.share(("ambiguous",), known=True),
        "known people not recognised": shown.share(("unknown",), known=True),
        "known people without a usable face": shown.share(("no_face", "unusable"), known=True),
        "strangers named": shown.share(("misnamed",), known=False),
        "strangers ambiguous": shown.share(("ambiguous",), known=False),
    }


def _steps(seconds: dict[str, float]) -> None:
    say("\nTime of each step:", "bold")
    for step, took in seconds.items():
        say(f"  {took:7.2f} s  {step}")
