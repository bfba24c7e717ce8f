"""`serve`: the HTTP API and the web page."""

from __future__ import annotations

import signal
import socket
import sys
from typing import Annotated

import typer

from gallery.cli.app import GlobalOptions, JsonOption, app
from gallery.cli.opening import advise_on_encoder
from gallery.cli.output import emit, err, say
from gallery.errors import SettingInvalid
from gallery.gallery import Gallery
from gallery.store import api_keys

_CONNECTIONS = 1_000  # far more than the requests processed at once
_BACKLOG = 2_048
_SHUTDOWN_SECONDS = 10  # for requests in progress


@app.command()
def serve(
    context: typer.Context,
    host: Annotated[
        str | None,
        typer.Option(
            help="Address to listen on. Default: GALLERY_HOST, else 127.0.0.1.", show_default=False
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help="Port to listen on. Default: GALLERY_PORT, else 8000.",
            show_default=False,
        ),
    ] = None,
    root_path: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Path that a proxy serves this below, such as /faces. Default: GALLERY_ROOT_PATH,"
            " else none.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            help="Photos to process at once. Default: GALLERY_WORKERS, else 2.",
            show_default=False,
        ),
    ] = None,
    thumbnails: Annotated[
        bool | None,
        typer.Option(
            "--thumbnails/--no-thumbnails",
            help="Keep a thumbnail of each face enrolled from now on, so that the web page can show"
            " the face that a decision rests on. Default: GALLERY_THUMBNAILS, else off.",
            show_default=False,
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Accept connections from other machines without a key."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Serve the HTTP API at /v1 and a web page at / until stopped.

    Without API keys (`gallery keys create`) it listens on this machine only, and rejects requests
    from other web sites. It logs each request to stderr as a JSON object, without names.

    Example: `gallery serve`, then `curl -F photo=@unknown.jpg http://127.0.0.1:8000/v1/query`
    """
    import uvicorn

    from gallery.api.app import create_app, warm_up
    from gallery.api.limits import timed_http_protocol
    from gallery.api.same_origin import LOOPBACK

    # uvicorn finishes its requests, then sends itself the signal again: close the gallery then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    options: GlobalOptions = context.obj
    given = {"host": host, "port": port, "root_path": root_path}
    given |= {"workers": workers, "thumbnails": thumbnails}
    with Gallery.open(options.home, encoder=options.spec, **given) as gallery:
        settings = gallery.settings
        loopback = settings.host in LOOPBACK
        with gallery.database.reading() as session:
            has_keys = bool(api_keys.list_all(session))
            has_active_key = bool(api_keys.active_keys(session))
        if not (loopback or has_keys or insecure):
            raise SettingInvalid(
                f"--host {settings.host} accepts connections from other machines, and there are no"
                " API keys: anyone who reaches it could query and erase; create a key with `gallery"
                " keys create`, or add --insecure"
            )
        advise_on_encoder(gallery)
        if not gallery.read_in_processes():
            say("no process can be started, so photos are read in the server", "yellow", err)
        warm_up(gallery)
        server = create_app(gallery, loopback=loopback, open_without_keys=loopback or insecure)
        server.state.ready = True
        with _listener(settings.host, settings.port) as listener:
            name = f"[{settings.host}]" if ":" in settings.host else settings.host
            url = f"http://{name}:{settings.port}{settings.root_path}"
            if as_json:
                emit({"url": url, "keys": has_keys})
            else:
                access = "API key required" if has_keys else "no API key required"
                if has_keys and not has_active_key:
                    access += ", but none is active: create one with `gallery keys create`"
                say(f"listening on {url} ({access}); press Ctrl-C to stop", "green")
            config = uvicorn.Config(
                server,
                http=timed_http_protocol(settings.api_seconds),
                log_level="critical",
                server_header=False,
                limit_concurrency=_CONNECTIONS,
                timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
            )
            uvicorn.Server(config).run(sockets=[listener])


def _listener(host: str, port: int) -> socket.socket:
    """Raises SettingInvalid if the port is taken or the address is not one of this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise SettingInvalid(
            f"cannot listen on {host}, port {port}: {error.strerror}; choose another with --port or"
            " --host, or stop the program that is using it"
        ) from error
    # Else the end of an answer waits 40 ms for the client to confirm its start. Connections inherit
    # it; asyncio sets it only for sockets that it makes itself.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
