"""Two writers and four readers at one gallery for some seconds; the module's own default is 60."""

from __future__ import annotations

from tests.faults.crowd import run


def test_nothing_is_lost_and_nothing_comes_back() -> None:
    assert "nothing lost" in run(6.0)
