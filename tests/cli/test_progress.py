"""A long step is heard of: by a bar in a terminal, by lines elsewhere."""

from __future__ import annotations

import re
from time import sleep

import pytest

from gallery.cli import output


def test_long_step_is_heard_of_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "_SAY_EVERY", 0.05)
    with output.progress("reading photos") as advance:
        for done in range(1, 8):
            sleep(0.02)
            advance(done, 1_200_000)
    lines = capsys.readouterr().err.splitlines()
    assert 1 <= len(lines) < 7
    said = r"reading photos: \d of 1,200,000, \d+\.\d/s, \d+:\d\d:\d\d left"
    assert all(re.fullmatch(said, line) for line in lines), lines


def test_short_step_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with output.progress("reading photos") as advance:
        advance(1, 2)
        advance(2, 2)
    assert capsys.readouterr().err == ""
