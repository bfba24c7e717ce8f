"""`train-head`: train the pairwise head on a folder of people or on the gallery."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gallery.cli.app import ENCODER_HELP, WEIGHTS_HELP, JsonOption, app
from gallery.cli.evaluate import ErrataOption, SeedOption, steps
from gallery.cli.evaluation_tables import errata_line
from gallery.cli.left_out import say_left_out_of_people
from gallery.cli.opening import open_with_encoder
from gallery.cli.output import count, emit, percent, say

if TYPE_CHECKING:
    from gallery.training.train_head import HeadReport


@app.command("train-head")
def train_head(
    context: typer.Context,
    people_folder: Annotated[
        Path | None, typer.Argument(metavar="[PEOPLE_FOLDER]", show_default=False)
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help=f"{ENCODER_HELP} Default: the gallery's own.", show_default=False),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help=WEIGHTS_HELP, show_default=False)] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for head, card and plot; default: the gallery's home, used at once."
        ),
    ] = None,
    seed: SeedOption = 0,
    epochs: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Epochs to train; default: 15.")
    ] = None,
    all_people: Annotated[
        bool, typer.Option("--all-people", help="Use the test people of a split.csv as well.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Use at most this many people, drawn at random."),
    ] = None,
    errata: ErrataOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the head in use even by a worse one.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train the pairwise head on a folder of people, one folder per person, or on the gallery.

    The head is trained on half of the people and calibrated on the other half. With a split.csv
    (columns person and split) in the folder or beside it, only its train people are used. Writes
    head.safetensors, its model card head.json and a plot. A head in use is not replaced if it
    finds more of the held-out people. --encoder trains a head for another encoder; if that gives
    more than 128 numbers, also its projection to 128. A projection that is already in the home is
    kept, so that heads can be compared, unless you give --force and nothing is enrolled with it.

    Examples: `gallery train-head people/ --out my-head/`,
    `gallery train-head --encoder onnx:model.onnx people/`
    """
    from gallery.factory import build_pipeline
    from gallery.training.train_head import train_head

    gallery, spec = open_with_encoder(context, encoder, weights)
    with gallery, steps("training") as advance:
        spec = spec or gallery.spec
        report = train_head(
            gallery,
            people_folder,
            pipeline=build_pipeline(gallery.settings, spec, native=True),
            out=out,
            seed=seed,
            epochs=epochs,
            all_people=all_people,
            limit=limit,
            errata=errata or (),
            force=force,
            progress=advance,
        )
    if as_json:
        emit({"files": [str(file) for file in report.files], "card": report.card})
    else:
        _show(report)
    if people_folder is not None:
        say_left_out_of_people(people_folder, as_json=as_json)


def _show(report: HeadReport) -> None:
    duplicates, figures, encoder = report.duplicates, report.figures, report.card["encoder"]
    if "errata" in report.card["source"]:
        say(errata_line(report.card["source"]["errata"]), "yellow")
    for first, second in duplicates.across_people:
        say(f"left out: {first} and {second} are the same picture under two names", "yellow")
    if duplicates.within_person:
        say(
            f"left out: {count(len(duplicates.within_person), 'copy', 'copies')} of photos",
            "yellow",
        )
    if "projection" in encoder:
        say(_projection_line(encoder["projection"], encoder["dimension"]))
    say(
        f"ROC AUC on hard pairs of held-out people: {figures.hard_pairs_auc:.4f};"
        f" Euclidean distance: {figures.distance_auc:.4f}"
    )
    say(
        f"in galleries of {figures.gallery} of them: {percent(figures.known_found)} of known people"
        f" are found at an FPIR of {figures.rate:.1%}"
    )
    for file in report.files:
        say(f"wrote {file}", "green")


def _projection_line(projection: dict[str, Any], dimension: int) -> str:
    if "kept" in projection:
        return f"the projection from {dimension} numbers to 128 is kept, so encodings stay valid"
    shares = ", ".join(
        f"{kind} {percent(share)}"
        for kind, share in projection["known_found_by_cosine_at_fpir_0.01"].items()
    )
    return (
        f"projection from {dimension} numbers to 128: {projection['kind']}; known people found by"
        f" cosine at an FPIR of 1 %, on people held out: {shares}"
    )
