"""The app: routes, middleware and background tasks around one gallery."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anyio
from fastapi import Depends, FastAPI
from fastapi.responses import FileResponse, Response
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles

from gallery.api.access_log import AccessLog, json_log
from gallery.api.audit_buffer import AuditBuffer
from gallery.api.auth import Authentication
from gallery.api.content_encoding import ContentEncoding
from gallery.api.head_requests import HeadRequests
from gallery.api.idempotency import Idempotency
from gallery.api.limits import RequestLimits
from gallery.api.maintenance import run_maintenance
from gallery.api.metrics import MEDIA_TYPE, Metrics
from gallery.api.openapi import add_openapi
from gallery.api.path_prefix import PathPrefix
from gallery.api.problems import add_error_handlers
from gallery.api.routes import guide, jobs, merges, query
from gallery.api.routes import identities as identity_routes
from gallery.api.routes.query_parameters import refuse_unknown_parameters
from gallery.api.same_origin import LOOPBACK
from gallery.api.worker_pool import WorkerPool
from gallery.gallery import Gallery
from gallery.json_forms.schemas import PROBLEMS, Health
from gallery.store import faces, identities

_PAGE_FOLDER = Path(__file__).parent / "page"
_PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
}
"""Nothing from other servers, and no inline scripts."""
_EXTRA_REQUESTS = 16  # beyond the queue for photos, e.g. for the page's files
_DATABASE_THREADS = 4  # so that requests without photos do not wait for photos


def create_app(
    gallery: Gallery, *, loopback: bool = True, open_without_keys: bool = True
) -> FastAPI:
    """Return the app that serves this gallery.

    loopback : while there are no keys, accept only the Host names of this machine.
    open_without_keys : while there are no keys, let everyone in; else no one.
    """
    settings = gallery.settings
    photo_pool = WorkerPool(threads=settings.workers, queue=settings.api_queue)
    database_pool = WorkerPool(
        threads=_DATABASE_THREADS, queue=settings.api_queue + _EXTRA_REQUESTS
    )
    log = json_log()
    if gallery.database.read_only is not None:
        log.warning("read-only", reason=gallery.database.read_only)
    metrics = Metrics(lambda: photo_pool.pending)
    audit_buffer = AuditBuffer(gallery.database, log)
    runner = jobs.JobRunner(gallery, log)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(audit_buffer.run)
            tasks.start_soon(runner.run)
            tasks.start_soon(run_maintenance, gallery, log)
            yield
            runner.stop()
            tasks.cancel_scope.cancel()
        gallery.stop_reading()  # nobody waits for an answer any more
        photo_pool.close()
        database_pool.close()
        audit_buffer.flush()

    app = FastAPI(
        title="face-gallery",
        version=version("face-gallery"),
        summary="Who is in this photo: exactly one enrolled identity, or none?",
        docs_url=None,  # FastAPI's page would load scripts from another server
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        lifespan=lifespan,
        dependencies=[Depends(refuse_unknown_parameters)],
        generate_unique_id_function=_operation_id,
    )
    app.state.photo_pool = photo_pool
    app.state.database_pool = database_pool
    app.state.ready = False
    add_error_handlers(app)
    app.include_router(query.routes(gallery, audit_buffer, metrics))
    app.include_router(identity_routes.routes(gallery))
    app.include_router(merges.routes(gallery))
    app.include_router(jobs.routes(gallery, runner))
    app.include_router(guide.routes(_PAGE_HEADERS))
    _add_health(app, gallery, metrics)

    @app.get("/", include_in_schema=False)
    async def index() -> FileResponse:
        return FileResponse(_PAGE_FOLDER / "index.html", headers=_PAGE_HEADERS)

    app.mount("/page", StaticFiles(directory=_PAGE_FOLDER))

    add_openapi(app)
    # The middleware added last sees a request first.
    app.add_middleware(HeadRequests)
    app.add_middleware(Idempotency, database=gallery.database)
    app.add_middleware(
        Authentication,
        database=gallery.database,
        hosts=LOOPBACK if loopback else (),
        open_without_keys=open_without_keys,
        anonymous="this machine" if loopback else "anyone",
    )
    app.add_middleware(
        RequestLimits,
        max_bytes=settings.max_request_bytes,
        max_requests=settings.workers + settings.api_queue + _EXTRA_REQUESTS,
        seconds=settings.api_seconds,
    )
    app.add_middleware(ContentEncoding)
    app.add_middleware(AccessLog, metrics=metrics, log=log)
    app.add_middleware(PathPrefix, prefix=settings.root_path)
    return app


def warm_up(gallery: Gallery) -> None:
    """Load what the first queries need."""
    if gallery.pipeline.processes is None:
        gallery.pipeline.load_second_detector()
    _ = gallery.identifier, gallery.scorer.operating_point(), gallery.index.catch_up()


def _add_health(app: FastAPI, gallery: Gallery, metrics: Metrics) -> None:
    def health(status: str) -> dict[str, Any]:
        return {"status": status, "read_only": gallery.database.read_only is not None or None}

    @app.get(
        "/healthz",
        tags=["health"],
        response_model=Health,
        response_model_exclude_none=True,
        summary="Check liveness",
    )
    async def healthz() -> dict[str, Any]:
        """Answer as long as the process runs."""
        return health("alive")

    @app.get(
        "/readyz",
        tags=["health"],
        response_model=Health,
        response_model_exclude_none=True,
        responses=PROBLEMS,
        summary="Check readiness",
    )
    async def readyz() -> dict[str, Any]:
        """Answer once the weights and the index are loaded."""
        if not app.state.ready:
            await anyio.to_thread.run_sync(lambda: warm_up(gallery))
            app.state.ready = True
        return health("ready")

    text: dict[int | str, dict[str, Any]] = {
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}}
    }

    @app.get(
        "/metrics",
        tags=["health"],
        response_class=Response,
        responses={**PROBLEMS, **text},
        summary="Get metrics",
    )
    async def show_metrics() -> Response:
        """Return Prometheus metrics: requests, stage times, decisions by outcome, size, queue."""

        def counts() -> tuple[int, int]:
            with gallery.database.reading() as session:
                return identities.count(session), faces.count(session)

        identity_count, face_count = await anyio.to_thread.run_sync(counts)
        return Response(metrics.exposition(identity_count, face_count), media_type=MEDIA_TYPE)


def _operation_id(route: APIRoute) -> str:
    """Return the route function's name: generated clients have it as a method name."""
    return route.name
