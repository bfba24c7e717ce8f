"""Before anything else sees a request: how much may be sent, by how many, and until when."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import anyio
import h11
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from gallery.api.problems import Refusal

_HEALTH = ("/healthz", "/readyz", "/metrics")
_OF_PHOTOS = ("/v1/query", "/v1/compare", "/v1/identities")
_WITHOUT_PHOTOS = 2**20  # bytes of any other request
_WHOLE = 16  # so many of the largest requests may be in memory at once


class RequestLimits:
    """Refuses bodies over a limit, and more at once than there is memory for.

    max_bytes : of a request with photos; others have a megabyte at most. Of all requests at once
    there are never more than sixteen times as many bytes.
    most : requests at once; what is healthy says so all the same.
    seconds : within which a body must have arrived, and everything must be done: the request's
    `state["deadline"]`, in the event loop's time.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, most: int, seconds: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._most = most
        self._seconds = seconds
        self._inside = 0
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._max_bytes
        if scope["path"] not in _OF_PHOTOS:
            limit = min(limit, _WITHOUT_PHOTOS)
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdecimal() and int(length) > limit:
            await _too_large(limit).answer(scope, receive, send)
            return
        if self._inside >= self._most and scope["path"] not in _HEALTH:
            said = f"{self._inside} requests are being answered; try later"
            await _busy(said).answer(scope, receive, send)
            return
        deadline = anyio.current_time() + self._seconds
        scope.setdefault("state", {})["deadline"] = deadline
        seen = 0
        more = True

        async def counted() -> Message:
            nonlocal seen, more
            if not more:
                return await receive()
            try:
                with anyio.fail_after(deadline - anyio.current_time()):
                    message = await receive()
            except TimeoutError as error:
                said = f"the request was not sent within {self._seconds:g} seconds"
                raise Refusal(HTTPStatus.REQUEST_TIMEOUT, "too-slow", said) from error
            more = message.get("more_body", False)
            size = len(message.get("body", b""))
            seen += size
            self._bytes += size
            if seen > limit:
                raise _too_large(limit)
            if self._bytes > _WHOLE * self._max_bytes:
                raise _busy("too many large requests are being answered; try later")
            return message

        self._inside += 1
        try:
            await self._app(scope, counted, send)
        except Refusal as refusal:
            await refusal.answer(scope, receive, send)
        finally:
            self._inside -= 1
            self._bytes -= seen


def _busy(said: str) -> Refusal:
    later = {"Retry-After": "2"}
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "service-unavailable", said, later)


def _too_large(limit: int) -> Refusal:
    said = f"the request has more than {limit} bytes; send a smaller one"
    return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "request-too-large", said)


class _Impatient(H11Protocol):
    """Aborts when a header takes over `patience` seconds to arrive, or an answer to be taken."""

    patience: float
    _reading: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_header()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._await_header()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writing = self.loop.call_later(self.patience, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        _cancel(self._writing)

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._reading)
        _cancel(self._writing)
        super().connection_lost(exc)

    def _await_header(self) -> None:
        """Begin to wait, go on waiting, or have it: a few more bytes do not make it any longer."""
        if self.conn.their_state is not h11.IDLE:
            _cancel(self._reading)
            self._reading = None
        elif self._reading is None:
            self._reading = self.loop.call_later(self.patience, self.transport.abort)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def impatient(seconds: float) -> type[H11Protocol]:
    """What uvicorn is to speak HTTP with."""
    return type("Impatient", (_Impatient,), {"patience": seconds})
