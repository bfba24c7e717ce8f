"""Serving below a path of a host, such as /faces, behind a proxy."""

from __future__ import annotations

import re
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_FORWARDED = re.compile(r"(?:/[\w.~-]+)+")


class PathPrefix:
    """The outermost middleware: every path begins with the prefix, which is ASGI's `root_path`.

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
        prefix, path = self._prefix, scope["path"]
        if not prefix:
            forwarded = Headers(scope=scope).get("x-forwarded-prefix", "").rstrip("/")
            prefix = forwarded if _FORWARDED.fullmatch(forwarded) else ""
            path = prefix + path
        elif path == prefix:  # the page's addresses are relative to the folder
            query = scope["query_string"].decode("latin-1")
            address = f"{prefix}/?{query}" if query else f"{prefix}/"
            redirect = RedirectResponse(address, HTTPStatus.PERMANENT_REDIRECT)
            await redirect(scope, receive, send)
            return
        elif not path.startswith(f"{prefix}/"):
            path = prefix + path
        await self._app({**scope, "root_path": prefix, "path": path}, receive, send)


def route_path(scope: Scope) -> str:
    """Return the path of a request below the prefix."""
    path: str = scope["path"]
    return path.removeprefix(scope["root_path"])
