"""Two writers and four readers on one gallery for six seconds; the module's default is 60."""

from __future__ import annotations

from tests.faults.crowd import run


def test_concurrent_writers_lose_nothing() -> None:
    assert "nothing lost" in run(6.0)
