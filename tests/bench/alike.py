"""The promise in small galleries of people who look alike, and of photos of one kind.

    python -m tests.bench.alike LFW --encoder mobilefacenet --errata errata.csv --save alike.json

Everybody is of the folder's test people. People who look alike are clusters of the templates of
another encoder (`--clusters-by`), so that no cluster is drawn by the encoder that is measured.
Photos of one kind are altered as in alterations.py. Galleries of 5, 10, 20 and 40 people with one
photo of each; the strangers are the others of the same cluster or kind. Nothing is fitted.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from gallery import Gallery
from gallery.evaluation.fpir import measure_promise
from gallery.factory import build_workers
from gallery.matching.head import Head
from gallery.training.cleaning import without_duplicates
from gallery.training.dataset import people_in
from gallery.training.encode import EncodedPeople, encode_people
from gallery.training.errata import corrected, read_errata
from gallery.training.random_galleries import look_alike_people
from tests.bench.alterations import CONDITIONS, altered

SIZES, SEED = (5, 10, 20, 40), 0
FIGURES = (
    "gallery",
    "promised",
    "strangers_named",
    "strangers_named_interval",
    "strangers",
    "known_found",
    "cosine_with_hindsight_found",
)


def encoded(
    arguments: argparse.Namespace, encoder: str, *, altered_photos: bool = True
) -> tuple[Head, dict[str, EncodedPeople]]:
    """The head, and everyone as they are and, with the encoder measured, in altered photos."""
    folder = people_in(arguments.folder, "test")
    errata = read_errata(arguments.errata, arguments.folder)
    with Gallery.open(arguments.work / f"home-{encoder}", encoder=encoder) as gallery:
        settings = gallery.settings
        everyone = {"everyone": folder}
        if altered_photos and encoder == arguments.encoder:
            everyone |= {
                name: altered(folder, name, arguments.work, arguments.people)
                for name in CONDITIONS
                if name != "as it is"
            }
        people = {
            name: encode_people(
                photos,
                gallery.pipeline,
                gallery.pipeline.views,
                settings.cache,
                workers=build_workers(settings, gallery.spec),
            )
            for name, photos in everyone.items()
        }
        people["everyone"] = corrected(people["everyone"], errata)
        return gallery.scorer.head, {n: without_duplicates(p)[0] for n, p in people.items()}


def clusters(by: EncodedPeople, people: EncodedPeople) -> dict[str, EncodedPeople]:
    """People whose encodings in `by` are alike, as they are in `people`."""
    number_of = {name: number for number, name in enumerate(people.names)}
    parts = {}
    for number, cluster in enumerate(look_alike_people(by, SEED), start=1):
        names = [by.names[person] for person in np.unique(cluster.people)]
        members = np.array([number_of[name] for name in names if name in number_of])
        parts[f"cluster {number} ({len(members)} people)"] = people.for_people(members)
    return parts


def measured(head: Head, people: EncodedPeople) -> list[dict[str, Any]]:
    count = len(np.unique(people.people))
    rows: list[dict[str, Any]] = []
    for size in SIZES:
        if count >= size + max(10, size // 2):
            report = measure_promise(head, people, seed=SEED, sizes=(size,))
            error = round(report["calibration"]["expected_calibration_error"], 4)
            rows += [
                {key: row[key] for key in FIGURES} | {"calibration_error": error}
                for row in report["galleries"]
            ]
    return rows


def summary(groups: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Over the kinds of photos, and over the clusters: strangers named, known people found."""
    names = {
        "everyone": ["everyone"],
        "photos of one kind": [n for n in groups if n in CONDITIONS],
        "people who look alike": [n for n in groups if n.startswith("cluster")],
    }
    rows = []
    for kind, parts in names.items():
        for size in SIZES:
            at = [
                r for n in parts for r in groups[n] if (r["gallery"], r["promised"]) == (size, 0.01)
            ]
            strangers = [row["strangers_named"] for row in at]
            rows.append(
                {
                    "kind": kind,
                    "gallery": size,
                    "groups": len(at),
                    "strangers_named_lowest": min(strangers),
                    "strangers_named_median": float(np.median(strangers)),
                    "strangers_named_highest": max(strangers),
                    "known_found": float(np.mean([r["known_found"] for r in at])),
                    "cosine_with_hindsight_found": float(
                        np.mean([r["cosine_with_hindsight_found"] for r in at])
                    ),
                    "calibration_error_highest": max(r["calibration_error"] for r in at),
                }
            )
    return rows


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """A parser of the arguments that `encoded` needs."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--errata", type=Path, nargs="*", default=[])
    parser.add_argument("--work", type=Path, default=Path("build/altered"))
    return parser


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--clusters-by", default="dlib-resnet")
    parser.add_argument("--people", type=int, default=250, help="whose photos are altered")
    parser.add_argument("--save", type=Path)
    arguments = parser.parse_args()
    head, people = encoded(arguments, arguments.encoder)
    _, others = encoded(arguments, arguments.clusters_by)
    people |= clusters(others["everyone"], people["everyone"])
    report = {}
    for name, part in people.items():
        report[name] = measured(head, part)
        for row in report[name]:
            if row["promised"] == 0.01:
                low, high = row["strangers_named_interval"]
                print(  # noqa: T201
                    f"{name}, gallery {row['gallery']}: {row['strangers_named']:.2%} of strangers"
                    f" ({low:.2%} to {high:.2%}), found {row['known_found']:.1%}, by a cosine"
                    f" {row['cosine_with_hindsight_found']:.1%}, calibration error"
                    f" {row['calibration_error']:.1%}",
                    flush=True,
                )
    whole = {
        "encoder": arguments.encoder,
        "seed": SEED,
        "summary": summary(report),
        "groups": report,
    }
    print(json.dumps(whole["summary"], indent=2))  # noqa: T201
    if arguments.save is not None:
        arguments.save.write_text(json.dumps(whole, indent=2) + "\n")


if __name__ == "__main__":
    main()
