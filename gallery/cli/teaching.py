"""`train-head`: learn the decision from a folder of people."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from gallery.cli.app import JsonOption, app, open_gallery
from gallery.cli.output import emit, percent, progress, say


@app.command("train-head")
def train_head(
    context: typer.Context,
    people_folder: Annotated[Path, typer.Argument(metavar="PEOPLE_FOLDER", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for head, card and plot; default: the gallery's home, used at once."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    epochs: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Passes over the pairs, instead of 15.")
    ] = None,
    all_people: Annotated[
        bool, typer.Option("--all-people", help="Learn from a split.csv's test people as well.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train the pairwise head on a folder of people, one folder a person.

    When the folder has a split.csv (columns person and split) in it or beside it, only its train
    people are learned from. Writes head.safetensors, its model card head.json and a plot.

    Example: `gallery train-head people/ --out my-head/`
    """
    from gallery.head import Head, HeadMarks
    from gallery.learning.calibration import operating_curve
    from gallery.learning.encoded import encode_people
    from gallery.learning.people import people_in
    from gallery.learning.report import model_card, write_report
    from gallery.learning.training import Epoch, Recipe, divide, train

    with open_gallery(context) as gallery:
        folder = people_in(people_folder, None if all_people else "train")
        settings, eye = gallery.settings, gallery.eye
        with progress("encoding") as advance:
            people = encode_people(
                folder,
                eye,
                settings.views_query,
                settings.cache,
                lambda done: advance(done, folder.photos),
            )
        recipe = Recipe(seed=seed)
        recipe = recipe if epochs is None else replace(recipe, epochs=epochs)
        halves = divide(people, seed)
        with progress("training") as advance:

            def on_epoch(epoch: Epoch) -> None:
                advance(epoch.number, recipe.epochs)
                if not as_json:
                    say(
                        f"epoch {epoch.number:>2}: training loss {epoch.training_loss:.4f},"
                        f" accuracy {percent(epoch.training_accuracy)}; held out:"
                        f" loss {epoch.validation_loss:.4f},"
                        f" head {percent(epoch.validation_accuracy)},"
                        f" distance < {epoch.distance_threshold:.3f}"
                        f" {percent(epoch.distance_accuracy)}"
                    )

            network, history = train(halves, recipe, on_epoch)
        curve = operating_curve(network, halves.held_out)
        marks = HeadMarks(
            eye.encoder.name,
            eye.encoder.weights_sha256,
            recipe.features,
            recipe.hidden,
            curve,
        )
        head = Head(network, marks)
        card = model_card(folder, people, halves, recipe, history, head)
        files = write_report(out if out is not None else settings.home, head, card, history)
    if as_json:
        emit({"files": [str(f) for f in files], "card": card})
    else:
        for file in files:
            say(f"wrote {file}", "green")
