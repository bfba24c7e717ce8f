"""Look-alikes whom the user told apart: how often the right one is named, and how often the other.

    python -m tests.bench.told_apart LFW --encoder mobilefacenet --errata errata.csv

Everybody is of the folder's test people. Each person and their eight nearest are told apart in
turn; both are enrolled with one, two or three photos, and six others are the queries. Those that
match both people at the operating point of ten mixed people count: each is ambiguous for people
who are not told apart. Nothing is fitted.
"""

from __future__ import annotations

import numpy as np

from gallery.matching.decision import CLEAR
from gallery.matching.operating_point import DEFAULT_FPIR, operating_point
from gallery.training.statistics import interval
from gallery.training.told_apart import leads_of_pairs
from tests.bench.alike import SEED, encoded, parser_of


def main() -> None:
    arguments = parser_of(__doc__).parse_args()
    head, people = encoded(arguments, arguments.encoder, altered_photos=False)
    calibration = head.metadata.calibration
    point = operating_point(calibration, 10)
    lowest = calibration.margin_at(DEFAULT_FPIR, 10)
    for photos in (1, 2, 3):
        rng = np.random.default_rng(SEED)
        owners, leads = leads_of_pairs(head, people["everyone"], photos, lowest, rng)
        is_clear = np.array([point.preference(abs(lead)) >= CLEAR for lead in leads])
        is_misnamed = is_clear & (leads < 0)
        low, high = interval(owners, is_misnamed, seed=SEED)
        print(  # noqa: T201
            f"{photos} enrolled: {len(leads)} queries match both; right"
            f" {(is_clear & (leads > 0)).mean():.1%}, ambiguous {(~is_clear).mean():.1%}, misnamed"
            f" {is_misnamed.mean():.2%} ({low:.2%} to {high:.2%})"
        )


if __name__ == "__main__":
    main()
