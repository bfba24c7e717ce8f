"""The guide names every command, option, setting and weight."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gallery.cli.app import whole_program
from gallery.config import Settings
from gallery.encoders.built_in import TRAITS
from gallery.encoders.weights import ALL_WEIGHTS, MOBILEFACENET
from gallery.errors import GalleryError
from gallery.guide.topics import read_topic
from gallery.package_data import CARD_FILE, shipped_file
from tests.docs.generate import commands

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS_PAGE = read_topic("commands").text
SETTINGS_PAGE = read_topic("settings").text
ALL_COMMANDS = dict(commands(whole_program()))


def section(name: str) -> str:
    """The section of one command, without the next heading."""
    return COMMANDS_PAGE.partition(f"## `{name}`\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("name", ALL_COMMANDS)
def test_every_command_is_documented(name: str) -> None:
    assert "Example" in section(name)


@pytest.mark.parametrize("name", ALL_COMMANDS)
def test_every_option_is_documented_and_explained(name: str) -> None:
    options = [p for p in ALL_COMMANDS[name].params if p.param_type_name == "option"]
    assert "--json" in {option.opts[0] for option in options}
    for option in options:
        assert option.help, f"{option.opts[0]} of {name} has no help"
        if option.opts[0] != "--json":
            everywhere = option.rich_help_panel == "Gallery"  # documented once, above the commands
            text = COMMANDS_PAGE.partition("\n## ")[0] if everywhere else section(name)
            assert f"| `{option.opts[0]}" in text


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented(name: str) -> None:
    row = re.search(
        rf"^\| `GALLERY_{name.upper()}` \| (.*?) \| .*? \| (.+) \|$", SETTINGS_PAGE, re.MULTILINE
    )
    assert row, name
    assert row[2].endswith(".")
    default = Settings.model_fields[name].default
    if isinstance(default, bool):
        assert row[1] == f"`{str(default).lower()}`"
    elif isinstance(default, int | float):
        assert float(row[1].strip("`")) == float(default)


def test_every_weight_is_listed_with_its_licence() -> None:
    for source in ALL_WEIGHTS:
        assert source.distribution in README
        assert source.licence.split(" ")[0] in README
    assert MOBILEFACENET.package in README


def test_every_error_is_in_the_tree() -> None:
    import gallery.errors

    tree = gallery.errors.__doc__ or ""

    def below(kind: type) -> Iterator[type]:
        for child in kind.__subclasses__():
            yield child
            yield from below(child)

    assert [kind.__name__ for kind in below(GalleryError) if kind.__name__ not in tree] == []


@pytest.mark.parametrize("encoder", TRAITS)
def test_the_shipped_heads_were_trained_on_train_people_only(encoder: str) -> None:
    card = json.loads(shipped_file(f"{encoder}/{CARD_FILE}").read_text(encoding="utf-8"))
    assert card["source"]["part"] == "train"
    assert card["encoder"]["name"] == encoder
    assert not any("/" in file for file in card["source"].get("errata", {}).get("files", ()))
