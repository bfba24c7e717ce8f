"""Before anything else sees a request: who may ask, and how much may be sent."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gallery.api.problems import problem

_HEALTH = ("/healthz", "/readyz", "/metrics")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


class TooLarge(Exception):
    """The body has more bytes than the limit."""


class TooSlow(Exception):
    """The body takes longer to arrive than the limit."""


class Guard:
    """Refuses other hosts' names, other pages' scripts, bodies over a limit, and more at once than
    there is memory for: before anything of them is read.

    hosts : names that the Host header may have; empty: any. A web page elsewhere that reaches
    this machine by a name of its own is refused by its Host, one that sends a form by its Origin.
    most : requests at once; what is healthy says so all the same.
    seconds : within which a body must have arrived.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: tuple[str, ...], max_bytes: int, most: int, seconds: float
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._max_bytes = max_bytes
        self._most = most
        self._seconds = seconds
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(headers)
        if refusal is not None:
            await problem(*refusal)(scope, receive, send)
            return
        if self._inside >= self._most and scope["path"] not in _HEALTH:
            said = f"{self._inside} requests are being answered; try later"
            busy = HTTPStatus.SERVICE_UNAVAILABLE, "service-unavailable", said, {"Retry-After": "2"}
            await problem(*busy)(scope, receive, send)
            return
        seen = 0
        more = True
        deadline = anyio.current_time() + self._seconds

        async def counted() -> Message:
            nonlocal seen, more
            if not more:
                return await receive()
            try:
                with anyio.fail_after(deadline - anyio.current_time()):
                    message = await receive()
            except TimeoutError as error:
                raise TooSlow from error
            more = message.get("more_body", False)
            seen += len(message.get("body", b""))
            if seen > self._max_bytes:
                raise TooLarge
            return message

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = MutableHeaders(scope=message)
                for name, value in _SECURITY.items():
                    found.setdefault(name, value)
            await send(message)

        self._inside += 1
        try:
            await self._app(scope, counted, with_headers)
        except TooLarge:
            await problem(*self._too_large())(scope, receive, send)
        except TooSlow:
            said = f"the request was not sent within {self._seconds:g} seconds"
            await problem(HTTPStatus.REQUEST_TIMEOUT, "too-slow", said)(scope, receive, send)
        finally:
            self._inside -= 1

    def _refusal(self, headers: Headers) -> tuple[int, str, str] | None:
        host = headers.get("host", "")
        name = urlsplit(f"//{host}").hostname or ""
        if self._hosts and name not in self._hosts:
            said = f"this server is not called {name!r}; ask it as {' or '.join(self._hosts)}"
            return HTTPStatus.MISDIRECTED_REQUEST, "another-host", said
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            said = f"a page of {origin} may not ask this server"
            return HTTPStatus.FORBIDDEN, "another-origin", said
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._max_bytes:
            return self._too_large()
        return None

    def _too_large(self) -> tuple[int, str, str]:
        said = f"the request has more than {self._max_bytes} bytes; send a smaller photo"
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "request-too-large", said
