"""`encoders`: which there are, on what terms, how fast, how good."""

from __future__ import annotations

import time
from typing import Annotated, Any

import numpy as np
import typer

from gallery.cli.app import JsonOption, app, open_beside
from gallery.cli.output import emit, say
from gallery.config import Settings, load_settings
from gallery.encoders.protocol import Network
from gallery.encoders.registry import KINDS, Spec
from gallery.errors import GalleryError, SettingInvalid

_ROUNDS = 5
_VIEWS = 2


@app.command()
def encoders(
    context: typer.Context,
    encoder: Annotated[
        list[str] | None,
        typer.Option(help="One to list as well, such as onnx:FILE; repeat it.", show_default=False),
    ] = None,
    fetch: Annotated[
        str | None,
        typer.Option(
            help="Fetch the published weights of facenet-vggface2 or facenet-casia, or (with the"
            " extra uniface) uniface-arcface-mnet or -resnet; shows the licence and asks first.",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Every encoder: numbers a face, licences, speed on this machine, what is known of accuracy.

    Those whose weights are not here say which file to bring. Nothing is fetched unless asked.

    Example: `gallery encoders --encoder onnx:model.onnx`
    """
    if fetch is not None:
        _fetch(load_settings(), fetch, yes=yes, as_json=as_json)
        return
    from gallery.encoders.registry import read_spec

    gallery, named = open_beside(context, None, None)
    with gallery:
        specs = [read_spec(kind) for kind in KINDS if kind != "onnx"]
        own = gallery.spec
        for extra in (own, named, *(read_spec(text) for text in encoder or ())):
            if extra is not None and extra not in specs:
                specs.append(extra)
        for spec in specs:
            found = _described(gallery.settings, spec) | {"in_use": spec == own}
            emit(found) if as_json else _show(found)


def _described(settings: Settings, spec: Spec) -> dict[str, Any]:
    """What is known of an encoder; what is wrong where it cannot be opened."""
    from gallery.encoders.encoder import pick_device
    from gallery.encoders.registry import open_network
    from gallery.errors import HeadUnusable
    from gallery.matching.head_files import find_head

    try:
        device = pick_device(settings.device)
        network = open_network(spec, settings.cache, device, settings.threads)
        seconds = _seconds(network)
    except GalleryError as error:
        return {"encoder": str(spec), "usable": False, "reason": str(error)}
    traits, template = network.traits, network.traits.template
    try:
        head: str | None = str(find_head(settings, traits))
    except HeadUnusable:
        head = None
    return {
        "encoder": traits.spec,
        "usable": True,
        "sha256": traits.sha256,
        "dimension": traits.dimension,
        "chip": [template.width, template.height],
        "milliseconds_a_query": round(1000 * seconds, 1),
        "licence_code": traits.licence_code,
        "licence_weights": traits.licence_weights,
        "accuracy": traits.accuracy,
        "head": head,
    }


def _seconds(network: Network) -> float:
    """That the views of a query's face take. Raises WeightsUnreadable when the model fails."""
    template = network.traits.template
    chips = np.random.default_rng(0).integers(
        0, 256, (_VIEWS, template.height, template.width, 3), dtype=np.uint8
    )
    network.raw(chips)  # the first is slower
    times = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        network.raw(chips)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def _show(found: dict[str, Any]) -> None:
    mark = "  (this gallery's)" if found["in_use"] else ""
    say(f"{found['encoder']}{mark}", "bold")
    if not found["usable"]:
        say(f"    not usable: {found['reason']}", "yellow")
        return
    say(
        f"    {found['dimension']} numbers a face, chips of {found['chip'][0]} x"
        f" {found['chip'][1]}, {found['milliseconds_a_query']} ms a query's face here"
    )
    say(f"    code: {found['licence_code']}")
    say(f"    weights: {found['licence_weights']}")
    say(f"    accuracy: {found['accuracy']}")
    say(f"    head: {found['head'] or 'none yet; `gallery train-head --encoder` makes one'}")


def _fetch(settings: Settings, name: str, *, yes: bool, as_json: bool) -> None:
    from gallery.encoders import download, facenet

    if name in facenet.PUBLISHED:
        published = facenet.PUBLISHED[name]
        licence, what = published.licence, f"{published.address} to {published.cached}"
    elif name in download.FETCHABLE:
        licence, what = download.FETCHABLE[name].licence, f"{name}, by the package uniface"
    else:
        known = ", ".join((*facenet.PUBLISHED, *download.FETCHABLE))
        raise SettingInvalid(f"{name!r} cannot be fetched; there are {known}")
    if not as_json:
        say(f"{what}; licence of the weights: {licence}")
    if not yes:
        typer.confirm("Fetch it?", abort=True)
    if name in facenet.PUBLISHED:
        file, spec = facenet.fetch(name), name
    else:
        file = download.fetch(name, settings.cache)
        spec = f"onnx:{file}"
    emit({"file": str(file), "encoder": spec, "licence_weights": licence}) if as_json else say(
        f"wrote {file}; use it as --encoder {spec}", "green"
    )
