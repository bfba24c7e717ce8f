"""The README names every command, option, setting and weight, and its examples run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer

from gallery.cli import run as _commands  # noqa: F401  adds the commands to the app
from gallery.cli.app import app
from gallery.config import Settings
from gallery.encoders.weights import ALL_WEIGHTS
from gallery.errors import GalleryError
from gallery.package_data import CARD_FILE, shipped_file

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


ALL_COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("name", ALL_COMMANDS)
def test_every_command_is_documented(name: str) -> None:
    assert f"`{name}" in README
    assert "Example" in (ALL_COMMANDS[name].help or "")


@pytest.mark.parametrize("name", ALL_COMMANDS)
def test_every_option_is_documented_and_explained(name: str) -> None:
    options = [p for p in ALL_COMMANDS[name].params if p.param_type_name == "option"]
    assert "--json" in {option.opts[0] for option in options}
    for option in options:
        assert option.opts[0] in README, f"{option.opts[0]} of {name}"
        assert getattr(option, "help", None), f"{option.opts[0]} of {name} has no help"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented(name: str) -> None:
    row = re.search(rf"^\| `GALLERY_{name.upper()}` \| (.*?) \|", README, re.MULTILINE)
    assert row, name
    default = Settings.model_fields[name].default
    if isinstance(default, bool):
        assert row[1] == f"`{str(default).lower()}`"
    elif isinstance(default, int | float):
        assert float(row[1].strip("`")) == float(default)


def test_every_weight_is_listed_with_its_licence() -> None:
    for source in ALL_WEIGHTS:
        assert source.distribution in README
        assert source.licence.split(" ")[0] in README


def test_every_error_is_in_the_tree() -> None:
    import gallery.errors

    tree = gallery.errors.__doc__ or ""

    def below(kind: type) -> Iterator[type]:
        for child in kind.__subclasses__():
            yield child
            yield from below(child)

    assert [kind.__name__ for kind in below(GalleryError) if kind.__name__ not in tree] == []


def test_the_shipped_head_was_trained_on_train_people_only() -> None:
    card = json.loads(shipped_file(CARD_FILE).read_text(encoding="utf-8"))
    assert card["source"]["part"] == "train"


def test_no_link_of_the_documents_is_dead() -> None:
    for document in ROOT.glob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (ROOT / target).exists(), f"{target} in {document.name}"
