"""Open the gallery that --home names."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import typer
from rich.markup import escape

from gallery.cli.app import GlobalOptions
from gallery.cli.output import err
from gallery.config import DATABASE_FILE, load_settings
from gallery.encoders.registry import Spec, read_spec
from gallery.encoders.weights import DLIB_RESNET, MOBILEFACENET
from gallery.errors import HomeUnusable
from gallery.gallery import Gallery
from gallery.names import printable


def open_gallery(context: typer.Context) -> Gallery:
    """Open the gallery at --home with the encoder named by --encoder, else its own.

    A gallery that is created, or cannot be written to, is announced on stderr.
    """
    given: GlobalOptions = context.obj
    settings = load_settings(home=given.home, encoder=given.spec)
    is_new = not has_gallery(settings.home)
    gallery = Gallery(settings)
    if is_new:
        err.print(f"[dim]created a gallery in {escape(printable(str(settings.home)))}[/]")
    if gallery.database.read_only is not None:
        reason = escape(printable(gallery.database.read_only))
        err.print(f"[yellow]nothing can be written to this gallery, only read:[/] {reason}")
    return gallery


def open_existing(context: typer.Context) -> Gallery:
    """Open the gallery at --home as `open_gallery` does. Raises HomeUnusable if there is none."""
    home = load_settings(home=context.obj.home, encoder=context.obj.spec).home
    if not has_gallery(home):
        raise HomeUnusable(
            f"there is no gallery in {home}; {_near_home(home)}`gallery enroll-identity` creates"
            " one"
        )
    return open_gallery(context)


def has_gallery(home: Path) -> bool:
    """Whether there is a gallery in this folder."""
    return (home / DATABASE_FILE).exists()


def _near_home(home: Path) -> str:
    """A gallery beside a home that does not exist, if its name is like it: "did you mean ...?"."""
    with suppress(OSError):
        beside = [folder.name for folder in home.parent.iterdir() if has_gallery(folder)]
        for near in get_close_matches(home.name, beside, n=1):
            return f"did you mean {home.parent / near}? "
    return ""


def advise_on_encoder(gallery: Gallery) -> None:
    """Before a first enrolment say, on stderr, if a better encoder could be fetched."""
    if (
        gallery.is_new
        and gallery.settings.encoder is None
        and gallery.spec.kind == DLIB_RESNET.name
    ):
        better = MOBILEFACENET.name
        err.print(
            f"this gallery uses the encoder {DLIB_RESNET.name}; {better} finds more people: run"
            f" `gallery encoders --fetch {better}`, then `gallery re-encode --encoder {better}`",
            style="yellow",
        )


def open_with_encoder(
    context: typer.Context, encoder: str | None, weights: Path | None
) -> tuple[Gallery, Spec | None]:
    """Open the gallery at --home with its own encoder; also return the encoder that was named."""
    given: GlobalOptions = context.obj
    if encoder is not None or weights is not None:
        given = replace(given, encoder=encoder, weights=weights)
    settings = load_settings(home=given.home)
    named = settings.encoder if given.spec is None else given.spec
    spec = None if named is None else read_spec(named)
    return Gallery(settings.model_copy(update={"encoder": None})), spec
