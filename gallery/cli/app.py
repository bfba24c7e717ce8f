"""The program, and the options that every command takes."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from gallery.cli.command_list import PANELS
from gallery.cli.command_names import meant

if TYPE_CHECKING:
    from gallery.types import Several

_SUMMARY = "Which enrolled person is in this photo? Exactly one, or none."
_GLOBAL_OPTIONS: dict[str, Callable[[str], object]] = {
    "home": Path,
    "encoder": str,
    "weights": Path,
}


_WITHOUT_GALLERY = ("demo", "guide")
"""Commands that ignore the options of a gallery, so that their help leaves these out."""


_Function = TypeVar("_Function", bound=Callable[..., Any])


class Command(TyperCommand):
    """A command whose usage writes arguments as their metavar does: PHOTO..., [FOLDER]."""

    def collect_usage_pieces(self, _ctx: Any) -> list[str]:
        pieces = []
        for parameter in self.params:
            if parameter.param_type_name == "argument":
                name = parameter.metavar or parameter.name.upper()
                is_marked = parameter.required or name.startswith("[")
                pieces.append(name if is_marked else f"[{name}]")
        return [self.options_metavar or "", *pieces]

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_flag_types(super().get_params(ctx))


class Group(TyperGroup):
    """A group of commands. Of a command that it does not have, it says which one was meant."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_flag_types(super().get_params(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        word = args[0]
        if word not in self.commands and not ctx.resilient_parsing and not word.startswith("-"):
            group = ctx.command_path.partition(" ")[2]
            known = meant(word, sorted(_full_names(ctx.find_root().command)), group)
            hint = f" Did you mean {' or '.join(f'`gallery {name}`' for name in known)}?"
            lists = f" `{ctx.command_path} --help` lists the commands."
            ctx.fail(f"No such command {word!r}.{hint if known else lists}")
        return super().resolve_command(ctx, args)


def _full_names(group: Any, path: str = "") -> Iterator[str]:
    """Yield every command below a group by its full name, such as "identities show"."""
    for name, command in group.commands.items():
        yield f"{path}{name}"
        yield from _full_names(command, f"{path}{name} ") if hasattr(command, "commands") else ()


def _without_flag_types(parameters: list[Any]) -> list[Any]:
    """Let help leave out <bool> after every flag."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters


class Commands(typer.Typer):
    """A Typer whose commands and groups are those above."""

    def __init__(self, *, cls: type[TyperGroup] = Group, **settings: Any) -> None:
        super().__init__(cls=cls, rich_markup_mode="markdown", **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[_Function], _Function]:
        """Add a command. settings : as of typer.Typer.command."""
        return super().command(name, cls=Command, **settings)


class Program(Group):
    """The root group. Its options may stand behind a command as well as before it.

    A command with an --encoder of its own (`train-head`, `re-encode`, `encoders`) keeps it. Of a
    command whose module is not imported yet, only the line in the help is here.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        options = [option for option in self.params if option.name in _GLOBAL_OPTIONS]
        imported, self.commands = self.commands, {}
        for panel, commands in PANELS.items():
            for name, (_, line) in commands.items():
                command: Any = imported.get(name) or Command(name, help=line)
                command.rich_help_panel = panel
                _accept(command, options, hidden=name in _WITHOUT_GALLERY)
                self.commands[name] = command

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        # A word that is not a command may be meant as one of any group.
        import_commands(args[:1] if args[0] in self.commands else self.commands)
        self.commands = get_group(app).commands
        return super().resolve_command(ctx, args)


def whole_program() -> Any:
    """The root group with every command and its options, as documentation needs it."""
    import_commands(name for panel in PANELS.values() for name in panel)
    return get_command(app)


def import_commands(names: Iterable[str]) -> None:
    """Import the modules of these commands, which adds the commands to `app`."""
    modules = {name: module for panel in PANELS.values() for name, (module, _) in panel.items()}
    needed = {f"gallery.cli.{modules[name]}" for name in names} - sys.modules.keys()
    gc.disable()  # nothing imported is garbage; looking for it takes a tenth of the time
    try:
        for module in needed:
            import_module(module)
    finally:
        gc.enable()
    if needed:
        gc.freeze()  # nor need it be looked at later


def _accept(command: Any, options: Sequence[Any], *, hidden: bool) -> None:
    """Let a command or group, and every command below it, take these options."""
    has_encoder = any(option.name == "encoder" for option in command.params)
    for option in options:
        if has_encoder and option.name != "home":
            continue
        behind = copy(option)
        behind.expose_value = False
        behind.callback = _store
        behind.rich_help_panel = "Gallery"
        behind.hidden = hidden
        command.params.append(behind)
    for subcommand in getattr(command, "commands", {}).values():
        _accept(subcommand, options, hidden=hidden)


def _store(context: Any, option: Any, value: Any) -> None:
    """The callback of an option that stands behind a command."""
    if value is not None and context.obj is not None:
        convert = _GLOBAL_OPTIONS[option.name]
        context.obj = replace(context.obj, **{option.name: convert(value)})


app = Commands(
    cls=Program,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=_SUMMARY,
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]
LargestOption = Annotated[
    bool, typer.Option("--largest", help="Use the largest face if a photo has several.")
]
NewOption = Annotated[
    bool,
    typer.Option(
        "--new",
        help="A name that differs from an enrolled one only in case, accents, spaces, hyphens or"
        " underscores is another person's.",
    ),
]
TakenOption = Annotated[
    str | None,
    typer.Option(
        "--taken",
        metavar="DATE",
        help="When the photos were taken: 1998, 1998-07 or 1998-07-14. Default: their EXIF dates.",
        show_default=False,
    ),
]


def several(largest: bool) -> Several:
    """The rule for photos with several faces that --largest selects."""
    from gallery.types import Several

    return Several.LARGEST if largest else Several.REFUSE


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"gallery {version('face-gallery')}")
        raise typer.Exit


@dataclass(frozen=True)
class GlobalOptions:
    """The values of --home, --encoder and --weights."""

    home: Path | None
    encoder: str | None
    weights: Path | None

    @property
    def spec(self) -> str | None:
        """Encoder and weights in one, in the form of GALLERY_ENCODER. Raises SettingInvalid."""
        from gallery.encoders.registry import read_spec
        from gallery.errors import SettingInvalid

        if self.encoder is None:
            if self.weights is not None:
                raise SettingInvalid("--weights needs --encoder; name the encoder too")
            return None
        return str(read_spec(self.encoder, self.weights))


ENCODER_HELP = (
    "mobilefacenet, dlib-resnet, facenet-vggface2, facenet-casia, or onnx:FILE (`gallery encoders`"
    " lists them)."
)
WEIGHTS_HELP = "Weights file, for an encoder that ships without weights."


@app.callback()
def global_options(
    context: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option(
            "--home",
            help="Folder of the gallery. Default: GALLERY_HOME, else the platform's data folder.",
            show_default=False,
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            help=f"{ENCODER_HELP} Default: GALLERY_ENCODER, else the gallery's encoder.",
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
    """Which enrolled person is in this photo? Exactly one, or none."""
    context.obj = GlobalOptions(home, encoder, weights)
