"""The program, and the options that stand before its commands."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from gallery.config import load_settings
from gallery.encoders.registry import Spec, read_spec
from gallery.errors import SettingInvalid
from gallery.gallery import Gallery
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


@dataclass(frozen=True)
class Where:
    """What stands before the command: the gallery's home, and its encoder."""

    home: Path | None
    encoder: str | None
    weights: Path | None

    @property
    def spec(self) -> str | None:
        """Both in one, as GALLERY_ENCODER has it. Raises SettingInvalid."""
        if self.encoder is None:
            if self.weights is not None:
                raise SettingInvalid("--weights belongs to --encoder; name the encoder too")
            return None
        return str(read_spec(self.encoder, self.weights))


ENCODER_HELP = (
    "dlib-resnet, facenet-vggface2, facenet-casia, or onnx:FILE (`gallery encoders` lists them)."
)
WEIGHTS_HELP = "The file of weights of an encoder that comes without."


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
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            help=f"{ENCODER_HELP} Else GALLERY_ENCODER, else the gallery's own.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help=WEIGHTS_HELP, show_default=False)
    ] = None,
    _show: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Who is this photo: exactly one person we know, or nobody?"""
    context.obj = Where(home, encoder, weights)


def open_gallery(context: typer.Context) -> Gallery:
    """The gallery of --home, with the encoder that was named, or its own."""
    where: Where = context.obj
    return Gallery.open(where.home, encoder=where.spec)


def open_beside(
    context: typer.Context, encoder: str | None, weights: Path | None
) -> tuple[Gallery, Spec | None]:
    """The gallery of --home with its own encoder, and the one that was named for something else."""
    where: Where = context.obj
    if encoder is None and weights is None:
        encoder, weights = where.encoder, where.weights
    named = Where(where.home, encoder, weights).spec
    settings = load_settings(home=where.home)
    if named is None:
        named = settings.encoder
    spec = None if named is None else read_spec(named)
    return Gallery(settings.model_copy(update={"encoder": None})), spec
