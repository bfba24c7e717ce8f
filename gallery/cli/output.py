"""What the commands print: JSON lines for programs, Rich for people, progress on stderr."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from gallery.names import printable

FOUND, NONE, ERROR = 0, 1, 2
"""Exit statuses: a match (or success), none, an error."""

_WIDEST = 1_000

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def emit(value: Any) -> None:
    """One JSON value on one line, flushed, since programs wait for it."""
    typer.echo(printable(json.dumps(value, ensure_ascii=False)))


def say(text: str, style: str = "") -> None:
    """A line for a person; what is in the text is not markup."""
    out.print(escape(printable(text)), style=style)


def show(table: Table) -> None:
    """A table, as wide as it needs to be: what is cut off is of no use in a file or a pipe."""
    Console(width=_WIDEST, highlight=False).print(table)


def complain(reason: str) -> None:
    """An error for a person, on stderr."""
    err.print(f"[bold red]error:[/] {escape(printable(reason))}")


def count(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def percent(value: float | None) -> str:
    """A probability as people read it."""
    if value is None:
        return ""
    return "100%" if value > 0.9995 else f"{value:.1%}"


class Advance(Protocol):
    """Tells a bar what is done of what there is to do; another `what` begins it anew."""

    def __call__(self, done: int, total: int, what: str = ...) -> None: ...


@contextmanager
def progress(description: str) -> Iterator[Advance]:
    """A bar on stderr while something long runs; yields advance(done, total, what)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(description, total=None, rate="")

        def advance(done: int, total: int, what: str = description) -> None:
            if bar.tasks[task].description != what:
                bar.reset(task, description=what)
            speed = bar.tasks[task].finished_speed or bar.tasks[task].speed
            rate = f"{speed:.1f}/s" if speed else ""
            bar.update(task, completed=done, total=total, rate=rate)

        yield advance
