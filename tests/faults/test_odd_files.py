"""Every odd file, thing and ape: a typed error or an honest answer, and nothing half-enrolled."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gallery.types import EnrolOutcome, Outcome

LIMIT_KIB = 2 * 1024 * 1024


@pytest.mark.parametrize("folder", ["odd", "noface", "noface_primates"])
def test_nothing_odd_gets_through(
    tmp_path: Path, cache: Path, shared_faces: Path, folder: str
) -> None:
    # In a process of its own, whose memory is not that of other tests.
    ran = subprocess.run(
        [sys.executable, "-m", "tests.faults.odd_files", tmp_path / "home", cache,
         shared_faces / folder],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=600,
        check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["files"] and found["problems"] == []
    enrolled = [name for name, outcome, _ in found["files"] if outcome == EnrolOutcome.ENROLLED]
    assert found["faces"] == len(enrolled)
    if folder != "odd":
        assert {answer for _, _, answer in found["files"]} == {Outcome.NO_FACE}
    assert found["peak_kib"] < LIMIT_KIB
