"""A command imports what it needs and nothing else; `gallery --help` imports no command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gallery.cli.app import whole_program
from gallery.cli.command_list import PANELS
from tests.cli.conftest import Run

LISTING = """
import sys
from gallery.cli.main import main
try:
    main()
finally:
    print(*{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
"""
SLOW = {"alembic", "fastapi", "httpx", "matplotlib", "sklearn", "torch", "torchvision"}
NETWORKS = {"faiss", "onnxruntime", "PIL", "scipy"}


def imported(cache: Path, *arguments: str | Path) -> set[str]:
    """The packages that a command has imported when it ends with exit status 0."""
    command = [sys.executable, "-c", LISTING, *map(str, arguments)]
    environment = {**os.environ, "GALLERY_CACHE": str(cache), "GALLERY_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


def test_help_imports_no_command(cache: Path) -> None:
    packages = imported(cache, "--help")
    assert "rich" in packages
    assert not packages & (SLOW | NETWORKS | {"numpy", "pydantic_settings", "sqlalchemy"})


def test_listing_imports_nothing_that_looks_at_photos(two: Run, home: Path, cache: Path) -> None:
    packages = imported(cache, "--home", home, "identities", "list")
    assert "sqlalchemy" in packages
    assert not packages & (SLOW | NETWORKS)


@pytest.mark.networks
def test_a_query_imports_nothing_to_train_or_serve(
    two: Run, home: Path, cache: Path, hopper: Path
) -> None:
    packages = imported(cache, "--home", home, "query", hopper)
    assert "onnxruntime" in packages
    assert not packages & (SLOW | {"facenet_pytorch", "scipy"})


def test_the_list_of_commands_is_that_of_their_modules() -> None:
    commands = whole_program().commands
    listed = {name: line for panel in PANELS.values() for name, (_, line) in panel.items()}
    assert list(commands) == list(listed)
    for name, command in commands.items():
        assert " ".join(command.help.split("\n\n")[0].split()) == listed[name]
        assert command.params, f"{name} is not in the module that the list names"
