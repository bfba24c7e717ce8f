"""Separate processes: what one enrols another sees; how the programs start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gallery import Gallery


def program(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    code = "from gallery.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_changes_of_another_process_are_seen_at_the_next_query(
    gallery: Gallery, hopper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GALLERY_CACHE", str(gallery.settings.cache))
    assert gallery.query(hopper).outcome == "unknown"
    home = gallery.settings.home
    assert program("--home", home, "enroll-identity", "Grace Hopper", hopper).returncode == 0
    decision = gallery.query(hopper)
    assert decision.identity is not None
    assert decision.identity.name == "Grace Hopper"
    assert program("--home", home, "identities", "forget", "1", "--yes").returncode == 0
    assert gallery.query(hopper).outcome == "unknown"


def test_importing_the_package_does_not_load_torch() -> None:
    code = (
        "import sys, gallery, gallery.cli.main;"
        " assert not {'torch', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_installed_programs_start() -> None:
    for name in ("gallery", "enroll-identity"):
        started = subprocess.run(
            [Path(sys.executable).with_name(name), "--help"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert "Usage" in started.stdout


def test_usage_errors_print_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for arguments in (["--home", tmp_path / "file", "check"], ["query"], ["quarry", "x.jpg"]):
        ended = program(*arguments)
        assert ended.returncode == 2
        assert "Traceback" not in ended.stderr
        assert ended.stderr.strip()
