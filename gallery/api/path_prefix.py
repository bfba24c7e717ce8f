"""Serving below a path of a host, such as /faces, behind a proxy."""

from __future__ import annotations

import re
from http import HTTPStatus

from fastapi import Request
from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_FORWARDED = re.compile(r"(?:/[\w.~-]+)+")
_STATE = "path_prefix"


class PathPrefix:
    """The outermost middleware: what is inside sees paths without the prefix.

    prefix : such as "/faces", or empty. A proxy may leave it in the paths or take it off; one that
        takes it off may send it as X-Forwarded-Prefix instead.
    """

    def __init__(self, app: ASGIApp, *, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        prefix = self._prefix
        if not prefix:
            forwarded = Headers(scope=scope).get("x-forwarded-prefix", "").rstrip("/")
            prefix = forwarded if _FORWARDED.fullmatch(forwarded) else ""
        elif scope["path"] == prefix:  # the page's addresses are relative to the folder
            query = scope.get("query_string", b"").decode("latin-1")
            address = f"{prefix}/?{query}" if query else f"{prefix}/"
            redirect = RedirectResponse(address, HTTPStatus.PERMANENT_REDIRECT)
            await redirect(scope, receive, send)
            return
        elif scope["path"].startswith(f"{prefix}/"):
            raw = scope.get("raw_path", b"").removeprefix(prefix.encode())
            scope = {**scope, "path": scope["path"].removeprefix(prefix), "raw_path": raw}
        scope.setdefault("state", {})[_STATE] = prefix
        await self._app(scope, receive, send)


def prefixed(request: Request, path: str) -> str:
    """Return a path of this server as its client sees it."""
    return f"{getattr(request.state, _STATE, '')}{path}"
