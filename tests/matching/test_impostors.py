"""How alike a gallery's people are, estimated from margins drawn with known moments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gallery.matching.calibration import ImpostorPrior
from gallery.matching.impostors import Impostors
from gallery.types import Float64

PRIOR = ImpostorPrior(-9.0, 1.4, 1.4, 0.02, 0.02, per_face=True)


def estimated(margins: Float64, prior: ImpostorPrior = PRIOR) -> Impostors:
    count = len(margins)
    sides = np.zeros((count, 132), np.float32)
    return Impostors.of(prior, np.arange(count), margins, sides, sides)


def drawn(
    count: int, shift: float, scale: float, rng: np.random.Generator, *, own: float = 0.0
) -> Float64:
    """Margins with this mean above the prior's; own : deviation of the faces' own means."""
    faces = own * rng.normal(size=count)
    noise = rng.normal(size=(count, count))
    symmetric = (noise + noise.T) / 2**0.5
    return PRIOR.mean + shift + scale * symmetric + faces[:, None] + faces


def test_nothing_is_known_of_one_identity() -> None:
    for count in (0, 1):
        adjustment = estimated(np.zeros((count, count))).adjustment()
        assert (adjustment.offset, adjustment.scale, adjustment.pairs) == (0.0, 1.0, 0)


def test_many_alike_people_move_the_margins_by_what_they_are_alike() -> None:
    impostors = estimated(drawn(100, 3.0, 2.0, np.random.default_rng(0)))
    assert impostors.mean == pytest.approx(PRIOR.mean + 3.0, abs=0.2)
    assert impostors.residual == pytest.approx(2.0, rel=0.1)
    moved = impostors.adjustment().to_gallery(PRIOR.mean + 2 * PRIOR.residual)
    assert moved == pytest.approx(PRIOR.mean + 3.0 + 2 * 2.0, abs=0.4)


def test_few_people_move_them_less_and_hardly_ever_down() -> None:
    rng = np.random.default_rng(1)

    def offset(count: int, shift: float) -> float:
        draws = [estimated(drawn(count, shift, 1.4, rng)).adjustment().offset for _ in range(40)]
        return float(np.mean(draws))

    assert 0.5 < offset(2, 3.0) < offset(5, 3.0) < offset(30, 3.0)
    assert offset(30, 3.0) == pytest.approx(3.0, abs=0.2)
    assert -0.3 < offset(2, -1.4) < 0.5
    assert offset(100, -1.4) == pytest.approx(-1.4, abs=0.25)


@pytest.mark.parametrize(("size", "times"), [(2, 2), (3, 2), (4, 2), (5, 2), (10, 2), (9, 3)])
def test_person_enrolled_several_times_hardly_moves_them(size: int, times: int) -> None:
    """Their margins to each other are those of one person."""
    margins = drawn(size, 0.0, 1.4, np.random.default_rng(2))
    before = estimated(margins).adjustment().to_gallery(-3.0)
    margins[:times, :times] = 5.0
    assert estimated(margins).adjustment().to_gallery(-3.0) == pytest.approx(before, abs=1.0)


@pytest.mark.parametrize(("size", "times"), [(3, 2), (6, 2), (9, 3), (20, 3)])
def test_probe_of_a_person_enrolled_several_times_matches_each(size: int, times: int) -> None:
    rng = np.random.default_rng(6)
    impostors = estimated(drawn(size, 0.0, 1.4, rng))
    sample = PRIOR.mean + 1.4 * rng.normal(size=(1, size))
    sample[0, :times] = 5.0
    margins = impostors.normalised(sample, impostors.effects, sample)
    assert margins[0, :times] == pytest.approx(5.0, abs=1.5)


def test_face_like_everybodys_has_its_mean_subtracted() -> None:
    rng = np.random.default_rng(3)
    impostors = estimated(drawn(60, 0.0, 1.4, rng, own=1.5))
    assert impostors.residual == pytest.approx(1.4, rel=0.15)
    assert impostors.deviation > 2.0 and impostors.effects.std() == pytest.approx(1.5, rel=0.3)
    noise = rng.normal(size=(2, 60)) * 1.4
    sample = PRIOR.mean + impostors.effects + noise + np.array([[3.0], [0.0]])
    margins = np.full((2, 60), -2.0)
    alike, usual = impostors.normalised(margins, impostors.effects, sample)
    assert (usual - alike).mean() == pytest.approx(3.0, abs=0.6)
    assert (usual < margins[1])[impostors.effects > 1.0].all()


def test_own_person_and_its_double_do_not_lower_a_probes_margin() -> None:
    rng = np.random.default_rng(4)
    impostors = estimated(drawn(20, 0.0, 1.4, rng))
    sample = PRIOR.mean + 1.4 * rng.normal(size=(1, 20))
    margins = np.array([[5.0]])
    effects = np.zeros(1)
    before = impostors.normalised(margins, effects, sample)
    sample[0, np.argsort(sample[0])[-2:]] = 9.0  # the two highest before, too
    assert impostors.normalised(margins, effects, sample) == pytest.approx(before)


def test_probe_whose_margins_spread_widely_is_scaled_down_and_no_other_up() -> None:
    rng = np.random.default_rng(5)
    impostors = estimated(drawn(50, 0.0, 1.4, rng))
    noise = 1.4 * rng.normal(size=(1, 50))
    sample = np.concatenate([PRIOR.mean + 3 * noise, PRIOR.mean + noise, PRIOR.mean + noise / 3])
    wide, usual, narrow = impostors.normalised(np.full((3, 1), 2.0), np.zeros(1), sample)[:, 0]
    assert wide < usual - 3.0 and narrow == pytest.approx(usual, abs=0.5)


def test_margins_of_pairs_are_not_normalised() -> None:
    margins = drawn(60, 0.0, 1.4, np.random.default_rng(6), own=1.5)
    impostors = estimated(margins)
    assert impostors.is_per_face and not impostors.for_pairs().is_per_face
    assert impostors.for_pairs().adjustment().scale > impostors.adjustment().scale
    assert not estimated(margins, replace(PRIOR, per_face=False)).is_per_face
