"""Margins of queries in a gallery, with the means of single faces subtracted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gallery.matching.gallery_margins import (
    cross_margins,
    gallery_impostors,
    gallery_margins,
    identity_sample,
    pair_margins,
    shortlist_margins,
)
from gallery.matching.head import Head
from gallery.matching.templates import Templates, fuse_templates
from gallery.types import Encodings, Int64
from tests.matching.heads import make_head

Rows = Callable[[int, int], Encodings]


@pytest.fixture
def head() -> Head:
    return make_head(("cosine", "norm"), hidden=0)


def enrolled(unit_rows: Rows, identities: int) -> tuple[Int64, Encodings, Templates]:
    """Two faces of each identity; ids are not consecutive."""
    owners = np.repeat(np.arange(identities) * 3 + 7, 2)
    encodings = unit_rows(2 * identities, 1)
    return owners, encodings, fuse_templates(owners, encodings)


def test_shortlist_has_the_same_margins_and_nothing_else(head: Head, unit_rows: Rows) -> None:
    owners, encodings, templates = enrolled(unit_rows, 80)
    impostors = gallery_impostors(head, owners, encodings)
    queries = unit_rows(6, 2)
    margins = gallery_margins(head, queries, templates, impostors)
    shortlist = shortlist_margins(head, queries, templates, impostors)
    scored = np.isfinite(shortlist)
    assert (scored.sum(axis=1) == 50).all()
    np.testing.assert_allclose(shortlist[scored], margins[scored], atol=1e-5)
    assert not np.allclose(margins, cross_margins(head, queries, templates.encodings))


def test_some_candidates_have_the_margins_that_all_have(head: Head, unit_rows: Rows) -> None:
    """A query's candidates are few; their margins must not depend on which others there are."""
    owners, encodings, templates = enrolled(unit_rows, 30)
    impostors = gallery_impostors(head, owners, encodings)
    queries, some = unit_rows(4, 2), np.array([2, 11, 29])
    all_margins = gallery_margins(head, queries, templates, impostors)
    few = Templates(
        templates.identity_ids[some], templates.encodings.take(some), templates.photos[some]
    )
    margins = gallery_margins(head, queries, few, impostors)
    np.testing.assert_allclose(margins, all_margins[:, some], atol=1e-5)


def test_identities_outside_the_sample_are_measured_against_it(head: Head, unit_rows: Rows) -> None:
    owners, encodings, templates = enrolled(unit_rows, 260)
    impostors = gallery_impostors(head, owners, encodings)
    sampled = np.isin(templates.identity_ids, impostors.identity_ids)
    assert sampled.sum() == 200
    np.testing.assert_array_equal(impostors.identity_ids, identity_sample(templates.identity_ids))
    queries = unit_rows(3, 2)
    margins = gallery_margins(head, queries, templates, impostors)
    raw = cross_margins(head, queries, templates.encodings)
    outside = np.flatnonzero(~sampled)[:3]
    pairs = pair_margins(head, queries, templates.encodings.take(outside), impostors)
    np.testing.assert_allclose(pairs, margins[np.arange(3), outside], atol=1e-5)
    shifts = margins - raw
    assert shifts[:, sampled].std() == pytest.approx(shifts[:, ~sampled].std(), rel=0.5)


def test_gallery_of_one_has_the_heads_own_margins(head: Head, unit_rows: Rows) -> None:
    owners, encodings, templates = enrolled(unit_rows, 1)
    impostors = gallery_impostors(head, owners, encodings)
    queries = unit_rows(5, 2)
    margins = gallery_margins(head, queries, templates, impostors)
    np.testing.assert_array_equal(margins, cross_margins(head, queries, templates.encodings))
