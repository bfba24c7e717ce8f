"""What a calibration on strangers was fitted on, by numbers alone, and the fit.

It is kept so that the calibration can be fitted again without somebody who was erased: the
strangers' photos and encodings are not kept.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gallery.matching.operating_point import OperatingPoint, adjusted_to_strangers, operating_point
from gallery.types import Bool, Float32, Int64

_LIKELIEST = 8


@dataclass(frozen=True)
class Evidence:
    """Of n photos of strangers, each with its likeliest identities.

    people : int64 (n,), which stranger a photo is of.
    identities : int64 (n, k), ids, the likeliest first; 0 where there are fewer.
    margins : float32 (n, k), to each of them; -inf where there is none.
    newest_identity_id : the highest id that was in the gallery then.
    seed : of the folds it was measured with.
    """

    people: Int64
    identities: Int64
    margins: Float32
    newest_identity_id: int
    seed: int

    @classmethod
    def of(cls, people: Int64, margins: Float32, identity_ids: Int64, seed: int) -> Evidence:
        """margins : float32 (n, gallery), -inf where the head was not asked."""
        likeliest = np.argsort(-margins, axis=1, kind="stable")[:, :_LIKELIEST]  # (n, k)
        kept = np.take_along_axis(margins, likeliest, axis=1)
        ids = np.where(np.isfinite(kept), identity_ids[likeliest], 0)
        return cls(people, ids, kept, int(identity_ids.max(initial=0)), seed)

    @property
    def tops(self) -> Float32:
        """Each photo's margin to its likeliest identity, float32 (n,)."""
        found: Float32 = self.margins.max(axis=1)
        return found

    def without(self, gone: Collection[int]) -> Evidence:
        """As if these identities had not been there, nor photos that are near no one else."""
        margins = np.where(np.isin(self.identities, list(gone)), -np.inf, self.margins)
        margins = margins.astype(np.float32)
        ids = np.where(np.isfinite(margins), self.identities, 0)
        some = np.isfinite(margins).any(axis=1)
        return Evidence(
            self.people[some], ids[some], margins[some], self.newest_identity_id, self.seed
        )

    def fit(self, before: OperatingPoint, rows: Bool | None = None) -> OperatingPoint:
        """The point fitted to these photos, to all when not said.

        before : the point that holds without them, whose gallery it is.
        """
        rows = np.ones(len(self.people), dtype=np.bool_) if rows is None else rows
        adjustment = adjusted_to_strangers(
            before.calibration,
            self.tops[rows],
            len(np.unique(self.people[rows])),
            before.comparisons,
            before.adjustment,
        )
        return operating_point(
            before.calibration, before.comparisons, rate=before.rate, adjustment=adjustment
        )

    def as_json(self) -> dict[str, Any]:
        """The form the store keeps."""
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
    def from_json(cls, kept: Mapping[str, Any]) -> Evidence:
        """Raises KeyError, TypeError or ValueError for what is no evidence."""
        identities = np.array(kept["identities"], dtype=np.int64).reshape(len(kept["people"]), -1)
        margins = np.full(identities.shape, -np.inf, dtype=np.float32)
        for row, values in enumerate(kept["margins"]):
            margins[row, identities[row] > 0] = values
        return cls(
            np.array(kept["people"], dtype=np.int64),
            identities,
            margins,
            int(kept["newest_identity_id"]),
            int(kept["seed"]),
        )
