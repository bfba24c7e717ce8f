"""`evaluate`: measure the deciders on photos whose people are known."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from gallery.cli.app import JsonOption, app, open_gallery
from gallery.cli.output import count, emit, percent, progress, say, show
from gallery.errors import SettingInvalid

if TYPE_CHECKING:
    from gallery.gallery import Gallery
    from gallery.training.dataset import PeopleFolder
    from gallery.training.encode import EncodedPeople
    from gallery.vision.pipeline import FacePipeline

_MOST_WORKERS = 4
LfwOption = Annotated[Path, typer.Option(help="The folder of LFW's people.", show_default=False)]
SeedOption = Annotated[int, typer.Option(help="Of everything random.")]
SaveOption = Annotated[
    Path | None, typer.Option(help="Write the figures to this JSON file as well.")
]

evaluate = typer.Typer(no_args_is_help=True, help="Measure the deciders on labelled photos.")
app.add_typer(evaluate, name="evaluate")


@evaluate.command("blufr")
def blufr(
    context: typer.Context,
    lfw: LfwOption,
    protocol: Annotated[Path, typer.Option(help="blufr_lfw_config.mat.", show_default=False)],
    trials: Annotated[int, typer.Option(min=1, max=10, help="How many of the ten.")] = 10,
    seed: SeedOption = 0,
    save: SaveOption = None,
    as_json: JsonOption = False,
) -> None:
    """BLUFR: open-set identification and verification on LFW.

    The head is trained anew on each trial's own 1,500 people.

    Example: `gallery evaluate blufr --lfw lfw/ --protocol blufr_lfw_config.mat`
    """
    from gallery.evaluation.benchmarks import run_blufr
    from gallery.evaluation.protocols import places, read_blufr
    from gallery.training.dataset import people_in
    from gallery.training.train import Recipe

    listed = read_blufr(protocol)
    with open_gallery(context) as gallery:
        folder = people_in(lfw)
        people = encoded(gallery, folder)
        rows = places(people, lfw, listed.photos)
        with progress("trials") as advance:
            found = run_blufr(people, rows, listed, trials, Recipe(seed=seed), advance)
        found["encoder"] = gallery.pipeline.encoder.name
    keep(found, save)
    if as_json:
        emit(found)
        return
    table = Table("decider", *(f"{k} {x}" for k, x in _BLUFR_COLUMNS), box=None)
    for name, figures in found["deciders"].items():
        cells = []
        for key, at in _BLUFR_COLUMNS:
            figure = figures[key][at] if at else figures[key]
            mean, std = 100 * figure["mean"], 100 * figure["std"]
            cells.append(f"{mean:.2f} ± {std:.2f} ({mean - std:.2f})")
        table.add_row(name, *cells)
    show(table)
    say(f"percent: mean ± standard deviation (mean - deviation) of {found['trials']} trials")


_BLUFR_COLUMNS = (
    ("dir_at_fpir", "0.1"),
    ("dir_at_fpir", "0.01"),
    ("dir_at_fpir", "0.001"),
    ("vr_at_far", "0.001"),
    ("rank1", ""),
)


@evaluate.command("pairs")
def pairs(
    context: typer.Context,
    lfw: LfwOption,
    pairs: Annotated[Path, typer.Option(help="View 2's pairs.txt.", show_default=False)],
    seed: SeedOption = 0,
    save: SaveOption = None,
    as_json: JsonOption = False,
) -> None:
    """View 2: is each of 6,000 pairs of LFW's photos one person?

    For each of the ten folds the head is trained on people whom the fold does not name.

    Example: `gallery evaluate pairs --lfw lfw/ --pairs pairs.txt`
    """
    from gallery.evaluation.benchmarks import run_pairs
    from gallery.evaluation.protocols import places, read_pairs
    from gallery.training.dataset import people_in
    from gallery.training.train import Recipe

    listed = read_pairs(pairs)
    with open_gallery(context) as gallery:
        people = encoded(gallery, people_in(lfw))
        first, second = (places(people, lfw, side) for side in (listed.first, listed.second))
        with progress("folds") as advance:
            found = run_pairs(people, first, second, listed, Recipe(seed=seed), advance)
        found["encoder"] = gallery.pipeline.encoder.name
    keep(found, save)
    if as_json:
        emit(found)
        return
    table = Table("decider", "accuracy", "AUC", "TAR at FAR 0.1 %", box=None)
    for name, figures in found["deciders"].items():
        mean, std = figures["accuracy"]["mean"], figures["accuracy"]["std"]
        table.add_row(
            name,
            f"{100 * mean:.2f} ± {100 * std:.2f}",
            f"{figures['auc']:.5f}",
            f"{100 * figures['tar_at_far']['0.001']:.2f}",
        )
    show(table)
    say(f"{found['pairs_without_a_face']} pairs with a photo without a face count as different")


@evaluate.command("promise")
def promise(
    context: typer.Context,
    people_folder: Annotated[Path, typer.Argument(metavar="PEOPLE_FOLDER", show_default=False)],
    photos: Annotated[int, typer.Option(min=1, help="Photos enrolled of each, at most.")] = 1,
    all_people: Annotated[
        bool, typer.Option("--all-people", help="Ask about a split.csv's train people as well.")
    ] = False,
    seed: SeedOption = 0,
    save: SaveOption = None,
    as_json: JsonOption = False,
) -> None:
    """How many strangers get a name, and how many of the known are found, with the head in use.

    Random galleries out of a folder of people, one folder a person. When it has a split.csv, its
    test people are taken.

    Example: `gallery evaluate promise people/`
    """
    from gallery.evaluation.fpir import measure_promise
    from gallery.training.cleaning import without_conflicts
    from gallery.training.dataset import people_in

    with open_gallery(context) as gallery:
        folder = people_in(people_folder, None if all_people else "test")
        people, _ = without_conflicts(encoded(gallery, folder))
        head = gallery.scorer.head
        with progress("galleries") as advance:
            found = measure_promise(head, people, seed=seed, photos=photos, progress=advance)
        found |= {"encoder": gallery.pipeline.encoder.name, "head_sha256": head.sha256}
    keep(found, save)
    if as_json:
        emit(found)
        return
    _promise_table(found)


@evaluate.command("compare")
def compare(
    context: typer.Context,
    lfw: LfwOption,
    plots: Annotated[Path | None, typer.Option(help="Folder for five plots.")] = None,
    seed: SeedOption = 0,
    save: SaveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Five deciders, made with a split.csv's train people and measured on its test people.

    Example: `gallery evaluate compare --lfw lfw/ --plots plots/`
    """
    from gallery.errors import ProtocolUnusable
    from gallery.evaluation.baselines import five, our_head
    from gallery.evaluation.comparison import compare_deciders
    from gallery.evaluation.plots import save_plots
    from gallery.training.cleaning import in_both, without_conflicts
    from gallery.training.dataset import people_in, split_file
    from gallery.training.train import Recipe

    if split_file(lfw) is None:
        raise ProtocolUnusable(
            f"{lfw} has no split.csv (columns person and split: train or test) in it or beside it"
        )
    with open_gallery(context) as gallery:
        train, test = (
            without_conflicts(encoded(gallery, people_in(lfw, part)))[0]
            for part in ("train", "test")
        )
        both = set(in_both(test, train).tolist())
        test = test.take(_others(len(test), both))
        with progress("training") as advance:
            advance(0, 1)
            deciders = five(train, our_head(train, Recipe(seed=seed)), seed)
        with progress("measuring") as advance:
            found, scored = compare_deciders(deciders, test, seed=seed, progress=advance)
        found |= {"encoder": gallery.pipeline.encoder.name, "pictures_in_both_left_out": len(both)}
    files = [] if plots is None else save_plots(scored, plots)
    keep(found, save)
    if as_json:
        emit(found)
        return
    names = list(found["deciders"])
    table = Table("", *names, box=None)
    for key in found["deciders"][names[0]]:
        if key != "said":
            cells = (found["deciders"][name][key] for name in names)
            table.add_row(key, *(with_interval(c["value"], c["interval"]) for c in cells))
    show(table)
    say(f"percent with 95 % intervals over people; a gallery of {found['gallery']:,}")
    for file in files:
        say(f"wrote {file}", "green")


@evaluate.command("folder")
def folder_report(
    context: typer.Context,
    people_folder: Annotated[Path, typer.Argument(metavar="PEOPLE_FOLDER", show_default=False)],
    page: Annotated[Path, typer.Option(help="Where to write the page.")] = Path("folder.html"),
    seed: SeedOption = 0,
    save: SaveOption = None,
    as_json: JsonOption = False,
) -> None:
    """How good the head in use is on your own people, and which photos seem mislabelled.

    A folder of people, one folder a person. Writes one HTML page with the figures, the curves, and
    the worst mistakes side by side. The page holds faces.

    Example: `gallery evaluate folder people/ --page people.html`
    """
    from gallery.evaluation.folder import measure_folder
    from gallery.evaluation.folder_report import page as page_of
    from gallery.training.cleaning import without_conflicts
    from gallery.training.dataset import people_in
    from indexer.whole_file import written_whole

    with open_gallery(context) as gallery:
        everyone = encoded(gallery, people_in(people_folder))
        people, conflicts = without_conflicts(everyone)
        head, rate = gallery.scorer.head, gallery.settings.false_positive_identification_rate
        with progress("measuring") as advance:
            figures = measure_folder(head, people, rate=rate, seed=seed, progress=advance)
        made_of = {
            "encoder": gallery.pipeline.encoder.name,
            "head_sha256": head.sha256,
            "seed": seed,
        }
        text = page_of(people_folder, figures, everyone, conflicts, made_of, gallery.pipeline, rate)
    page.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(page) as target:
        target.write(text.encode())
    found = {
        "promise": figures.promise,
        "comparison": figures.comparison,
        "mistakes": {
            kind: [asdict(one) for one in getattr(figures, kind)]
            for kind in ("someone_else", "unlike", "alike")
        },
        "counts": figures.counts,
        "pictures_under_two_names": [list(pair) for pair in conflicts.two_names],
        "copies": list(conflicts.copies),
        "page": str(page),
    } | made_of
    keep(found, save)
    if as_json:
        emit(found)
        return
    _promise_table(figures.promise)
    for kind, said in (
        ("someone_else", "match somebody else better than their own person"),
        ("unlike", "do not look like the others of their person"),
        ("alike", "show two people who match each other"),
    ):
        say(f"{count(figures.counts[kind], 'photo')} {said}")
    say(f"wrote {page}", "green")


@evaluate.command("dedupe")
def dedupe(
    context: typer.Context,
    people_folder: Annotated[Path, typer.Argument(metavar="PEOPLE_FOLDER", show_default=False)],
    precision: Annotated[
        float, typer.Option(help="The wanted share of right pairs, as `dedupe` has it.")
    ] = 0.99,
    beside: Annotated[
        bool, typer.Option("--peers", help="Other methods at their best settings, as well.")
    ] = False,
    fit: Annotated[
        Path | None,
        typer.Option(
            help="Measure the operating point on a split.csv's train people first, and"
            " write it to this JSON file."
        ),
    ] = None,
    distractors: Annotated[
        bool,
        typer.Option(
            "--distractors/--no-distractors",
            help="With a split.csv: once more among a face of each of the train people.",
        ),
    ] = True,
    swap: Annotated[
        bool,
        typer.Option(
            "--swap",
            help="Then everything the other way round: a head and an operating"
            " point of the test people, measured on the train people.",
        ),
    ] = False,
    seed: SeedOption = 0,
    save: SaveOption = None,
    as_json: JsonOption = False,
) -> None:
    """How well faces are grouped into people: pairwise and BCubed precision, recall and F.

    Of each photo the face nearest its centre counts. When there is a split.csv, its test people
    are measured, and once more among the train people's faces as distractors.

    Example: `gallery evaluate dedupe people/ --peers`
    """
    from gallery.evaluation.dedupe import fitted_marks, measure_grouping, swapped
    from gallery.training.dataset import people_in, split_file

    with open_gallery(context) as gallery:
        judge = gallery.scorer
        split = split_file(people_folder) is not None
        test = encoded(gallery, people_in(people_folder, "test"))
        wanted = split and (distractors or swap or fit is not None)
        train = encoded(gallery, people_in(people_folder, "train")) if wanted else None
        marks = None
        if fit is not None:
            if train is None:
                raise SettingInvalid(
                    f"{people_folder} has no split.csv, so that --fit has no train people"
                )
            with progress("fitting") as advance:
                marks = fitted_marks(judge.head, train, seed, advance)
            keep(
                marks.as_json() | {"head_sha256": judge.head.sha256, "part": "train", "seed": seed},
                fit,
            )
        with progress("grouping") as advance:
            found: dict[str, Any] = {
                "test": measure_grouping(
                    judge,
                    test,
                    train if distractors else None,
                    marks=marks,
                    precision=precision,
                    beside=beside,
                    seed=seed,
                    progress=advance,
                )
            }
        if swap and train is not None:
            with progress("the other way round") as advance:
                found["swapped"] = swapped(
                    gallery.database,
                    test,
                    train,
                    precision=precision,
                    beside=beside,
                    seed=seed,
                    progress=advance,
                )
        found |= {
            "precision": precision,
            "seed": seed,
            "encoder": gallery.pipeline.encoder.name,
            "head_sha256": judge.head.sha256,
        }
    keep(found, save)
    if as_json:
        emit(found)
        return
    table = Table("", "method", "precision", "recall", "F", "BCubed F", "setting", box=None)
    for part in ("test", "swapped"):
        for row in found.get(part, []):
            figures = row["figures"]
            table.add_row(
                f"{part}: {row['on']}",
                row["method"],
                *(f"{100 * figures[k]:.2f}" for k in ("precision", "recall", "f")),
                f"{100 * row.get('best_bcubed_f', figures['bcubed_f']):.2f}",
                row["setting"],
            )
    show(table)
    say("percent; the peers' settings were chosen on the answer, ours was not")


def _promise_table(found: dict[str, Any]) -> None:
    table = Table(
        "gallery",
        "promised",
        "strangers named",
        "known found",
        "cosine, hindsight",
        "0.6: strangers",
        "0.6: found",
        box=None,
    )
    for row in found["galleries"]:
        table.add_row(
            f"{row['gallery']:,}",
            f"{row['promised']:.1%}",
            with_interval(row["strangers_named"], row["strangers_named_interval"]),
            with_interval(row["known_found"], row["known_found_interval"]),
            percent(row["cosine_with_hindsight_found"]),
            percent(row["distance_0.6_strangers_named"]),
            percent(row["distance_0.6_known_found"]),
        )
    show(table)
    error = found["calibration"]
    say(
        f"the probabilities of {error['decisions']:,} decisions are off by"
        f" {error['expected_calibration_error']:.1%} on average"
    )


def encoded(
    gallery: Gallery, folder: PeopleFolder, eye: FacePipeline | None = None, *, native: bool = False
) -> EncodedPeople:
    """The folder's faces, from the cache where they are there already.

    eye : another than the gallery's.  native : see encode_people.
    """
    from gallery.encoders.registry import read_spec
    from gallery.factory import build_pipeline
    from gallery.training.encode import Views, encode_people

    settings = gallery.settings
    eye = eye or gallery.pipeline
    spec = read_spec(eye.encoder.network.traits.spec)
    alone = settings.model_copy(update={"threads": 1})  # two processes of one thread each
    with progress("encoding") as advance:
        return encode_people(
            folder,
            eye,
            Views(settings.views_query, settings.views_enrolled),
            settings.cache,
            lambda done: advance(done, folder.photos),
            workers=min(_MOST_WORKERS, os.cpu_count() or 1),
            make_eye=partial(build_pipeline, alone, spec, native=True),
            native=native,
        )


def keep(found: dict[str, Any], file: Path | None) -> None:
    """Write figures as JSON, at once or not at all. Raises OSError."""
    from indexer.whole_file import written_whole

    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(file) as target:
            target.write((json.dumps(found, indent=2) + "\n").encode())


def with_interval(value: float, interval: list[float]) -> str:
    """A share in percent, with its interval."""
    low, high = interval
    return f"{100 * value:.2f} ({100 * low:.2f}-{100 * high:.2f})"


def _others(count: int, without: set[int]) -> Any:
    import numpy as np

    return np.array([i for i in range(count) if i not in without], dtype=np.int64)
