"""Evaluation reports as tables on the terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.markup import escape
from rich.table import Table

from gallery.cli.output import count, percent, say, show
from gallery.names import printable

_BLUFR_COLUMNS = (
    ("dir_at_fpir", "0.1"),
    ("dir_at_fpir", "0.01"),
    ("dir_at_fpir", "0.001"),
    ("vr_at_far", "0.001"),
    ("rank1", ""),
)


def with_interval(value: float, interval: list[float]) -> str:
    """A share in percent, with its interval."""
    low, high = interval
    return f"{100 * value:.2f} ({100 * low:.2f}-{100 * high:.2f})"


def show_both_ways(report: dict[str, Any], show_report: Callable[[dict[str, Any]], None]) -> None:
    """The report; if errata were given, first as published and then with them applied."""
    if "errata" not in report:
        show_report(report)
        return
    say("labels as published", "bold")
    show_report(report)
    say("")
    say(errata_line(report["errata"]), "bold")
    show_report(report["with_errata"])


def errata_line(errata: dict[str, Any]) -> str:
    """What was corrected, by which files."""
    photos, names = errata["photos_left_out"], errata["names_joined"]
    return (
        f"errata applied ({', '.join(errata['files'])}): {count(photos, 'photo')} to leave out,"
        f" {count(names, 'name')} to join with another"
    )


def show_blufr(report: dict[str, Any]) -> None:
    table = Table("decider", *(f"{k} {x}" for k, x in _BLUFR_COLUMNS), box=None)
    for name, figures in report["deciders"].items():
        cells = []
        for key, rate in _BLUFR_COLUMNS:
            figure = figures[key][rate] if rate else figures[key]
            mean, std = 100 * figure["mean"], 100 * figure["std"]
            cells.append(f"{mean:.2f} ± {std:.2f} ({mean - std:.2f})")
        table.add_row(name, *cells)
    show(table)
    say(
        "percent: mean ± standard deviation (mean - standard deviation) over"
        f" {count(report['trials'], 'trial')}"
    )


def show_pairs(report: dict[str, Any]) -> None:
    table = Table("decider", "accuracy", "AUC", "TAR at FAR 0.1 %", box=None)
    for name, figures in report["deciders"].items():
        mean, std = figures["accuracy"]["mean"], figures["accuracy"]["std"]
        table.add_row(
            name,
            f"{100 * mean:.2f} ± {100 * std:.2f}",
            f"{figures['auc']:.5f}",
            f"{100 * figures['tar_at_far']['0.001']:.2f}",
        )
    show(table)
    faceless = count(report["pairs_without_a_face"], "pair")
    say(f"accuracy and TAR in percent; {faceless} without a detected face counted as different")


def show_promise(report: dict[str, Any]) -> None:
    table = Table(
        "gallery",
        "promised FPIR",
        "strangers matched",
        "known found",
        "known, best cosine",
        "strangers, distance 0.6",
        "known, distance 0.6",
        box=None,
    )
    for row in report["galleries"]:
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
    error = report["calibration"]
    say(
        "percent with 95 % intervals; expected calibration error of"
        f" {error['decisions']:,} decisions: {error['expected_calibration_error']:.1%}"
    )
    if "groups" in report:
        _show_groups(report["groups"])


def _show_groups(groups: dict[str, Any]) -> None:
    say("")
    say(f"by group ({groups['file']}), at a promised FPIR of {groups['promised']:.1%}", "bold")
    table = Table(
        "gallery",
        "group",
        "people",
        "known: queries (people)",
        "found",
        "misnamed",
        "strangers: queries (people)",
        "strangers named",
        box=None,
    )
    for row in groups["rows"]:
        found, misnamed, named = (
            "-" if row[key] is None else with_interval(row[key], row[f"{key}_interval"])
            for key in ("known_found", "known_misnamed", "strangers_named")
        )
        table.add_row(
            f"{row['gallery']:,}",
            escape(printable(row["group"])),
            f"{row['people']:,}",
            f"{row['known']:,} ({row['known_people']:,})",
            found,
            misnamed,
            f"{row['strangers']:,} ({row['stranger_people']:,})",
            named,
        )
    show(table)
    for sentence in groups["sentences"]:
        say(sentence, "yellow")


def show_made_groups(report: dict[str, Any]) -> None:
    for group, people in report["groups"].items():
        say(f"{group}: {count(people, 'person', 'people')}")
    if report["without_a_group"]:
        say(f"without a group: {count(report['without_a_group'], 'person', 'people')}", "yellow")
    say(f"wrote {report['file']}", "green")


def show_folder(report: dict[str, Any]) -> None:
    show_promise(report["promise"])
    counts = report["counts"]
    say(f"{count(counts['someone_else'], 'photo')} closer to another person than to their own")
    say(f"{count(counts['unlike'], 'photo')} unlike the other photos of their person")
    say(f"{count(counts['alike'], 'pair')} of people whose photos match each other")


def show_comparison(report: dict[str, Any]) -> None:
    deciders = report["deciders"]
    table = Table("", *deciders, box=None)
    for key in next(iter(deciders.values())):
        if key != "said":
            cells = (figures[key] for figures in deciders.values())
            table.add_row(key, *(with_interval(c["value"], c["interval"]) for c in cells))
    show(table)
    say(f"percent with 95 % intervals over people; a gallery of {report['gallery']:,}")


def show_grouping(report: dict[str, Any]) -> None:
    table = Table("", "method", "precision", "recall", "F", "BCubed F", "setting", box=None)
    for part in ("test", "swapped"):
        for row in report.get(part, []):
            figures = row["figures"]
            table.add_row(
                f"{part}: {row['on']}",
                row["method"],
                *(f"{100 * figures[k]:.2f}" for k in ("precision", "recall", "f")),
                f"{100 * row.get('best_bcubed_f', figures['bcubed_f']):.2f}",
                row["setting"],
            )
    show(table)
    say("percent; the other methods' settings are the best for these photos, ours is not")


def show_calibration(report: dict[str, Any]) -> None:
    table = Table("", "strangers matched", "known found", box=None)
    for when in ("before", "after"):
        row = report[when]
        table.add_row(
            when,
            with_interval(row["strangers_named"], row["strangers_named_interval"]),
            with_interval(row["known_found"], row["known_found_interval"]),
        )
    show(table)
    strangers = report["strangers"]
    identities = count(report["identities"], "identity", "identities")
    say(
        f"percent with 95 % intervals; {count(strangers['photos'], 'photo')} of"
        f" {count(strangers['people'], 'stranger')}, {identities}; promised"
        f" {report['rate']:.1%}. After: cross-validated over the strangers. Known: enrolled photos,"
        " each left out in turn."
    )
