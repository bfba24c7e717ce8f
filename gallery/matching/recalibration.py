"""The margins that a calibration on strangers was fitted to, and the fit.

They are kept so that the calibration can be fitted again without an identity that was erased. The
strangers' photos and encodings are not kept.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gallery.matching.adjustment import adjustment_from_strangers
from gallery.matching.operating_point import OperatingPoint, operating_point
from gallery.types import Bool, Float32, Int64

_TOP_IDENTITIES = 8


@dataclass(frozen=True)
class Evidence:
    """The margins of n photos of strangers to their k most probable identities.

    people : int64 (n,), the stranger that each photo shows.
    identities : int64 (n, k), ids, most probable first; 0 where there are fewer than k.
    margins : float32 (n, k), to each of them; -inf where there is none.
    newest_identity_id : the highest id in the gallery at that time.
    seed : of the folds used for the report.
    """

    people: Int64
    identities: Int64
    margins: Float32
    newest_identity_id: int
    seed: int

    @classmethod
    def from_margins(
        cls, people: Int64, margins: Float32, identity_ids: Int64, seed: int
    ) -> Evidence:
        """Keep the top margins of each photo.

        margins : float32 (n, identities), -inf where a pair was not scored.
        """
        columns = np.argsort(-margins, axis=1, kind="stable")[:, :_TOP_IDENTITIES]  # (n, k)
        top_margins = np.take_along_axis(margins, columns, axis=1)
        ids = np.where(np.isfinite(top_margins), identity_ids[columns], 0)
        return cls(people, ids, top_margins, int(identity_ids.max(initial=0)), seed)

    @property
    def top_margins(self) -> Float32:
        """Each photo's margin to its most probable identity, float32 (n,)."""
        tops: Float32 = self.margins.max(axis=1)
        return tops

    def without(self, identity_ids: Collection[int]) -> Evidence:
        """Return the evidence without these identities, and without photos that have no others."""
        is_removed = np.isin(self.identities, list(identity_ids))
        margins = np.where(is_removed, -np.inf, self.margins).astype(np.float32)
        ids = np.where(np.isfinite(margins), self.identities, 0)
        rows = np.isfinite(margins).any(axis=1)
        return Evidence(
            self.people[rows], ids[rows], margins[rows], self.newest_identity_id, self.seed
        )

    def fit(self, before: OperatingPoint, rows: Bool | None = None) -> OperatingPoint:
        """Return the operating point fitted to these photos.

        before : the gallery's operating point without this calibration.
        rows : bool (n,), the photos to fit to; all by default.
        """
        rows = np.ones(len(self.people), dtype=np.bool_) if rows is None else rows
        adjustment = adjustment_from_strangers(
            before.calibration,
            self.top_margins[rows],
            len(np.unique(self.people[rows])),
            before.comparisons,
            before.adjustment,
        )
        return operating_point(
            before.calibration,
            before.comparisons,
            fpir=before.fpir,
            adjustment=adjustment,
            impostors=before.impostors,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the form that the store keeps."""
        return {
            "people": self.people.tolist(),
            "identities": self.identities.tolist(),
            "margins": [
                [float(v) for v in row[np.isfinite(row)]] for row in self.margins.astype(np.float64)
            ],
            "newest_identity_id": self.newest_identity_id,
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Evidence:
        """Read stored evidence. Raises KeyError, TypeError or ValueError if it is invalid."""
        identities = np.array(stored["identities"], dtype=np.int64).reshape(
            len(stored["people"]), -1
        )
        margins = np.full(identities.shape, -np.inf, dtype=np.float32)
        for row, values in enumerate(stored["margins"]):
            margins[row, identities[row] > 0] = values
        return cls(
            np.array(stored["people"], dtype=np.int64),
            identities,
            margins,
            int(stored["newest_identity_id"]),
            int(stored["seed"]),
        )
