"""`demo`: enrol, query and deduplicate real photos in a temporary gallery."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from gallery.cli.app import JsonOption, app
from gallery.cli.exit_status import FOUND, NONE
from gallery.cli.left_out import say_left_out_of_people
from gallery.cli.opening import advise_on_encoder
from gallery.cli.output import certainty, count, emit, progress, say, show
from gallery.gallery import Gallery
from gallery.json_forms.to_json import decision_json, findings_json

if TYPE_CHECKING:
    from gallery.demo.folder import FolderDemoResult, Share
    from gallery.demo.packaged import PackagedDemoResult


@app.command()
def demo(
    photos: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PHOTOS]", help="A folder with one subfolder per person.", show_default=False
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=2, help="Use this many people.")] = None,
    seed: Annotated[int, typer.Option(help="Random seed for choosing the people.")] = 0,
    out_folder: Annotated[Path, typer.Option("--out", help="Folder for the contact sheet.")] = Path(
        "gallery-demo"
    ),
    as_json: JsonOption = False,
) -> None:
    """Enrol, query and deduplicate real photos in a temporary gallery.

    Without PHOTOS: photos of Grace Hopper and Eileen Collins from installed packages. With PHOTOS:
    people with two or more photos are enrolled from all but the last, which is the query. Every
    fifth of them, and everyone with a single photo, is queried as a stranger.

    Example: `gallery demo people/ --limit 400`
    """
    out_folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="gallery-demo-") as home,
        Gallery.open(Path(home, "home")) as gallery,
    ):
        advise_on_encoder(gallery)
        if photos is None:
            copies = Path(home, "copies")
            copies.mkdir()
            passed = _packaged(gallery, copies, out_folder, as_json)
        else:
            _own(gallery, photos, limit, seed, out_folder, as_json)
            say_left_out_of_people(photos, as_json=as_json)
            passed = True  # it reports rates; none of them is a failure
    raise typer.Exit(FOUND if passed else NONE)


def _packaged(gallery: Gallery, copies: Path, out_folder: Path, as_json: bool) -> bool:
    from gallery.demo.packaged import run_packaged_demo, tiles
    from gallery.demo.sheet import draw_sheet

    with progress("querying") as advance:
        report = run_packaged_demo(gallery, copies, advance)
    sheet = out_folder / "contact-sheet.png"
    draw_sheet(tiles(report), "Queries and answers", sheet, gallery.pipeline.reader)
    if as_json:
        emit(_packaged_json(report, sheet))
        return report.right
    columns = ("query", "truth", "answer", "probability", "ms", "reason")
    table = Table(*columns, box=None, header_style="bold")
    for query in report.queries:
        style = "green" if query.right else "bold red"
        table.add_row(
            escape(query.photo),
            escape(query.truth),
            f"[{style}]{escape(query.answered)}[/]",
            certainty(query.decision.probability) if query.decision.identity else "",
            f"{1000 * query.seconds:.0f}",
            escape(_short(query.decision.reason)),
        )
    show(table)
    duplicates = report.duplicates
    say(f"\nDuplicates in a folder of {duplicates.photos} photos:", "bold")
    for group in duplicates.copies:
        say(f"  {len(group.photos)} copies of one photo, such as {Path(group.photos[0]).name}")
    for person in duplicates.people:
        say(f"  {count(len(person.faces), 'face')} of one person ({certainty(person.probability)})")
    _show_times(report.seconds)
    say(f"\nContact sheet: {sheet}")
    if report.right:
        say("Every answer is right.", "bold green")
    else:
        say("Some answers are wrong.", "bold red")
    return report.right


def _short(reason: str) -> str:
    """The reason without the enrolled photo, whose path would fill the table."""
    return reason.partition(", by ")[0]


def _packaged_json(report: PackagedDemoResult, sheet: Path) -> dict[str, Any]:
    return {
        "asked": [
            {"truth": query.truth, "right": query.right, "seconds": round(query.seconds, 4)}
            | decision_json(query.photo, query.decision)
            for query in report.queries
        ],
        "duplicates": findings_json(report.duplicates),
        "seconds": {step: round(seconds, 3) for step, seconds in report.seconds.items()},
        "right": report.right,
        "contact_sheet": str(sheet),
    }


def _own(
    gallery: Gallery, photos: Path, limit: int | None, seed: int, out_folder: Path, as_json: bool
) -> None:
    from gallery.demo.folder import mistake_tiles, run_folder_demo
    from gallery.demo.sheet import draw_sheet

    with progress("enrolling and querying") as advance:
        report = run_folder_demo(gallery, photos, limit, seed, advance)
    tiles = mistake_tiles(report)
    sheet = out_folder / "worst-mistakes.png"
    if tiles:
        draw_sheet(tiles, "The worst mistakes", sheet, gallery.pipeline.reader)
    rates = _rates(report)
    if as_json:
        emit(
            {
                "folder": str(photos),
                "part": report.folder.part,
                "seed": seed,
                "people": len(report.folder.people),
                "enrolled_photos": report.enrolled_photos,
                "unusable_photos": report.unusable_photos,
                "figures": {
                    name: {"count": share.count, "of": share.of, "share": share.value}
                    | {"interval95": share.interval}
                    for name, share in rates.items()
                },
                "seconds": {step: round(seconds, 2) for step, seconds in report.seconds.items()},
                "worst_mistakes": str(sheet) if tiles else None,
            }
        )
        return
    part = f" (only its split.csv's {report.folder.part} people)" if report.folder.part else ""
    say(
        f"{len(report.folder.people)} people of {photos}{part}, seed {seed}:"
        f" {report.enrolled_photos} photos enrolled, {len(report.queries)} queries",
        "bold",
    )
    table = Table("", "share", "95 % interval", "queries", box=None, header_style="bold")
    for name, share in rates.items():
        low, high = share.interval
        table.add_row(
            name, f"{share.value:.1%}", f"{low:.1%} to {high:.1%}", f"{share.count} of {share.of}"
        )
    show(table)
    if report.unusable_photos:
        say(f"{count(report.unusable_photos, 'photo')} could not be enrolled")
    _show_times(report.seconds)
    if tiles:
        say(f"\nThe worst mistakes: {sheet}")
    else:
        say("\nThere were no mistakes.")


def _rates(report: FolderDemoResult) -> dict[str, Share]:
    return {
        "known people found": report.share(("found",), known=True),
        "known people misnamed": report.share(("misnamed",), known=True),
        "known people lost to ambiguity": report.share(("ambiguous",), known=True),
        "known people not recognised": report.share(("unknown",), known=True),
        "known people without a usable face": report.share(("no_face", "unusable"), known=True),
        "strangers named": report.share(("misnamed",), known=False),
        "strangers ambiguous": report.share(("ambiguous",), known=False),
    }


def _show_times(seconds: dict[str, float]) -> None:
    say("\nTime per step:", "bold")
    for step, duration in seconds.items():
        say(f"  {duration:7.2f} s  {step}")
