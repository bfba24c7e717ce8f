"""The operating point of grouping: a wanted precision of merged pairs, kept whatever their number.

Like the decision's, it is a bias on the head's margins that moves with how many faces are
compared with each other (gallery.matching.operating_point). Which rate of that point makes which
share of the merged pairs right was measured on people whom the head was not fitted on
(`gallery evaluate dedupe`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.special import expit

from gallery.errors import SettingInvalid
from gallery.matching.operating_point import (
    Adjustment,
    Calibration,
    OperatingPoint,
    operating_point,
)
from gallery.package_data import shipped_file

DEFAULT_PRECISION = 0.99
"""Of a hundred pairs of faces that are put together, how many are to be of one person."""
GROUPING_FILE = "grouping.json"


@dataclass(frozen=True)
class GroupingMarks:
    """What was measured of grouping on held-out people.

    precisions : rising, (k,): wanted shares of right pairs.  sizes : rising, (s,), of folders in
        faces.  rates : falling, (s, k): the rate of the operating point that keeps each precision
        in folders of each size.
    sureness : (2,): the log-odds that a group is all one person are sureness @ (1, how far its
        loosest member is over the operating point).
    """

    precisions: tuple[float, ...]
    sizes: tuple[int, ...]
    rates: tuple[tuple[float, ...], ...]
    sureness: tuple[float, float]

    def point(
        self,
        calibration: Calibration,
        faces: int,
        precision: float = DEFAULT_PRECISION,
        adjustment: Adjustment | None = None,
    ) -> OperatingPoint:
        """For so many faces. Raises SettingInvalid for a precision that was not measured."""
        low, high = self.precisions[0], self.precisions[-1]
        if not low <= precision <= high:
            raise SettingInvalid(f"a precision of {precision}, expected {low} to {high}")
        # Wrong shares, rates and sizes all spread over decades. Beyond the sizes: as at the ends.
        wrong = np.log(1.0 - np.array(self.precisions))[::-1]
        at_sizes = [
            np.interp(np.log(1.0 - precision), wrong, np.log(np.array(rates))[::-1])
            for rates in self.rates
        ]
        rate = float(np.exp(np.interp(np.log(max(1, faces)), np.log(self.sizes), at_sizes)))
        return operating_point(calibration, max(1, faces), rate=rate, adjustment=adjustment)

    def probability(self, over: float) -> float:
        """That a group is all one person."""
        return float(expit(self.sureness[0] + self.sureness[1] * over))

    def as_json(self) -> dict[str, Any]:
        """The form of the shipped file."""
        return {
            "precisions": list(self.precisions),
            "sizes": list(self.sizes),
            "rates": [list(rates) for rates in self.rates],
            "sureness": list(self.sureness),
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> GroupingMarks:
        """Raises KeyError, TypeError or ValueError for what is none."""
        first, second = (float(v) for v in kept["sureness"])
        return cls(
            tuple(float(v) for v in kept["precisions"]),
            tuple(int(v) for v in kept["sizes"]),
            tuple(tuple(float(v) for v in rates) for rates in kept["rates"]),
            (first, second),
        )


@cache
def shipped_marks() -> GroupingMarks:
    """Those that come with the program. They are of rates, and so of any calibrated head."""
    kept = json.loads(shipped_file(GROUPING_FILE).read_text(encoding="utf-8"))
    return GroupingMarks.from_json(kept)
