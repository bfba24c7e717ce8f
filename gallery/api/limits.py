"""Request limits: body size, concurrency, and deadlines for uploads, headers and slow readers."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import anyio
import h11
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from gallery.api.path_prefix import route_path
from gallery.api.problems import Refusal

_HEALTH_PATHS = ("/healthz", "/readyz", "/metrics")
_PHOTO_PATHS = ("/v1/query", "/v1/compare", "/v1/identities")
_MAX_BYTES_WITHOUT_PHOTOS = 2**20
_MAX_LARGE_REQUESTS = 16  # in memory at once, of the largest size allowed


class RequestLimits:
    """Middleware that refuses bodies that are too large or slow, and too many requests at once.

    max_bytes : of a request with photos; others may have 1 MiB. All bodies in memory together have
    at most 16 times as many.
    max_requests : answered at once, besides health checks.
    seconds : until a body must have arrived and the work be done: `state["deadline"]`, in the event
    loop's time.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, max_requests: int, seconds: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._max_requests = max_requests
        self._seconds = seconds
        self._requests = 0
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, limit = route_path(scope), self._max_bytes
        if path not in _PHOTO_PATHS:
            limit = min(limit, _MAX_BYTES_WITHOUT_PHOTOS)
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdecimal() and int(length) > limit:
            await _too_large(limit).response(scope, receive, send)
            return
        if self._requests >= self._max_requests and path not in _HEALTH_PATHS:
            detail = f"{self._requests} requests are already running; try again later"
            await _busy(detail).response(scope, receive, send)
            return
        deadline = anyio.current_time() + self._seconds
        scope.setdefault("state", {})["deadline"] = deadline
        received = 0
        more = True

        async def receive_limited() -> Message:
            nonlocal received, more
            if not more:
                return await receive()
            try:
                with anyio.fail_after(deadline - anyio.current_time()):
                    message = await receive()
            except TimeoutError as error:
                detail = f"the request body did not arrive within {self._seconds:g} seconds"
                raise Refusal(HTTPStatus.REQUEST_TIMEOUT, "too-slow", detail) from error
            more = message.get("more_body", False)
            size = len(message.get("body", b""))
            received += size
            self._bytes += size
            if received > limit:
                raise _too_large(limit)
            if self._bytes > _MAX_LARGE_REQUESTS * self._max_bytes:
                raise _busy("too many large requests are running; try again later")
            return message

        self._requests += 1
        try:
            await self._app(scope, receive_limited, send)
        except Refusal as refusal:
            await refusal.response(scope, receive, send)
        finally:
            self._requests -= 1
            self._bytes -= received


def _busy(detail: str) -> Refusal:
    retry = {"Retry-After": "2"}
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "service-unavailable", detail, retry)


def _too_large(limit: int) -> Refusal:
    detail = (
        f"the request is larger than the limit of {limit:,} bytes; shrink the photo, or send fewer"
        " (GALLERY_MAX_REQUEST_BYTES is the limit of requests with photos)"
    )
    return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "request-too-large", detail)


class _TimedProtocol(H11Protocol):
    """Abort a connection whose headers, or whose client's reading, take over `timeout` seconds."""

    timeout: float
    _header_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._time_header()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._time_header()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.timeout, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        _cancel(self._write_timer)

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._header_timer)
        _cancel(self._write_timer)
        super().connection_lost(exc)

    def _time_header(self) -> None:
        """Start or stop the timer of a header. Bytes that trickle in do not restart it."""
        if self.conn.their_state is not h11.IDLE:
            _cancel(self._header_timer)
            self._header_timer = None
        elif self._header_timer is None:
            self._header_timer = self.loop.call_later(self.timeout, self.transport.abort)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def timed_http_protocol(seconds: float) -> type[H11Protocol]:
    """Return the HTTP protocol for uvicorn, with this timeout for headers and slow readers."""
    return type("TimedProtocol", (_TimedProtocol,), {"timeout": seconds})
