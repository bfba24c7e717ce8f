"""Margins of queries to a gallery's templates, as that gallery's operating point expects them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gallery.matching.head import Head
from gallery.matching.impostors import Impostors
from gallery.matching.pair_features import SIDE_WIDTH
from gallery.matching.templates import Templates, fuse_templates
from gallery.types import Encodings, Float32, Float64, Int64, UInt64

_BATCH = 16_384
_SHORTLIST = 50
SAMPLED_IDENTITIES = 200
"""At most this many of a gallery's identities are compared with each other."""


@dataclass(frozen=True)
class SampleMargins:
    """The margins of one face of each of s identities, as a query, to the template of each.

    identity_ids : int64 (s,), ascending.
    faces, templates : the sides of pairs, float32 (s, SIDE_WIDTH).
    margins : float32 (s, s), rows are faces.
    """

    identity_ids: Int64
    faces: Float32
    templates: Float32
    margins: Float32

    @classmethod
    def none(cls) -> SampleMargins:
        """Return the margins of no identities."""
        sides = np.zeros((0, SIDE_WIDTH), dtype=np.float32)
        return cls(np.zeros(0, dtype=np.int64), sides, sides, np.zeros((0, 0), dtype=np.float32))

    def without(self, identity_ids: Int64) -> SampleMargins:
        """Return those of the others."""
        kept = np.flatnonzero(~np.isin(self.identity_ids, identity_ids))
        return self._at(kept)

    def joined(self, new: SampleMargins, head: Head) -> SampleMargins:
        """Return those of these identities and of others together."""
        above = side_margins(head, self.faces, new.templates)
        below = side_margins(head, new.faces, self.templates)
        both = SampleMargins(
            np.concatenate([self.identity_ids, new.identity_ids]),
            np.concatenate([self.faces, new.faces]),
            np.concatenate([self.templates, new.templates]),
            np.block([[self.margins, above], [below, new.margins]]),
        )
        return both._at(np.argsort(both.identity_ids))

    def impostors(self, head: Head) -> Impostors:
        """Estimate how alike these identities are."""
        prior, margins = head.metadata.calibration.prior, self.margins.astype(np.float64)
        return Impostors.of(prior, self.identity_ids, margins, self.faces, self.templates)

    def _at(self, rows: Int64) -> SampleMargins:
        return SampleMargins(
            self.identity_ids[rows],
            self.faces[rows],
            self.templates[rows],
            self.margins[np.ix_(rows, rows)],
        )


def sample_margins(head: Head, owners: Int64, encodings: Encodings) -> SampleMargins:
    """Return the margins between identities.

    owners : int64 (n,), the identity of each encoding. The first face of each is the query.
    """
    templates = fuse_templates(owners, encodings)
    faces = head.sides(encodings.take(np.unique(owners, return_index=True)[1]))
    sides = head.sides(templates.encodings)
    return SampleMargins(templates.identity_ids, faces, sides, side_margins(head, faces, sides))


def gallery_impostors(head: Head, owners: Int64, encodings: Encodings) -> Impostors:
    """Estimate how alike a gallery's identities are, from at most 200 of them.

    owners : int64 (n,), the identity of each encoding.
    """
    rows = np.flatnonzero(np.isin(owners, identity_sample(np.unique(owners))))
    return sample_margins(head, owners[rows], encodings.take(rows)).impostors(head)


def gallery_margins(
    head: Head, queries: Encodings, templates: Templates, impostors: Impostors
) -> Float32:
    """Return the margins of every query to every template, float32 (queries, templates)."""
    a, b = head.sides(queries), head.sides(templates.encodings)
    margins = side_margins(head, a, b)
    return _normalised(head, margins, a, b, templates.identity_ids, impostors)


def shortlist_margins(
    head: Head, queries: Encodings, templates: Templates, impostors: Impostors
) -> Float32:
    """Return the margins of each query to its 50 nearest templates by cosine, -inf elsewhere.

    As in a gallery, where the head sees only the nearest. Returns float32 (queries, templates).
    """
    cosines = queries.vectors @ templates.encodings.vectors.T
    size = min(_SHORTLIST, len(templates.identity_ids))
    shortlist = np.argpartition(-cosines, size - 1, axis=1)[:, :size]
    rows, columns = np.repeat(np.arange(len(queries)), size), shortlist.ravel()
    a, b = head.sides(queries), head.sides(templates.encodings)
    margins = np.full(cosines.shape, -np.inf, dtype=np.float32)
    margins[rows, columns] = head.margins(a[rows], b[columns])
    return _normalised(head, margins, a, b, templates.identity_ids, impostors)


def pair_margins(
    head: Head, queries: Encodings, templates: Encodings, impostors: Impostors
) -> Float32:
    """Return the margin of each query to the template beside it, float32 (n,).

    The templates are not the gallery's own.
    """
    a, b = head.sides(queries), head.sides(templates)
    margins = head.margins(a, b)
    if not impostors.is_per_face:
        return margins
    effects = _unsampled_effects(head, b, impostors)
    sample = side_margins(head, a, impostors.templates).astype(np.float64)
    pairs = margins.astype(np.float64)[:, None]
    return impostors.normalised(pairs, effects[:, None], sample)[:, 0].astype(np.float32)


def _normalised(
    head: Head,
    margins: Float32,
    queries: Float32,
    templates: Float32,
    identity_ids: Int64,
    impostors: Impostors,
) -> Float32:
    """queries, templates : their sides.  identity_ids : of the templates."""
    if not impostors.is_per_face:
        return margins
    places = np.searchsorted(impostors.identity_ids, identity_ids)
    places = np.minimum(places, len(impostors.identity_ids) - 1)
    is_sampled = impostors.identity_ids[places] == identity_ids
    effects = impostors.effects[places]
    if not is_sampled.all():
        effects[~is_sampled] = _unsampled_effects(head, templates[~is_sampled], impostors)
    sample = side_margins(head, queries, impostors.templates).astype(np.float64)
    return impostors.normalised(margins.astype(np.float64), effects, sample).astype(np.float32)


def _unsampled_effects(head: Head, templates: Float32, impostors: Impostors) -> Float64:
    """Return what is subtracted from margins to templates that are not in the sample, (n,)."""
    margins = side_margins(head, impostors.faces, templates)
    return impostors.template_effects(margins.mean(axis=0, dtype=np.float64), len(margins))


def cross_margins(head: Head, queries: Encodings, enrolled: Encodings) -> Float32:
    """Return the head's margins of every pair, float32 (queries, enrolled)."""
    return side_margins(head, head.sides(queries), head.sides(enrolled))


def side_margins(head: Head, a: Float32, b: Float32) -> Float32:
    """Return the head's margins of every pair of sides, float32 (a, b)."""
    margins = np.empty((len(a), len(b)), dtype=np.float32)
    step = max(1, _BATCH // max(1, len(b)))
    for start in range(0, len(a), step):
        batch = a[start : start + step]
        pairs = head.margins(np.repeat(batch, len(b), axis=0), np.tile(b, (len(batch), 1)))
        margins[start : start + step] = pairs.reshape(len(batch), len(b))
    return margins


def identity_sample(identity_ids: Int64) -> Int64:
    """Return at most 200 of the ids, int64 ascending: those whose hash is lowest.

    So the sample of a gallery with one identity more differs by one at most.
    """
    if len(identity_ids) <= SAMPLED_IDENTITIES:
        return np.sort(identity_ids)
    lowest = np.argpartition(_hashed(identity_ids), SAMPLED_IDENTITIES - 1)[:SAMPLED_IDENTITIES]
    return np.sort(identity_ids[lowest])


def _hashed(ids: Int64) -> UInt64:
    """Hash ids by SplitMix64 (Steele, Lea and Flood, 2014), which gives no two the same."""
    z = ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashed: UInt64 = z ^ (z >> np.uint64(31))
    return hashed
