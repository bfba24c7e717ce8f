"""The app: routes, doors and health around one gallery."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anyio
from fastapi import FastAPI
from fastapi.responses import FileResponse, Response
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles

from gallery.api.access_log import AccessLog, json_log
from gallery.api.audit_buffer import AuditBuffer
from gallery.api.auth import Authentication
from gallery.api.head_requests import HeadRequests
from gallery.api.idempotency import Idempotency
from gallery.api.limits import RequestLimits
from gallery.api.maintenance import keep_up
from gallery.api.metrics import MEDIA_TYPE, Metrics
from gallery.api.openapi import describe
from gallery.api.problems import handle_errors
from gallery.api.routes import guide, jobs, query
from gallery.api.routes import identities as identity_routes
from gallery.api.same_origin import LOOPBACK
from gallery.api.worker_pool import WorkerPool
from gallery.gallery import Gallery
from gallery.json_forms.schemas import PROBLEMS, Health
from gallery.store import faces, identities

_PAGE = Path(__file__).parent / "page"
_PAGE_MAY = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
}
"""Nothing from elsewhere, no script in the page."""
_SPARE = 16  # requests beyond the queue for photos, such as the page's parts
_ROWS = 4  # threads for what needs the database alone, so that it does not wait for photos


def create_app(
    gallery: Gallery, *, loopback: bool = True, open_without_keys: bool = True
) -> FastAPI:
    """loopback : while there are no keys only loopback's names are answered to.

    open_without_keys : while there are none everyone who gets here may ask.
    """
    settings = gallery.settings
    photos = WorkerPool(threads=settings.workers, queue=settings.api_queue)
    rows = WorkerPool(threads=_ROWS, queue=settings.api_queue + _SPARE)
    log = json_log()
    metrics = Metrics(lambda: photos.running)
    outcomes = AuditBuffer(gallery.database, log)
    runner = jobs.JobRunner(gallery, log)

    @asynccontextmanager
    async def beside(_: FastAPI) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outcomes.keep_writing)
            tasks.start_soon(runner.keep_running)
            tasks.start_soon(keep_up, gallery, log)
            yield
            runner.stop()
            tasks.cancel_scope.cancel()
        photos.close()
        rows.close()
        outcomes.write()

    app = FastAPI(
        title="face-gallery",
        version=version("face-gallery"),
        summary="Who is this photo: exactly one person we know, or nobody?",
        docs_url=None,  # its page would fetch scripts from elsewhere
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        lifespan=beside,
        generate_unique_id_function=_named,
    )
    app.state.photos = photos
    app.state.rows = rows
    app.state.ready = False
    handle_errors(app)
    app.include_router(query.routes(gallery, outcomes, metrics))
    app.include_router(identity_routes.routes(gallery))
    app.include_router(jobs.routes(gallery, runner))
    app.include_router(guide.routes(_PAGE_MAY))
    _add_health(app, gallery, metrics)

    @app.get("/", include_in_schema=False)
    async def index() -> FileResponse:
        return FileResponse(_PAGE / "index.html", headers=_PAGE_MAY)

    app.mount("/page", StaticFiles(directory=_PAGE))

    describe(app)
    # The last one added is the first that sees a request.
    app.add_middleware(HeadRequests)
    app.add_middleware(Idempotency, database=gallery.database)
    app.add_middleware(
        Authentication,
        database=gallery.database,
        hosts=LOOPBACK if loopback else (),
        open_without_keys=open_without_keys,
        anyone="this machine" if loopback else "anyone",
    )
    app.add_middleware(
        RequestLimits,
        max_bytes=settings.max_request_bytes,
        most=settings.workers + settings.api_queue + _SPARE,
        seconds=settings.api_seconds,
    )
    app.add_middleware(AccessLog, metrics=metrics, log=log)
    return app


def warm_up(gallery: Gallery) -> None:
    """Load what the first query would load."""
    _ = gallery.identifier, gallery.scorer.point(), gallery.index.catch_up()


def _add_health(app: FastAPI, gallery: Gallery, metrics: Metrics) -> None:
    @app.get("/healthz", tags=["health"], response_model=Health)
    async def healthz() -> dict[str, str]:
        """The process answers."""
        return {"status": "alive"}

    @app.get("/readyz", tags=["health"], response_model=Health, responses=PROBLEMS)
    async def readyz() -> dict[str, str]:
        """Weights and index are loaded."""
        if not app.state.ready:
            await anyio.to_thread.run_sync(lambda: warm_up(gallery))
            app.state.ready = True
        return {"status": "ready"}

    text: dict[int | str, dict[str, Any]] = {
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}}
    }

    @app.get("/metrics", tags=["health"], response_class=Response, responses={**PROBLEMS, **text})
    async def show_metrics() -> Response:
        """Requests, seconds by step, decisions by outcome, size and queue, for Prometheus."""

        def counted() -> tuple[int, int]:
            with gallery.database.reading() as session:
                return identities.count(session), faces.count(session)

        people, count = await anyio.to_thread.run_sync(counted)
        return Response(metrics.page(people, count), media_type=MEDIA_TYPE)


def _named(route: APIRoute) -> str:
    return route.name
