"""The app: routes, guard and health around one gallery."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import anyio
from fastapi import FastAPI
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

from gallery.api import asking, people
from gallery.api.guard import LOOPBACK, Guard
from gallery.api.problems import handle_errors, problem
from gallery.api.work import Work
from gallery.assembly import Gallery

_PAGE = Path(__file__).parent / "page"
_PAGE_MAY = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
}
"""Nothing from elsewhere, no script in the page."""


def create_app(gallery: Gallery, *, loopback: bool = True) -> FastAPI:
    """loopback : only loopback's names are answered to, so that no web page elsewhere gets in."""
    settings = gallery.settings
    app = FastAPI(
        title="face-gallery",
        version=version("face-gallery"),
        summary="Who is this photo: exactly one person we know, or nobody?",
        docs_url=None,  # its page would fetch scripts from elsewhere
        redoc_url=None,
        openapi_url="/v1/openapi.json",
    )
    app.state.work = Work(
        threads=settings.api_threads, queue=settings.api_queue, seconds=settings.api_seconds
    )
    app.state.ready = False
    handle_errors(app)
    app.include_router(asking.routes(gallery))
    app.include_router(people.routes(gallery))

    @app.get("/healthz", tags=["health"])
    async def healthz() -> dict[str, str]:
        """The process answers."""
        return {"status": "alive"}

    @app.get("/readyz", tags=["health"])
    async def readyz() -> JSONResponse:
        """Weights and index are loaded."""
        if not app.state.ready:
            await anyio.to_thread.run_sync(lambda: warm_up(gallery))
            app.state.ready = True
        return JSONResponse({"status": "ready"})

    @app.get("/", include_in_schema=False)
    async def index() -> FileResponse:
        return FileResponse(_PAGE / "index.html", headers=_PAGE_MAY)

    app.mount("/page", StaticFiles(directory=_PAGE))

    @app.get("/{anything:path}", include_in_schema=False)
    async def nothing(anything: str) -> JSONResponse:
        return problem(404, "not-found", f"there is nothing at /{anything}; see /v1/openapi.json")

    hosts = LOOPBACK if loopback else ()
    app.add_middleware(Guard, hosts=hosts, max_bytes=settings.max_request_bytes)
    return app


def warm_up(gallery: Gallery) -> None:
    """Load what the first query would load."""
    _ = gallery.identifier, gallery.judge.point(), gallery.index.catch_up()
