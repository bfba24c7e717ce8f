"""Every request is logged as a line of JSON and counted; neither bears a name or what was sent.

Being outermost, this is also where every answer gets the headers that all of them have, and where a
mistake in the program ends.
"""

from __future__ import annotations

import re
import sys
from time import perf_counter
from typing import Any, TextIO
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gallery.api.metrics import Metrics
from gallery.api.problems import mistake
from gallery.timing import listen

_SAFE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
REQUEST_ID = "x-request-id"
_GONE = 499  # nginx's number for whoever asked and did not wait
_SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
}


def json_log(stream: TextIO | None = None) -> Any:
    """A structlog logger that writes JSON lines, to stderr when not told where."""
    return structlog.wrap_logger(
        structlog.WriteLogger(stream or sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
    )


class AccessLog:
    """Gives each request an id (a client's own x-request-id is kept), and tells of its end."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, log: Any) -> None:
        self._app = app
        self._metrics = metrics
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if _SAFE.fullmatch(given) else uuid4().hex
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        status = 500
        started = False
        start = perf_counter()
        listen(self._metrics.stage)

        async def noted(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                for name, value in _SECURITY.items():
                    headers.setdefault(name, value)
            await send(message)

        failure: Exception | None = None
        try:
            await self._app(scope, receive, noted)
        except ClientDisconnect:
            status = _GONE
        except Exception as error:
            failure = error
            if started:
                raise
            await mistake(error)(scope, receive, noted)
        finally:
            seconds = perf_counter() - start
            route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.request(method, route, status, seconds)
            tell = self._log.info if failure is None else self._log.error
            tell(
                "request",
                request_id=request_id,
                method=method,
                route=route,
                status=status,
                seconds=round(seconds, 4),
                actor=state.get("actor"),
                **({} if failure is None else {"exc_info": failure}),
            )
