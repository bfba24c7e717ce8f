"""Margins of queries to a gallery's templates, as that gallery's operating point expects them."""

from __future__ import annotations

import numpy as np

from gallery.matching.head import Head
from gallery.matching.impostors import Impostors
from gallery.matching.templates import Templates, fuse_templates
from gallery.types import Encodings, Float32, Float64, Int64

_BATCH = 16_384
_SHORTLIST = 50
_SAMPLED_IDENTITIES = 200
"""At most this many of a gallery's identities are compared with each other."""


def gallery_impostors(head: Head, owners: Int64, encodings: Encodings) -> Impostors:
    """Estimate how alike a gallery's identities are, from at most 200 of them.

    One face of each is scored, as a query, against the templates of the others.

    owners : int64 (n,), the identity of each encoding.
    """
    rows = np.flatnonzero(np.isin(owners, identity_sample(np.unique(owners))))
    owners, encodings = owners[rows], encodings.take(rows)
    templates = fuse_templates(owners, encodings)
    faces = head.sides(encodings.take(np.unique(owners, return_index=True)[1]))
    sides = head.sides(templates.encodings)
    margins = side_margins(head, faces, sides).astype(np.float64)
    prior = head.metadata.calibration.prior
    return Impostors.of(prior, templates.identity_ids, margins, faces, sides)


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
    """Return at most 200 of the ids, int64 ascending; the same ids give the same sample."""
    rng = np.random.default_rng(len(identity_ids))
    return np.sort(rng.permutation(np.sort(identity_ids))[:_SAMPLED_IDENTITIES])
