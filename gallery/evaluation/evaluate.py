"""The workflows of `evaluate`, one function each: labelled photos in, a report out.

A report is what the command's --json prints and --save writes. Nothing changes the gallery.

With errata (see gallery.training.errata) everything is measured twice, on the same encodings: with
the labels as published, and with the errata applied to training and test people alike. The second
report is the entry "with_errata" of the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gallery.dedupe.clustering.operating_point import ClusteringCalibration
from gallery.errors import ProtocolUnusable, SettingInvalid
from gallery.evaluation.baselines import five_deciders, our_head
from gallery.evaluation.benchmarks import run_blufr, run_pairs
from gallery.evaluation.comparison import compare_deciders
from gallery.evaluation.dedupe import fitted_calibration, measure_grouping, swapped
from gallery.evaluation.folder import MISTAKES, measure_folder
from gallery.evaluation.folder_report import page as folder_page
from gallery.evaluation.fpir import measure_promise
from gallery.evaluation.groups import read_groups
from gallery.evaluation.make_groups import cluster_groups, condition_groups, write_groups
from gallery.evaluation.plots import save_plots
from gallery.evaluation.protocols import corrected_blufr, read_blufr, read_pairs, rows_of_photos
from gallery.progress import StepProgress, no_step_progress
from gallery.training.choose_recipe import choose_recipe
from gallery.training.cleaning import rows_also_in, without_duplicates
from gallery.training.dataset import people_in, split_file
from gallery.training.encode import EncodedPeople
from gallery.training.errata import Errata, corrected, read_errata
from gallery.training.workflow import (
    GalleryLike,
    encode_folder,
)
from indexer.whole_file import atomic_write


def evaluate_promise(
    gallery: GalleryLike,
    people_folder: Path,
    *,
    photos: int = 1,
    all_people: bool = False,
    errata: Sequence[Path] = (),
    groups: Path | None = None,
    seed: int = 0,
    progress: StepProgress = no_step_progress,
) -> dict[str, Any]:
    """Measure FPIR and DIR of the head in use, in random galleries of the folder's people.

    people_folder : one folder per person; with a split.csv only its test people, unless all_people.
    photos : enrolled per person, at most.
    errata : files of known mistakes in the labels.
    groups : file with each person's group; also measure each group alone, at the settings' FPIR.
    Raises ProtocolUnusable.
    """
    corrections, grouped = read_errata(errata, people_folder), read_groups(groups, people_folder)
    everyone = _encoded(gallery, people_folder, None if all_people else "test", progress)
    head = gallery.scorer.head

    def measured(applied: Errata | None) -> dict[str, Any]:
        people, _ = without_duplicates(corrected(everyone, applied))
        return measure_promise(
            head,
            people,
            seed=seed,
            photos=photos,
            groups=grouped,
            rate=gallery.settings.false_positive_identification_rate,
            progress=partial(progress, "galleries"),
        )

    report = _both_ways(corrections, measured)
    return report | {"encoder": gallery.pipeline.encoder.name, "head_sha256": head.sha256}


def evaluate_folder(
    gallery: GalleryLike,
    people_folder: Path,
    page: Path,
    *,
    groups: Path | None = None,
    seed: int = 0,
    progress: StepProgress = no_step_progress,
) -> dict[str, Any]:
    """Measure the head in use on a folder of people, and write an HTML page with the mistakes.

    groups : file with each person's group; also measure each group alone, at the settings' FPIR.
    Raises TrainingDataTooSmall, ProtocolUnusable or OSError.
    """
    grouped = read_groups(groups, people_folder)
    everyone = _encoded(gallery, people_folder, None, progress)
    people, duplicates = without_duplicates(everyone)
    head, rate = gallery.scorer.head, gallery.settings.false_positive_identification_rate
    figures = measure_folder(
        head, people, rate=rate, seed=seed, groups=grouped, progress=partial(progress, "measuring")
    )
    provenance = {
        "encoder": gallery.pipeline.encoder.name,
        "head_sha256": head.sha256,
        "seed": seed,
    }
    text = folder_page(
        people_folder, figures, everyone, duplicates, provenance, gallery.pipeline, rate
    )
    page.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(page) as target:
        target.write(text.encode())
    return {
        "promise": figures.promise,
        "comparison": figures.comparison,
        "mistakes": {kind: [asdict(m) for m in getattr(figures, kind)] for kind in MISTAKES},
        "counts": figures.counts,
        "pictures_under_two_names": [list(pair) for pair in duplicates.across_people],
        "copies": list(duplicates.within_person),
        "page": str(page),
    } | provenance


def make_groups(
    gallery: GalleryLike,
    people_folder: Path,
    file: Path,
    *,
    clusters: int | None = None,
    seed: int = 0,
    progress: StepProgress = no_step_progress,
) -> dict[str, Any]:
    """Write a file of groups: clusters of the people's encodings, or conditions of their photos.

    clusters : how many; None groups by conditions: grey, or dark to bright.
    Raises TrainingDataTooSmall or OSError.
    """
    folder = people_in(people_folder)
    if clusters is None:
        groups = condition_groups(folder, gallery.pipeline, partial(progress, "reading"))
    else:
        groups = cluster_groups(_encoded(gallery, people_folder, None, progress), clusters, seed)
    write_groups(groups, file)
    return {
        "file": str(file),
        "people": len(groups),
        "without_a_group": len(folder.people) - len(groups),
        "groups": dict(sorted(Counter(groups.values()).items())),
    }


def fit_grouping_marks(
    gallery: GalleryLike,
    people_folder: Path,
    *,
    errata: Sequence[Path] = (),
    seed: int = 0,
    progress: StepProgress = no_step_progress,
) -> ClusteringCalibration:
    """Measure the operating point of `dedupe` on the train people of the folder's split.csv.

    errata : files of known mistakes in the labels, applied to the train people.
    Raises SettingInvalid if there is no split.csv; ProtocolUnusable.
    """
    if split_file(people_folder) is None:
        raise SettingInvalid(f"{people_folder} has no split.csv, so there are no train people")
    corrections = read_errata(errata, people_folder)
    train = corrected(_encoded(gallery, people_folder, "train", progress), corrections)
    return fitted_calibration(gallery.scorer.head, train, seed, partial(progress, "fitting"))


def evaluate_dedupe(
    gallery: GalleryLike,
    people_folder: Path,
    *,
    precision: float = 0.99,
    peers: bool = False,
    marks: ClusteringCalibration | None = None,
    distractors: bool = True,
    swap: bool = False,
    errata: Sequence[Path] = (),
    marks_with_errata: ClusteringCalibration | None = None,
    seed: int = 0,
    progress: StepProgress = no_step_progress,
) -> dict[str, Any]:
    """Measure how well faces are grouped into people: pairwise and BCubed.

    With a split.csv its test people are measured.
    precision : the wanted share of right pairs.
    peers : measure other methods too, each at its best setting.
    marks : operating point, see fit_grouping_marks; None is the shipped one.
    distractors : with a split.csv, measure again among one face of each train person.
    swap : with a split.csv, also fit on the test people and measure on the train people.
    errata : files of known mistakes in the labels.
    marks_with_errata : the operating point where these are applied.
    Raises ProtocolUnusable.
    """
    corrections = read_errata(errata, people_folder)
    test = _encoded(gallery, people_folder, "test", progress)
    train = None
    if split_file(people_folder) is not None and (distractors or swap):
        train = _encoded(gallery, people_folder, "train", progress)

    def measured(applied: Errata | None) -> dict[str, Any]:
        tested = corrected(test, applied)
        others = None if train is None else corrected(train, applied)
        report: dict[str, Any] = {
            "test": measure_grouping(
                gallery.scorer,
                tested,
                others if distractors else None,
                calibration=marks if applied is None else marks_with_errata,
                precision=precision,
                with_peers=peers,
                seed=seed,
                progress=partial(progress, "grouping"),
            )
        }
        if swap and others is not None:
            report["swapped"] = swapped(
                gallery.database,
                tested,
                others,
                precision=precision,
                with_peers=peers,
                seed=seed,
                progress=partial(progress, "swapped"),
            )
        return report

    return _both_ways(corrections, measured) | {
        "precision": precision,
        "seed": seed,
        "encoder": gallery.pipeline.encoder.name,
        "head_sha256": gallery.scorer.head.sha256,
    }


@dataclass(frozen=True)
class DeciderComparison:
    """report : the figures.  plots : the files written."""

    report: dict[str, Any]
    plots: tuple[Path, ...]


def evaluate_compare(
    gallery: GalleryLike,
    lfw: Path,
    *,
    plots: Path | None = None,
    errata: Sequence[Path] = (),
    seed: int = 0,
    progress: StepProgress = no_step_progress,
) -> DeciderComparison:
    """Fit five deciders on the train people of the folder's split.csv, measure them on its test
    people, and draw five plots into the folder `plots`.

    errata : files of known mistakes in the labels; applied to the train people too. The plots with
        errata are in the folder "with_errata" in `plots`.
    Raises ProtocolUnusable if there is no split.csv, or errata are unusable; OSError.
    """
    if split_file(lfw) is None:
        raise ProtocolUnusable(
            f"{lfw} has no split.csv (columns person and split: train or test) in it or beside it"
        )
    corrections = read_errata(errata, lfw)
    encoded = [_encoded(gallery, lfw, part, progress) for part in ("train", "test")]
    files: list[Path] = []

    def measured(applied: Errata | None) -> dict[str, Any]:
        train, test = (without_duplicates(corrected(part, applied))[0] for part in encoded)
        shared = rows_also_in(test, train)
        test = test.take(np.setdiff1d(np.arange(len(test)), shared))
        progress("training", 0, 1)
        deciders = five_deciders(train, our_head(train, choose_recipe(train, seed).recipe), seed)
        report, scored = compare_deciders(
            deciders, test, seed=seed, progress=partial(progress, "measuring")
        )
        if plots is not None:
            folder = plots if applied is None else plots / "with_errata"
            files.extend(save_plots(scored, folder))
        return report | {"pictures_in_both_left_out": len(shared)}

    report = _both_ways(corrections, measured) | {"encoder": gallery.pipeline.encoder.name}
    return DeciderComparison(report, tuple(files))


def evaluate_blufr(
    gallery: GalleryLike,
    lfw: Path,
    protocol: Path,
    *,
    trials: int = 10,
    errata: Sequence[Path] = (),
    seed: int = 0,
    progress: StepProgress = no_step_progress,
) -> dict[str, Any]:
    """Run BLUFR on LFW: open-set identification and verification.

    protocol : blufr_lfw_config.mat.  trials : the first so many of its ten.
    errata : files of known mistakes in the labels.
    Raises ProtocolUnusable.
    """
    blufr = read_blufr(protocol)
    corrections = read_errata(errata, lfw)
    published = _encoded(gallery, lfw, None, progress, native=True)
    rows = rows_of_photos(published, lfw, blufr.photos)

    def measured(applied: Errata | None) -> dict[str, Any]:
        people, lists = published, blufr
        if applied is not None:
            people, lists = applied.joined(published), corrected_blufr(blufr, applied)
        return run_blufr(people, rows, lists, trials, seed, partial(progress, "trials"))

    report = _both_ways(corrections, measured)
    return report | {"encoder": gallery.pipeline.encoder.name}


def evaluate_pairs(
    gallery: GalleryLike,
    lfw: Path,
    pairs: Path,
    *,
    seed: int = 0,
    progress: StepProgress = no_step_progress,
) -> dict[str, Any]:
    """Run LFW's View 2: ten-fold verification of pairs.

    pairs : pairs.txt.  Raises ProtocolUnusable.
    """
    view2 = read_pairs(pairs)
    people = _encoded(gallery, lfw, None, progress, native=True)
    first, second = (rows_of_photos(people, lfw, photos) for photos in (view2.first, view2.second))
    report = run_pairs(people, first, second, view2, seed, partial(progress, "folds"))
    return report | {"encoder": gallery.pipeline.encoder.name}


def _encoded(
    gallery: GalleryLike,
    people_folder: Path,
    part: str | None,
    progress: StepProgress,
    *,
    native: bool = False,
) -> EncodedPeople:
    """native : without the encoder's projection, if it has one."""
    is_wide = gallery.pipeline.encoder.projection is not None
    folder = people_in(people_folder, part)
    return encode_folder(gallery, folder, native=native and is_wide, progress=progress)


def _both_ways(
    errata: Errata | None, measured: Callable[[Errata | None], dict[str, Any]]
) -> dict[str, Any]:
    """The report with the labels as published, and in it the one with the errata applied."""
    report = measured(None)
    if errata is None:
        return report
    return report | {"errata": errata.as_json(), "with_errata": measured(errata)}
