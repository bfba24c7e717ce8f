"""`serve`: the gallery over HTTP."""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Annotated

import typer

from gallery.cli.app import JsonOption, Where, app
from gallery.cli.output import emit, say
from gallery.errors import SettingInvalid
from gallery.gallery import Gallery
from gallery.store import api_keys

_CONNECTIONS = 1_000  # far more than requests are worked on at once
_BACKLOG = 2_048
_GRACE = 10  # seconds for what is under way when it is told to end


@app.command()
def serve(
    context: typer.Context,
    host: Annotated[
        str | None,
        typer.Option(
            help="The address to listen on; else GALLERY_HOST, else 127.0.0.1.", show_default=False
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help="The port to listen on; else GALLERY_PORT, else 8000.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            help="Photos to work on at once; else GALLERY_WORKERS, else 2.",
            show_default=False,
        ),
    ] = None,
    thumbnails: Annotated[
        bool | None,
        typer.Option(
            "--thumbnails/--no-thumbnails",
            help="Keep a small picture of each face enrolled from now on, so that the page can show"
            " who decided; else GALLERY_THUMBNAILS, else not.",
            show_default=False,
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure", help="Listen beyond this machine without a key: anyone may ask."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Answer over HTTP until it is stopped: a page at /, and /v1.

    Without a key (`gallery keys create`) it listens on this machine alone, and answers no web page
    of another address. It logs requests to stderr, a JSON object each, without names.

    Example: `gallery serve`, then `curl -F photo=@unknown.jpg http://127.0.0.1:8000/v1/query`
    """
    import torch
    import uvicorn

    from gallery.api.app import create_app, warm_up
    from gallery.api.limits import impatient
    from gallery.api.same_origin import LOOPBACK

    # uvicorn ends what is under way and then sends itself the signal again: close the gallery.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    given = {"host": host, "port": port, "workers": workers, "thumbnails": thumbnails}
    where: Where = context.obj
    with Gallery.open(where.home, encoder=where.spec, **given) as gallery:
        settings = gallery.settings
        loopback = settings.host in LOOPBACK
        with gallery.database.reading() as session:
            locked, in_force = bool(api_keys.list_all(session)), bool(api_keys.live(session))
        if not (loopback or locked or insecure):
            raise SettingInvalid(
                f"--host {settings.host} is beyond this machine, and there are no keys: anyone who"
                " reaches it could ask and erase; make one with `gallery keys create`, or add"
                " --insecure"
            )
        warm_up(gallery)
        if not settings.threads:  # several photos at once, each on its share of the cores
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // settings.workers))
        served = create_app(gallery, loopback=loopback, open_without_keys=loopback or insecure)
        served.state.ready = True
        with _listening(settings.host, settings.port) as listening:
            name = f"[{settings.host}]" if ":" in settings.host else settings.host
            url = f"http://{name}:{settings.port}"
            if as_json:
                emit({"url": url, "keys": locked})
            else:
                asked = "a key is needed" if locked else "no key is needed"
                if locked and not in_force:
                    asked += ", and none is in force: make one with `gallery keys create`"
                say(f"listening on {url}, {asked}; Ctrl-C ends it", "green")
            config = uvicorn.Config(
                served,
                http=impatient(settings.api_seconds),
                log_level="critical",
                server_header=False,
                limit_concurrency=_CONNECTIONS,
                timeout_graceful_shutdown=_GRACE,
            )
            uvicorn.Server(config).run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    """Raises SettingInvalid when something else listens there, or it is no address of this host."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise SettingInvalid(
            f"cannot listen on {host}, port {port}: {error.strerror}; choose another with --port or"
            " --host, or stop what listens there"
        ) from error
