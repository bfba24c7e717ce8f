"""Odd files, objects and apes: a typed error or a correct answer, and no partial enrolment."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gallery.types import EnrolOutcome, Outcome

LIMIT_KIB = 2 * 1024 * 1024


@pytest.mark.parametrize(
    ("folder", "part", "parts"),
    [*(("odd", part, 4) for part in range(4)), ("noface", 0, 1), ("noface_primates", 0, 1)],
)
def test_odd_files_are_refused_or_answered(
    tmp_path: Path, cache: Path, shared_faces: Path, folder: str, part: int, parts: int
) -> None:
    # In a separate process, to measure its memory alone.
    ran = subprocess.run(
        [sys.executable, "-m", "tests.faults.odd_files", tmp_path / "home", cache,
         shared_faces / folder, str(part), str(parts)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=600,
        check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert report["files"] and report["problems"] == []
    enrolled = [name for name, outcome, _ in report["files"] if outcome == EnrolOutcome.ENROLLED]
    assert report["faces"] == len(enrolled)
    if folder != "odd":
        assert {answer for _, _, answer in report["files"]} == {Outcome.NO_FACE}
    assert report["peak_kib"] < LIMIT_KIB
