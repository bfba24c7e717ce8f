"""Near pairs by cells, and near bit strings, against all pairs; clustering by average linkage."""

from __future__ import annotations

import numpy as np
import pytest

from gallery.dedupe.clustering.linkage import SIZE_BONUS, labels_at, merges
from gallery.evaluation.clustering_metrics import figures_of
from indexer import InvalidVectors
from indexer.cells import near_pairs, nearest_of
from indexer.hamming import near_bits


def clustered(people: int, photos: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.normal(size=(people, 128)), photos, axis=0)
    rows += 0.4 * rng.normal(size=rows.shape)
    rows = rng.permutation(rows)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def pairs_above(rows: np.ndarray, min_similarity: float) -> set[tuple[int, int]]:
    first, second = np.nonzero(np.triu(rows @ rows.T >= min_similarity, k=1))
    return set(zip(first.tolist(), second.tolist(), strict=True))


def test_exact_search_finds_every_pair() -> None:
    rows = clustered(200, 4, 0)
    edges = near_pairs(rows, 0.6, 10)
    found = set(zip(edges.first.tolist(), edges.second.tolist(), strict=True))
    assert found == pairs_above(rows, 0.6)
    exact = np.einsum("ij,ij->i", rows[edges.first], rows[edges.second])
    assert edges.similarities == pytest.approx(exact, abs=1e-5)


def test_cells_find_nearly_every_pair() -> None:
    """0.97 of the pairs of 4,000 rows in 15 cells, of which 4 are probed (0.985 when written)."""
    rows = clustered(1_000, 4, 1)
    done: list[int] = []
    edges = near_pairs(rows, 0.6, 10, exact_up_to=100, probes=4, progress=done.append)
    found = set(zip(edges.first.tolist(), edges.second.tolist(), strict=True))
    expected = pairs_above(rows, 0.6)
    assert found <= expected and len(found) >= 0.97 * len(expected) > 1_000
    assert done == sorted(done) and done[-1] == len(rows)


def test_each_row_keeps_its_nearest_neighbours() -> None:
    rows = clustered(1, 300, 2)
    edges = near_pairs(rows, -1.0, 5)
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -2.0)
    found = set(zip(edges.first.tolist(), edges.second.tolist(), strict=True))
    for i in range(len(rows)):
        for j in np.argsort(-cosines[i])[:5].tolist():
            assert (min(i, j), max(i, j)) in found
    assert len(found) <= 5 * len(rows)


def test_nearest_of_is_exact() -> None:
    rows = clustered(50, 4, 3)
    edges = nearest_of(rows, np.array([7, 30]), 5)
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -2.0)
    expected = {
        (min(i, j), max(i, j)) for i in (7, 30) for j in np.argsort(-cosines[i])[:5].tolist()
    }
    assert set(zip(edges.first.tolist(), edges.second.tolist(), strict=True)) == expected
    assert edges.similarities == pytest.approx(cosines[edges.first, edges.second], abs=1e-5)


def test_no_rows_have_no_pairs_and_nan_is_refused() -> None:
    assert len(near_pairs(np.empty((0, 128), np.float32), 0.5, 5).first) == 0
    with pytest.raises(InvalidVectors):
        near_pairs(np.full((2, 128), np.nan, np.float32), 0.5, 5)


@pytest.mark.parametrize("count", [500, 21_000])
def test_near_bits_finds_every_pair(count: int) -> None:
    rng = np.random.default_rng(count)
    stored = rng.integers(0, 256, (count, 8), dtype=np.uint8)
    queries = stored[:50].copy()
    for i, row in enumerate(queries):
        for bit in rng.permutation(64)[: i % 14]:
            row[bit // 8] ^= np.uint8(1 << (bit % 8))
    found = set(zip(*(side.tolist() for side in near_bits(queries, stored, 11)), strict=True))
    distances = np.bitwise_count(queries[:, None] ^ stored[None]).sum(axis=2)
    expected = set(zip(*(side.tolist() for side in np.nonzero(distances <= 11)), strict=True))
    assert found == expected and (49, 49) in expected and (13, 13) not in expected


def test_equal_strings_have_a_limited_number_of_pairs() -> None:
    stored = np.zeros((300, 8), np.uint8)
    stored[100:, 0] = 1
    first, second = near_bits(stored, stored, 11, max_pairs=5)
    assert np.bincount(first).tolist() == [5] * 300
    assert (stored[first] == stored[second]).all()  # the nearest come first


def test_one_near_pair_does_not_merge_two_clusters() -> None:
    """Two clusters of four faces, with one very near pair across them."""
    margins = np.full((8, 8), -20.0)
    margins[:4, :4] = margins[4:, 4:] = 10.0
    margins[3, 4] = margins[4, 3] = 30.0
    labels = labels_at(margins, 0.0)
    assert len(set(labels[:3])) == 1 and len(set(labels[5:])) == 1
    assert labels[0] != labels[7]


def test_many_pairs_need_a_lower_margin_than_one() -> None:
    margins = np.full((6, 6), -1.0)
    margins[:3, :3] = margins[3:, 3:] = 10.0
    assert len(set(labels_at(margins, 0.0))) == 1  # nine pairs: a bonus of ln(9) / 2
    assert len(set(labels_at(margins[2:4, 2:4], 0.0))) == 2
    assert [m.score for m in merges(margins)][-1] == pytest.approx(-1.0 + SIZE_BONUS * np.log(9))


def test_clustering_metrics_match_a_worked_example() -> None:
    """Clusters {a a b} {b}: 1 of 3 clustered pairs is right, 1 of 2 same-person pairs is found."""
    figures = figures_of(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]))
    assert (figures.precision, figures.recall) == pytest.approx((1 / 3, 1 / 2))
    assert figures.b_precision == pytest.approx((2 / 3 + 2 / 3 + 1 / 3 + 1) / 4)
    assert figures.b_recall == pytest.approx((1 + 1 + 1 / 2 + 1 / 2) / 4)
