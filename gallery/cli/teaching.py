"""`train-head`: learn the decision from a folder of people."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from gallery.cli.app import JsonOption, app, open_gallery
from gallery.cli.evaluating import encoded
from gallery.cli.output import count, emit, percent, progress, say


@app.command("train-head")
def train_head(
    context: typer.Context,
    people_folder: Annotated[
        Path | None, typer.Argument(metavar="[PEOPLE_FOLDER]", show_default=False)
    ] = None,
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
    force: Annotated[
        bool, typer.Option("--force", help="Replace the head in use even by a worse one.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train the pairwise head on a folder of people, one folder a person, or on the gallery.

    Half of the people are learned from, the head is calibrated on the other half. When the folder
    has a split.csv (columns person and split) in it or beside it, only its train people are used.
    Writes head.safetensors, its model card head.json and a plot. A head in use that finds more of
    the people it is measured on is not replaced.

    Example: `gallery train-head people/ --out my-head/`
    """
    from gallery.errors import HeadWorse
    from gallery.learning.calibration import train_head
    from gallery.learning.conflicts import without_conflicts
    from gallery.learning.encoded import enrolled_people
    from gallery.learning.identification import found_share, hard_pairs_auc
    from gallery.learning.people import people_in
    from gallery.learning.report import model_card, source_of, write_report
    from gallery.learning.training import Recipe

    with open_gallery(context) as gallery:
        settings, eye = gallery.settings, gallery.eye
        source: dict[str, Any]
        if people_folder is None:
            stored = gallery.encodings()
            everyone = enrolled_people(stored, gallery.faces())
            source = {
                "folder": "",
                "people": len(everyone.names),
                "photos": len(everyone),
                "newest_face_id": int(stored.face_ids.max(initial=0)),
            }
        else:
            folder = people_in(people_folder, None if all_people else "train")
            everyone, source = encoded(gallery, folder), source_of(folder)
        people, conflicts = without_conflicts(everyone)
        recipe = Recipe(seed=seed)
        recipe = recipe if epochs is None else replace(recipe, epochs=epochs)
        with progress("training") as advance:
            encoder = eye.encoder.name, eye.encoder.weights_sha256
            trained = train_head(people, recipe, encoder, advance)
        rate = settings.false_positive_identification_rate
        measured = partial(found_share, people=trained.held_out, rate=rate, seed=seed)
        new = measured(trained.head)
        figures: dict[str, float] = {
            "galleries_of": len(set(trained.held_out.people.tolist())) // 2
        }
        figures |= {f"found_at_fpir_{rate:g}": round(new, 4)}
        head_auc, distance_auc = hard_pairs_auc(trained.head, trained.held_out, seed=seed)
        figures |= {
            "hard_pairs_roc_auc": round(head_auc, 4),
            "hard_pairs_roc_auc_of_a_distance": round(distance_auc, 4),
        }
        if out is None:
            old = measured(gallery.judge.head)
            if old > new and not force:
                raise HeadWorse(
                    f"the new head finds {new:.1%} of known people held out, the one in use"
                    f" {old:.1%}; train on more people, write it elsewhere with --out, or replace"
                    " it with --force"
                )
        card = model_card(source, everyone, conflicts, trained, recipe, figures)
        files = write_report(
            out if out is not None else settings.home, trained.head, card, trained.history
        )
    if as_json:
        emit({"files": [str(f) for f in files], "card": card})
        return
    for first, second in conflicts.two_names:
        say(f"left out: {first} and {second} are one picture under two names", "yellow")
    if conflicts.copies:
        say(f"left out: {count(len(conflicts.copies), 'copy', 'copies')} of photos", "yellow")
    say(
        f"area under the ROC curve, hard pairs of people held out: {head_auc:.4f}; of a distance"
        f" {distance_auc:.4f}"
    )
    say(
        f"in galleries of {figures['galleries_of']} of them: {percent(new)} of the known are found"
        f" while {rate:.1%} of strangers get a name"
    )
    for file in files:
        say(f"wrote {file}", "green")
