"""A real server on a real port, with the session's pipeline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import MappingProxyType

import httpx
import pytest
import uvicorn

from gallery.api import auth
from gallery.api.app import create_app
from gallery.api.limits import timed_http_protocol
from gallery.gallery import Gallery

Serve = Callable[..., AbstractContextManager[httpx.Client]]


@pytest.fixture(scope="session")
def serve(cache: Path) -> Serve:
    """`with serve(home) as client`: serve the gallery in this folder.

    app_options : arguments of create_app.
    """

    @contextmanager
    def serve_gallery(
        home: Path,
        app_options: Mapping[str, bool] = MappingProxyType({}),
        **settings: object,
    ) -> Iterator[httpx.Client]:
        with Gallery.open(home, cache=cache, threads=1, **settings) as gallery:
            app = create_app(gallery, **app_options)
            config = uvicorn.Config(
                app,
                port=0,
                log_level="critical",
                http=timed_http_protocol(gallery.settings.api_seconds),
                timeout_graceful_shutdown=5,
            )
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run)
            thread.start()
            try:
                while not server.started:
                    time.sleep(0.01)
                port = server.servers[0].sockets[0].getsockname()[1]
                with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                    yield client
            finally:  # else a test that fails would leave the thread, and pytest would not end
                server.should_exit = True
                thread.join()

    return serve_gallery


@pytest.fixture
def client(serve: Serve, tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of a server with an empty gallery."""
    with serve(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def uncached_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server reads its keys for each request, not once a second."""
    monkeypatch.setattr(auth, "_KEY_CACHE_SECONDS", 0)
