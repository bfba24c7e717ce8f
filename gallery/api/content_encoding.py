"""Request bodies that were compressed with gzip (Content-Encoding, RFC 9110, section 8.4)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gallery.api.problems import Refusal

_GZIP = ("gzip", "x-gzip")
_CHUNK = 64 * 2**10  # inflated at once
_WINDOW = zlib.MAX_WBITS | 16  # gzip's header and checksum


class ContentEncoding:
    """Middleware outside RequestLimits, which counts the inflated bytes as they come.

    A body is inflated a chunk at a time, so that no more of it is in memory than is allowed.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        encodings = Headers(scope=scope).getlist("content-encoding")
        named = ", ".join(encodings).strip().lower()
        if named in ("", "identity"):
            await self._app(scope, receive, send)
        elif named in _GZIP:
            await self._app(scope, _inflating(receive), send)
        else:
            detail = (
                f"unsupported content encoding {named[:60]!r}; send the body as gzip, or without a"
                " Content-Encoding"
            )
            known = {"Accept-Encoding": "gzip"}  # RFC 7694
            status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
            refusal = Refusal(status, "unsupported-media-type", detail, known)
            await refusal.response(scope, receive, send)


def _inflating(receive: Receive) -> Receive:
    """Return what receives the inflated body. It raises Refusal for a broken one."""
    inflater = _Inflater()
    chunks: Iterator[bytes] = iter(())
    more, ended = True, False

    async def receive_inflated() -> Message:
        nonlocal chunks, more, ended
        while not ended:
            try:
                chunk = next(chunks, b"")
                if not (chunk or more):
                    inflater.check_end()
            except zlib.error as error:
                detail = f"the request body is not valid gzip: {error}"
                raise Refusal(HTTPStatus.BAD_REQUEST, "bad-request", detail) from error
            if chunk or not more:
                ended = not chunk
                return {"type": "http.request", "body": chunk, "more_body": not ended}
            message = await receive()
            if message["type"] != "http.request":
                return message
            chunks = inflater.chunks(message.get("body", b""))
            more = message.get("more_body", False)
        return await receive()  # the end of the connection

    return receive_inflated


class _Inflater:
    """Inflates a stream of one or more gzip members."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_WINDOW)
        self._is_empty = True

    def chunks(self, data: bytes) -> Iterator[bytes]:
        """Yield what the data inflate to. Raises zlib.error."""
        while data:
            if self._member.eof:
                self._member = zlib.decompressobj(_WINDOW)
            self._is_empty = False
            chunk = self._member.decompress(data, _CHUNK)
            data = self._member.unconsumed_tail or self._member.unused_data
            if chunk:
                yield chunk

    def check_end(self) -> None:
        """Raises zlib.error if the stream ends within a member."""
        if not (self._is_empty or self._member.eof):
            raise zlib.error("it is truncated")
