"""The topics of the guide, in reading order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gallery.errors import SettingInvalid

FOLDER = Path(__file__).parent

TOPICS = (
    "first-steps",
    "commands",
    "output",
    "python",
    "http-api",
    "page",
    "settings",
    "accuracy",
    "dedupe",
    "encoders",
    "privacy",
    "operations",
)


@dataclass(frozen=True)
class Topic:
    """A page of the guide. title : its first heading.  text : Markdown, with that heading."""

    name: str
    title: str
    text: str


def read_topic(name: str) -> Topic:
    """Return one page of the guide. Raises SettingInvalid, which names the topics."""
    if name not in TOPICS:
        raise SettingInvalid(f"the guide has no topic {name!r}; topics: {', '.join(TOPICS)}")
    text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    return Topic(name, text.partition("\n")[0].removeprefix("# "), text)


def read_topics() -> list[Topic]:
    """Return the whole guide, in reading order."""
    return [read_topic(name) for name in TOPICS]
