"""The operating point of clustering: holds a wanted precision of pairs at any number of faces.

Like that of a query, it is a bias on the head's margins that moves with the number of faces
compared (gallery.matching.operating_point). Which false-positive rate gives which precision was
measured on people the head was not fitted on (`gallery evaluate dedupe`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.special import expit

from gallery.encoders.built_in import DLIB_TRAITS, TRAITS
from gallery.errors import SettingInvalid
from gallery.matching.calibration import Calibration
from gallery.matching.impostors import Impostors
from gallery.matching.operating_point import OperatingPoint, operating_point
from gallery.package_data import shipped_file

DEFAULT_PRECISION = 0.99
"""The share of pairs of faces in one cluster that are of one person."""
GROUPING_FILE = "grouping.json"


@dataclass(frozen=True)
class ClusteringCalibration:
    """Calibration of clustering on held-out people.

    precisions : rising, (k,): wanted shares of correct pairs.
    sizes : rising, (s,): numbers of faces in a folder.
    rates : falling, (s, k): the false-positive rate that gives each precision at each size.
    purity_weights : (2,): the log-odds that a cluster is all one person are purity_weights @ (1,
        margin of its loosest member above the operating point).
    """

    precisions: tuple[float, ...]
    sizes: tuple[int, ...]
    rates: tuple[tuple[float, ...], ...]
    purity_weights: tuple[float, float]

    def point(
        self,
        calibration: Calibration,
        faces: int,
        precision: float = DEFAULT_PRECISION,
        impostors: Impostors | None = None,
    ) -> OperatingPoint:
        """The operating point for this many faces.

        Raises SettingInvalid for a precision outside the measured range.
        """
        low, high = self.precisions[0], self.precisions[-1]
        if not low <= precision <= high:
            raise SettingInvalid(f"a precision of {precision}, expected {low} to {high}")
        # Errors, rates and sizes span decades: interpolate their logarithms, clamp the size.
        errors = np.log(1.0 - np.array(self.precisions))[::-1]
        log_rates = [
            np.interp(np.log(1.0 - precision), errors, np.log(np.array(rates))[::-1])
            for rates in self.rates
        ]
        rate = float(np.exp(np.interp(np.log(max(1, faces)), np.log(self.sizes), log_rates)))
        return operating_point(calibration, max(1, faces), fpir=rate, impostors=impostors)

    def probability(self, above: float) -> float:
        """That a cluster is all one person. above : the loosest member's margin above the point."""
        return float(expit(self.purity_weights[0] + self.purity_weights[1] * above))

    def as_json(self) -> dict[str, Any]:
        """As in the shipped file."""
        return {
            "precisions": list(self.precisions),
            "sizes": list(self.sizes),
            "rates": [list(rates) for rates in self.rates],
            "sureness": list(self.purity_weights),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> ClusteringCalibration:
        """Raises KeyError, TypeError or ValueError for any other content."""
        first, second = (float(v) for v in stored["sureness"])
        return cls(
            tuple(float(v) for v in stored["precisions"]),
            tuple(int(v) for v in stored["sizes"]),
            tuple(tuple(float(v) for v in rates) for rates in stored["rates"]),
            (first, second),
        )


@cache
def shipped_calibration(encoder: str = DLIB_TRAITS.name) -> ClusteringCalibration:
    """The calibration that ships for a built-in encoder, by name; for any other, that for dlib's.

    It maps to rates, so it holds roughly for any calibrated head.
    """
    folder = encoder if encoder in TRAITS else DLIB_TRAITS.name
    stored = json.loads(shipped_file(f"{folder}/{GROUPING_FILE}").read_text(encoding="utf-8"))
    return ClusteringCalibration.from_json(stored)
