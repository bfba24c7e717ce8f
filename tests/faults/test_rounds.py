"""Some seeded rounds of kills; `python -m tests.faults.rounds` runs many more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROUNDS = 40


@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_gallery_loses_nothing_it_acknowledged(seed: int) -> None:
    # In a separate process, which has no threads when it forks.
    ran = subprocess.run(
        [sys.executable, "-m", "tests.faults.rounds", "--rounds", str(ROUNDS), "--seed", str(seed)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{ROUNDS} rounds, seed {seed}: nothing acknowledged was lost" in ran.stdout
