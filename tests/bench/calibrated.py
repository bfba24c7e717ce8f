"""The FPIR after `gallery calibrate`, where queries are unlike the enrolled photos.

    python -m tests.bench.calibrated PEOPLE_FOLDER --encoder mobilefacenet --save calibrated.json

Sixty people are enrolled with two unaltered photos each; queries are altered (see alterations.py).
The operating point is calibrated on sixty strangers and measured on all others, in twelve draws.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from gallery import Gallery
from gallery.factory import build_workers
from gallery.matching.adjustment import adjustment_from_strangers
from gallery.matching.gallery_margins import gallery_impostors, shortlist_margins
from gallery.matching.operating_point import operating_point
from gallery.matching.templates import fuse_templates
from gallery.training.cleaning import without_duplicates
from gallery.training.dataset import people_in
from gallery.training.encode import EncodedPeople, encode_people
from gallery.training.random_galleries import sample_per_person
from tests.bench.alterations import CONDITIONS, altered

ENROLLED, STRANGERS, DRAWS, SEED = 60, 60, 12, 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--people", type=int, default=400)
    parser.add_argument("--work", type=Path, default=Path("build/altered"))
    parser.add_argument("--save", type=Path)
    arguments = parser.parse_args()
    folder = people_in(arguments.folder, "test")
    home = arguments.work / f"home-{arguments.encoder}"
    with Gallery.open(home, encoder=arguments.encoder) as gallery:
        settings = gallery.settings
        people_by_condition: dict[str, EncodedPeople] = {}
        for name in CONDITIONS:
            people_by_condition[name], _ = without_duplicates(
                encode_people(
                    altered(folder, name, arguments.work, arguments.people),
                    gallery.pipeline,
                    gallery.pipeline.views,
                    settings.cache,
                    workers=build_workers(settings, gallery.spec),
                )
            )
        head, rate = gallery.scorer.head, settings.false_positive_identification_rate
    report = {
        name: dict(
            zip(
                ("before", "after"),
                _fpir(head, people_by_condition["as it is"], people, rate),
                strict=True,
            )
        )
        for name, people in people_by_condition.items()
    }
    for name, row in report.items():
        print(f"{name}: {row['before']:.2%} before, {row['after']:.2%} after; promised {rate:.1%}")  # noqa: T201
    if arguments.save is not None:
        arguments.save.write_text(
            json.dumps(report | {"promised": rate, "seed": SEED}, indent=2) + "\n"
        )


def _fpir(head, enrolled, probes, rate):  # type: ignore[no-untyped-def]
    """FPIR before and after, of strangers that were not calibrated on."""
    rng, before, after = np.random.default_rng(SEED), [], []
    calibration = head.metadata.calibration
    for _ in range(DRAWS):
        members = rng.permutation(np.unique(enrolled.people))[:ENROLLED]
        rows = np.flatnonzero(np.isin(enrolled.people, members))
        rows = rows[sample_per_person(enrolled.people[rows], 2, rng)]
        owners, encodings = enrolled.people[rows], enrolled.enrolled.take(rows)
        templates = fuse_templates(owners, encodings)
        own = gallery_impostors(head, owners, encodings)
        names = {enrolled.names[i] for i in members.tolist()}
        people = np.array([i for i in np.unique(probes.people) if probes.names[i] not in names])
        people = rng.permutation(people)
        fit, test = (np.isin(probes.people, p) for p in (people[:STRANGERS], people[STRANGERS:]))
        tops = shortlist_margins(head, probes.probes, templates, own).max(axis=1)
        adjustment = adjustment_from_strangers(
            calibration, tops[fit], STRANGERS, ENROLLED, own.adjustment()
        )
        for used, shares in ((None, before), (adjustment, after)):
            point = operating_point(
                calibration, ENROLLED, fpir=rate, adjustment=used, impostors=own
            )
            shares.append(float(point.is_same(tops[test]).mean()))
    return float(np.mean(before)), float(np.mean(after))


if __name__ == "__main__":
    main()
