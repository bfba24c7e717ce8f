"""What commands print: JSON lines for programs, Rich for people, progress on stderr."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, time, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape

from gallery.names import printable

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

    from gallery.store.records import IdentityRecord, Receipt


_TABLE_WIDTH = 1_000

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def emit(value: Any) -> None:
    """Print a JSON value on one line and flush it, since programs wait for it."""
    typer.echo(printable(json.dumps(value, ensure_ascii=False)))


def say(text: str, style: str = "", console: Console = out) -> None:
    """Print a line for a person. Markup in the text is printed as it is."""
    console.print(escape(printable(text)), style=style)


def on_one_line(text: str) -> str:
    """Escape line breaks and other control characters, which file names may have."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def show(table: Table) -> None:
    """Print a table at its full width: a truncated cell is of no use in a file or a pipe."""
    Console(width=_TABLE_WIDTH, highlight=False).print(table)


def with_options(text: str) -> str:
    """Name the options as the command line does: the library says "use force" to programs, too."""
    text = re.sub(r"\buse (force|new)\b", r"use --\1", text)
    return text.replace("enrol it as distinct", "enrol it with --distinct")


def complain(reason: str) -> None:
    """Print an error message on stderr."""
    err.print(f"[bold red]error:[/] {escape(printable(with_options(reason)))}")


def note(text: str) -> None:
    """Print a remark on stderr, so that it is in nobody's JSON."""
    err.print(escape(printable(with_options(text))), style="yellow")


def count(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: "1 face", "2 faces"."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def percent(value: float | None) -> str:
    """A share as a percentage with one decimal, 100% only for all of it; empty for None."""
    if value is None:
        return ""
    return "100%" if value >= 1.0 else f"{min(value, 0.999):.1%}"


def certainty(probability: float | None) -> str:
    """A probability as a percentage: never 100%, because no decision is certain."""
    return percent(None if probability is None else min(probability, 0.999))


def show_receipt(receipt: Receipt, as_json: bool, name: str | None = None) -> None:
    """Print what was erased, and where copies may remain. name : the identity's, to print too."""
    from gallery.json_forms.to_json import receipt_json

    if as_json:
        emit(receipt_json(receipt))
        return
    identity = f"id {receipt.identity_id}"
    if name is not None:
        identity = f"{name} ({identity})"
    erased = count(receipt.faces, "face")
    erased = f"{identity} and {erased}" if receipt.whole else f"{erased} of {identity}"
    files = count(receipt.searched_files, "file")
    say(f"erased {erased}; no trace in {files} of the gallery and its cache")
    if receipt.whole:
        say("    photos in your own folders stay, and enrolling them brings the person back", "dim")
    for learned in receipt.learned:
        say(f"    {learned}", "yellow")
    for backup in receipt.backups:
        made = f"{backup.created_at:%Y-%m-%d %H:%M}"
        state = "still contains it" if backup.made else "was not completed, but may contain it"
        say(f"    backup {backup.id} of {made} UTC {state}: delete that file", "yellow")
    if receipt.backups:
        ids = " ".join(f"--forget {number}" for number in (receipt.identity_id, *receipt.also))
        say(f"    or restore it with {ids}", "yellow")
    if receipt.too_plain:
        texts = count(receipt.too_plain, "text")
        say(f"    not searched for, because too short or only a number: {texts}", "dim")
    say(f"    receipt {receipt.id}", "dim")


def saved_plans(number: int) -> str:
    """What erasing deletes beside the person: "2 saved dedupe plans"."""
    return count(number, "saved dedupe plan")


def say_expiry(record: IdentityRecord) -> None:
    """Print when an identity is to be erased."""
    due = record.expires_at
    if due is None:
        say(f"{record.name} does not expire")
    elif due <= datetime.now(UTC):
        say(
            f"{record.name} has expired: the next `gallery expire`, or a running server within a"
            " minute, erases the person for good",
            "yellow",
        )
    else:
        date = f"{due:%Y-%m-%d}" if due.time() == time() else f"{due:%Y-%m-%d at %H:%M} UTC"
        say(f"{record.name} expires on {date} and is erased from then on")


_SAY_EVERY = 60.0
"""Without a terminal there is no bar, but a line every so many seconds."""


class ProgressBar:
    """Call it with (done, total) to move the bar, and with a new step to start the bar again."""

    def __init__(self, bar: Progress, step: str) -> None:
        self._bar = bar
        self._step = step
        self._task = bar.add_task(step, total=None, rate="")
        self._said_at = monotonic()

    def __call__(self, done: int, total: int, step: str | None = None) -> None:
        if step is not None and step != self._step:
            self._step = step
            self._bar.reset(self._task, description=step)
        task = self._bar.tasks[self._task]
        speed = task.finished_speed or task.speed
        rate = f"{speed:.1f}/s" if speed else ""
        self._bar.update(self._task, completed=done, total=total, rate=rate)
        if not err.is_terminal and monotonic() - self._said_at >= _SAY_EVERY:
            self._said_at = monotonic()
            left = task.time_remaining
            soon = f", {timedelta(seconds=round(left))} left" if left else ""
            note(f"{self._step}: {done:,} of {total:,}{f', {rate}' if rate else ''}{soon}")

    def step(self, step: str, done: int, total: int) -> None:
        """The same, in the argument order of the library's progress callbacks."""
        self(done, total, step)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hide the bar, so that a prompt can be shown."""
        self._bar.stop()
        try:
            yield
        finally:
            self._bar.start()


@contextmanager
def progress(step: str) -> Iterator[ProgressBar]:
    """Show a progress bar on stderr while a long step runs, or a line a minute if it is a file."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        yield ProgressBar(bar, step)
