"""What the head compares a query with: one encoding an identity, fused of all its photos'.

The mean of an identity's unit encodings finds more of the known, at the same rate of strangers
let in, than the likeliest of its photos or the mean of their margins (`gallery evaluate compare`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gallery.types import Encodings, Int64


@dataclass(frozen=True)
class Templates:
    """One encoding an identity.

    identity_ids : int64 (n,), ascending.  photos : int64 (n,), how many were fused in each.
    """

    identity_ids: Int64
    encodings: Encodings
    photos: Int64


def fused(owners: Int64, encodings: Encodings) -> Templates:
    """One template an owner: owners int64 (m,), encodings of m faces.

    The mean of the unit vectors, to unit length again; norms and agreement are averaged.
    """
    ids, places, photos = np.unique(owners, return_inverse=True, return_counts=True)
    sums = np.zeros((len(ids), encodings.vectors.shape[1]), dtype=np.float64)
    np.add.at(sums, places, encodings.vectors)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    norms, agreement = (
        np.bincount(places, values, len(ids)) / np.maximum(photos, 1)
        for values in (encodings.norms, encodings.agreement)
    )
    vectors = (sums / np.maximum(lengths, 1e-12)).astype(np.float32)
    return Templates(
        ids.astype(np.int64),
        Encodings(vectors, norms.astype(np.float32), agreement.astype(np.float32)),
        photos.astype(np.int64),
    )
