"""Templates: one encoding per identity, fused from all its photos. Queries are scored against them.

The mean of an identity's unit encodings finds more known people, at the same false-positive
identification rate, than its most similar photo or the mean of its photos' margins
(`gallery evaluate compare`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gallery.types import Encodings, Int64


@dataclass(frozen=True)
class Templates:
    """One encoding per identity.

    identity_ids : int64 (n,), ascending.  photos : int64 (n,), how many were fused into each.
    """

    identity_ids: Int64
    encodings: Encodings
    photos: Int64


def fuse_templates(owners: Int64, encodings: Encodings) -> Templates:
    """Return one template per owner.

    The mean of the unit vectors, normalised again; norms and agreement are averaged.

    owners : int64 (m,), the identity of each of the m encodings.
    """
    ids, places, photos = np.unique(owners, return_inverse=True, return_counts=True)
    ordered = encodings.vectors[np.argsort(places, kind="stable")]
    starts = np.cumsum(photos) - photos
    sums = np.add.reduceat(ordered, starts, axis=0, dtype=np.float64)
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
