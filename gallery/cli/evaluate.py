"""`evaluate`: measure the head and its alternatives on labelled photos."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gallery.cli.app import Commands, JsonOption, app
from gallery.cli.evaluation_tables import (
    show_blufr,
    show_both_ways,
    show_comparison,
    show_folder,
    show_grouping,
    show_made_groups,
    show_pairs,
    show_promise,
)
from gallery.cli.left_out import say_left_out_of_people
from gallery.cli.opening import open_gallery
from gallery.cli.output import emit, progress, say

if TYPE_CHECKING:
    from gallery.progress import StepProgress

LfwOption = Annotated[
    Path, typer.Option(help="LFW's folder, one folder per person.", show_default=False)
]
SeedOption = Annotated[int, typer.Option(help="Random seed.")]
SaveOption = Annotated[Path | None, typer.Option(help="Also write the report to this JSON file.")]
PeopleArgument = Annotated[Path, typer.Argument(metavar="PEOPLE_FOLDER", show_default=False)]
ErrataOption = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="CSV of known mistakes in the labels (columns kind, photo_or_name_a,"
        " photo_or_name_b); may be repeated.",
        show_default=False,
    ),
]
GroupsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="CSV with the group of each person (columns person, group): measure each group too.",
        show_default=False,
    ),
]


class GroupBy(StrEnum):
    """What `evaluate groups` goes by."""

    CLUSTERS = "clusters"
    CONDITIONS = "conditions"


evaluate = Commands(no_args_is_help=True, help="Measure accuracy on labelled photos.")
app.add_typer(evaluate, name="evaluate")


@contextmanager
def steps(description: str) -> Iterator[StepProgress]:
    """A progress bar for a workflow of several steps."""
    with progress(description) as advance:
        yield lambda step, done, total: advance(done, total, step)


@evaluate.command("blufr")
def blufr(
    context: typer.Context,
    lfw: LfwOption,
    protocol: Annotated[Path, typer.Option(help="blufr_lfw_config.mat.", show_default=False)],
    trials: Annotated[
        int, typer.Option(min=1, max=10, help="How many of the ten trials to run.")
    ] = 10,
    errata: ErrataOption = None,
    seed: SeedOption = 0,
    save: SaveOption = None,
    as_json: JsonOption = False,
) -> None:
    """BLUFR: open-set identification and verification on LFW.

    A new head is trained on each trial's own 1,500 people.

    Example: `gallery evaluate blufr --lfw lfw/ --protocol blufr_lfw_config.mat`
    """
    from gallery.evaluation.evaluate import evaluate_blufr

    with open_gallery(context) as gallery, steps("BLUFR") as advance:
        report = evaluate_blufr(
            gallery,
            lfw,
            protocol,
            trials=trials,
            errata=errata or (),
            seed=seed,
            progress=advance,
        )
    _output(report, lfw, save, as_json, show_blufr)


@evaluate.command("pairs")
def pairs(
    context: typer.Context,
    lfw: LfwOption,
    pairs: Annotated[Path, typer.Option(help="View 2's pairs.txt.", show_default=False)],
    seed: SeedOption = 0,
    save: SaveOption = None,
    as_json: JsonOption = False,
) -> None:
    """LFW's View 2: verification of 6,000 pairs of photos, in ten folds.

    For each fold a new head is trained on the people who are not in the fold.

    Example: `gallery evaluate pairs --lfw lfw/ --pairs pairs.txt`
    """
    from gallery.evaluation.evaluate import evaluate_pairs

    with open_gallery(context) as gallery, steps("View 2") as advance:
        report = evaluate_pairs(gallery, lfw, pairs, seed=seed, progress=advance)
    _output(report, lfw, save, as_json, show_pairs)


@evaluate.command("promise")
def promise(
    context: typer.Context,
    people_folder: PeopleArgument,
    photos: Annotated[int, typer.Option(min=1, help="Photos enrolled per person, at most.")] = 1,
    all_people: Annotated[
        bool, typer.Option("--all-people", help="Use the train people of a split.csv as well.")
    ] = False,
    errata: ErrataOption = None,
    groups: GroupsOption = None,
    seed: SeedOption = 0,
    save: SaveOption = None,
    as_json: JsonOption = False,
) -> None:
    """The promised FPIR, measured: how many strangers the head in use matches to an identity.

    Also how many known people it finds. Random galleries are drawn from a folder of people, one
    folder per person; with a split.csv, from its test people.

    Example: `gallery evaluate promise people/`
    """
    from gallery.evaluation.evaluate import evaluate_promise

    with open_gallery(context) as gallery, steps("promise") as advance:
        report = evaluate_promise(
            gallery,
            people_folder,
            photos=photos,
            all_people=all_people,
            errata=errata or (),
            groups=groups,
            seed=seed,
            progress=advance,
        )
    _output(report, people_folder, save, as_json, show_promise)


@evaluate.command("compare")
def compare(
    context: typer.Context,
    lfw: LfwOption,
    plots: Annotated[Path | None, typer.Option(help="Folder for five plots.")] = None,
    errata: ErrataOption = None,
    seed: SeedOption = 0,
    save: SaveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Five deciders, fitted on a split.csv's train people and measured on its test people.

    Example: `gallery evaluate compare --lfw lfw/ --plots plots/`
    """
    from gallery.evaluation.evaluate import evaluate_compare

    with open_gallery(context) as gallery, steps("comparison") as advance:
        comparison = evaluate_compare(
            gallery, lfw, plots=plots, errata=errata or (), seed=seed, progress=advance
        )
    _output(comparison.report, lfw, save, as_json, show_comparison)
    if not as_json:
        for file in comparison.plots:
            say(f"wrote {file}", "green")


@evaluate.command("folder")
def folder(
    context: typer.Context,
    people_folder: PeopleArgument,
    page: Annotated[Path, typer.Option(help="Where to write the page.")] = Path("folder.html"),
    groups: GroupsOption = None,
    seed: SeedOption = 0,
    save: SaveOption = None,
    as_json: JsonOption = False,
) -> None:
    """How accurate the head in use is on your own people, and which photos may be mislabelled.

    Takes one folder per person. Writes one HTML page with the figures, the curves, and the worst
    mistakes side by side. The page contains faces.

    Example: `gallery evaluate folder people/ --page people.html`
    """
    from gallery.evaluation.evaluate import evaluate_folder

    with open_gallery(context) as gallery, steps("folder") as advance:
        report = evaluate_folder(
            gallery, people_folder, page, groups=groups, seed=seed, progress=advance
        )
    _output(report, people_folder, save, as_json, show_folder)
    if not as_json:
        say(f"wrote {page}", "green")


@evaluate.command("groups")
def groups(
    context: typer.Context,
    people_folder: PeopleArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT_CSV", show_default=False)],
    by: Annotated[
        GroupBy,
        typer.Option(
            metavar="WAY",
            help="clusters: similar encodings; conditions: most photos grey, or dark to bright.",
        ),
    ] = GroupBy.CLUSTERS,
    clusters: Annotated[int, typer.Option(min=2, max=100, help="How many clusters.")] = 4,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Make a file for --groups, without guessing who anybody is.

    Takes one folder per person; each person gets one group. A cluster means no more than that the
    encodings are similar. You may also write such a file yourself.

    Example: `gallery evaluate groups people/ groups.csv --by conditions`
    """
    from gallery.evaluation.evaluate import make_groups

    with open_gallery(context) as gallery, steps("groups") as advance:
        report = make_groups(
            gallery,
            people_folder,
            out,
            clusters=clusters if by is GroupBy.CLUSTERS else None,
            seed=seed,
            progress=advance,
        )
    _output(report, people_folder, None, as_json, show_made_groups)


@evaluate.command("dedupe")
def dedupe(
    context: typer.Context,
    people_folder: PeopleArgument,
    precision: Annotated[
        float, typer.Option(help="The wanted share of right pairs, as for `dedupe`.")
    ] = 0.99,
    peers: Annotated[
        bool, typer.Option("--peers", help="Measure other methods too, at their best settings.")
    ] = False,
    fit: Annotated[
        Path | None,
        typer.Option(
            help="First measure the operating point on a split.csv's train people, and write it"
            " to this JSON file."
        ),
    ] = None,
    distractors: Annotated[
        bool,
        typer.Option(
            "--distractors/--no-distractors",
            help="With a split.csv: measure again among one face of each train person.",
        ),
    ] = True,
    swap: Annotated[
        bool,
        typer.Option(
            "--swap",
            help="Then swap the parts: fit a head and an operating point on the test people, and"
            " measure on the train people.",
        ),
    ] = False,
    errata: ErrataOption = None,
    seed: SeedOption = 0,
    save: SaveOption = None,
    as_json: JsonOption = False,
) -> None:
    """How well faces are grouped into people: pairwise and BCubed precision, recall and F.

    Of each photo only the most central face is used. With a split.csv its test people are
    measured, and measured again with faces of the train people as distractors.

    Example: `gallery evaluate dedupe people/ --peers`
    """
    from gallery.evaluation.evaluate import evaluate_dedupe, fit_grouping_marks

    with open_gallery(context) as gallery, steps("dedupe") as advance:
        marks, marks_with_errata = None, None
        if fit is not None:
            marks = fit_grouping_marks(gallery, people_folder, seed=seed, progress=advance)
            fitted = marks.as_json()
            if errata:
                marks_with_errata = fit_grouping_marks(
                    gallery, people_folder, errata=errata, seed=seed, progress=advance
                )
                fitted |= {"with_errata": marks_with_errata.as_json()}
            head_sha256 = gallery.scorer.head.sha256
            _save(fitted | {"head_sha256": head_sha256, "part": "train", "seed": seed}, fit)
        report = evaluate_dedupe(
            gallery,
            people_folder,
            precision=precision,
            peers=peers,
            marks=marks,
            distractors=distractors,
            swap=swap,
            errata=errata or (),
            marks_with_errata=marks_with_errata,
            seed=seed,
            progress=advance,
        )
    _output(report, people_folder, save, as_json, show_grouping)


def _output(
    report: dict[str, Any],
    folder: Path,
    file: Path | None,
    as_json: bool,
    show_report: Callable[[dict[str, Any]], None],
) -> None:
    """Save the report on a folder of people if a file is given; print it as JSON or as a table."""
    if file is not None:
        _save(report, file)
    if as_json:
        emit(report)
    else:
        show_both_ways(report, show_report)
    say_left_out_of_people(folder, as_json=as_json)


def _save(report: dict[str, Any], file: Path) -> None:
    """Write JSON atomically. Raises OSError."""
    from indexer.whole_file import atomic_write

    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as target:
        target.write((json.dumps(report, indent=2) + "\n").encode())
