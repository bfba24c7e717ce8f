"""The outermost middleware: request ids, the access log, security headers, unexpected errors.

Each request is logged as one line of JSON and counted, without names, query strings or bodies.
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
from gallery.api.problems import internal_error
from gallery.timing import listen

_VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_REQUEST_ID = "x-request-id"
_CLIENT_CLOSED_REQUEST = 499  # nginx's status for a client that disconnected
_SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
}


def json_log(stream: TextIO | None = None) -> Any:
    """Return a structlog logger that writes JSON lines to the stream (default: stderr)."""
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
    """Log and count each request under the client's x-request-id, if valid, or a new id."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, log: Any) -> None:
        self._app = app
        self._metrics = metrics
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client_id = Headers(scope=scope).get(_REQUEST_ID, "")
        request_id = client_id if _VALID_REQUEST_ID.fullmatch(client_id) else uuid4().hex
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        status = 500
        started = False
        start = perf_counter()
        listen(self._metrics.count_stage)

        async def send_with_headers(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                headers = MutableHeaders(scope=message)
                headers[_REQUEST_ID] = request_id
                for name, value in _SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        failure: Exception | None = None
        try:
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            status = _CLIENT_CLOSED_REQUEST
        except Exception as error:
            failure = error
            if started:
                raise
            await internal_error(error)(scope, receive, send_with_headers)
        finally:
            seconds = perf_counter() - start
            route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.count_request(method, route, status, seconds)
            write = self._log.info if failure is None else self._log.error
            write(
                "request",
                request_id=request_id,
                method=method,
                route=route,
                status=status,
                seconds=round(seconds, 4),
                actor=state.get("actor"),
                **({} if failure is None else {"exc_info": failure}),
            )
