"""`serve`: the gallery over HTTP."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated

import typer

from gallery.cli.app import JsonOption, app, open_gallery
from gallery.cli.output import emit, say
from gallery.errors import SettingInvalid


@app.command()
def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")] = 8000,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen beyond this machine, where anyone may ask.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Answer over HTTP until it is stopped: /v1/query, /v1/compare, /v1/identities.

    Listens on this machine alone, and answers no web page of another address.

    Example: `gallery serve`, then `curl -F photo=@unknown.jpg http://127.0.0.1:8000/v1/query`
    """
    import torch
    import uvicorn

    from gallery.api.app import create_app, warm_up
    from gallery.api.guard import LOOPBACK

    loopback = host in LOOPBACK
    if not loopback and not insecure:
        raise SettingInvalid(
            f"--host {host} is beyond this machine, and there are no keys: anyone who reaches it"
            " could ask and erase; listen on 127.0.0.1 behind a proxy that asks for a password, or"
            " add --insecure"
        )
    # uvicorn ends what is under way and then sends itself the signal again: close the gallery.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with open_gallery(context) as gallery:
        settings = gallery.settings
        warm_up(gallery)
        if not settings.threads:  # several photos at once, each on its share of the cores
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // settings.api_threads))
        served = create_app(gallery, loopback=loopback)
        served.state.ready = True
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        if as_json:
            emit({"url": url})
        else:
            say(f"listening on {url}, API at {url}/v1/openapi.json; Ctrl-C ends it", "green")
        uvicorn.run(served, host=host, port=port, log_level="warning", server_header=False)
