"""The program, and the options that stand before its commands."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from gallery.assembly import Gallery
from gallery.types import Several

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Who is this photo: exactly one person we know, or nobody?",
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
LargestOption = Annotated[
    bool, typer.Option("--largest", help="Of several faces take the largest.")
]


def several(largest: bool) -> Several:
    """What --largest means."""
    return Several.LARGEST if largest else Several.REFUSE


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gallery {version('face-gallery')}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option(
            "--home",
            help="Folder of the gallery; else GALLERY_HOME, else the platform's data folder.",
            show_default=False,
        ),
    ] = None,
    _show: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Who is this photo: exactly one person we know, or nobody?"""
    context.obj = home


def open_gallery(context: typer.Context) -> Gallery:
    """The gallery of --home."""
    return Gallery.open(context.obj)
