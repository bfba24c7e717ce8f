"""`guide`: the manual, by topic."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markdown import Markdown
from rich.table import Table

from gallery.cli.app import JsonOption, app
from gallery.cli.output import emit, out, show
from gallery.guide.topics import TOPICS, Topic, read_topic, read_topics


@app.command()
def guide(
    topic: Annotated[
        str | None,
        typer.Argument(metavar="[TOPIC]", help=f"One of: {', '.join(TOPICS)}.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the manual: the list of topics, or one topic.

    Example: `gallery guide first-steps`
    """
    topics = read_topics() if topic is None else [read_topic(topic)]
    if as_json:
        for page in topics:
            emit({"topic": page.name, "title": page.title, "text": page.text})
    elif topic is None:
        _show_list(topics)
    elif out.is_terminal:
        out.print(Markdown(topics[0].text), soft_wrap=False)
    else:
        typer.echo(topics[0].text, nl=False)


def _show_list(topics: list[Topic]) -> None:
    table = Table("topic", "what it covers", box=None, header_style="bold")
    for page in topics:
        table.add_row(page.name, page.title)
    show(table)
