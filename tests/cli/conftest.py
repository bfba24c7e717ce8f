"""Running commands as a user does, in this process, with networks that are loaded once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gallery.cli.main import main


@dataclass(frozen=True)
class Ran:
    """What a command printed and its exit status."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def line(self) -> dict[str, Any]:
        (only,) = self.lines
        return only


Run = Callable[..., Ran]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def run(
    home: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Run `gallery --home HOME ...`, at another home where one is given, as a user does."""
    monkeypatch.setenv("GALLERY_CACHE", str(cache))
    monkeypatch.setenv("GALLERY_THREADS", "1")

    def run(*arguments: str | Path, at: Path | None = None) -> Ran:
        place = str(home if at is None else at)
        monkeypatch.setattr(sys, "argv", ["gallery", "--home", place, *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err
        status = ended.value.code
        assert isinstance(status, int | None)
        return Ran(status or 0, printed.out, printed.err)

    return run
