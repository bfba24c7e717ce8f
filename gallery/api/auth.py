"""Authentication: API keys, their scopes and rate limits, and the actor for the audit trail.

Until the first key is created, anyone who reaches the server on its own machine is let in, except
web pages of other origins. From then on every path needs a key, except the page itself, health and
the OpenAPI description. That stays so after the last key is revoked, until `gallery keys reset`.
"""

from __future__ import annotations

import math
import time
from http import HTTPStatus
from threading import Lock

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gallery.api.path_prefix import route_path
from gallery.api.problems import Refusal, problem_of
from gallery.api.same_origin import cross_origin_refusal
from gallery.errors import GalleryError
from gallery.store import api_keys
from gallery.store.api_keys import Scope as KeyScope
from gallery.store.audit import Actor, act_as
from gallery.store.database import Database
from gallery.store.records import KeyRecord

_PUBLIC_PATHS = ("/", "/guide", "/healthz", "/readyz", "/v1/openapi.json")
_QUERY_PATHS = ("/v1/query", "/v1/compare", "/v1/calibration")
_ENROL_PREFIXES = ("/v1/identities", "/v1/faces", "/v1/merges")
_KEY_CACHE_SECONDS = 1.0
_CHALLENGE = 'Bearer realm="gallery"'


def required_scope(method: str, path: str) -> KeyScope | None:
    """Return the scope a request needs; None for a public path, `admin` for an unknown one."""
    if path in _PUBLIC_PATHS or path.startswith(("/page/", "/guide/")):
        return None
    if path in _QUERY_PATHS:
        return KeyScope.QUERY
    if path == "/metrics":
        return KeyScope.METRICS
    erases = method == "DELETE" or path.endswith("/expiry")
    if path.startswith(_ENROL_PREFIXES) and not erases:
        return KeyScope.ENROL
    return KeyScope.ADMIN


class Authentication:
    """Middleware that lets a request through only with a sufficient key, where one is needed.

    hosts : accepted Host names while there are no keys; empty accepts any.
    open_without_keys : while there are no keys, let everyone in; else no one.
    anonymous : the actor of requests that needed no key.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        database: Database,
        hosts: tuple[str, ...],
        open_without_keys: bool,
        anonymous: str,
    ) -> None:
        self._app = app
        self._database = database
        self._hosts = hosts
        self._open_without_keys = open_without_keys
        self._anonymous = anonymous
        self._cached_keys: tuple[float, list[KeyRecord]] | None = None
        self._buckets: dict[str, _TokenBucket] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = route_path(scope)
        needed = required_scope(scope["method"], path)
        try:
            keys = await self._keys()
        except GalleryError as error:
            if needed is not None:
                await problem_of(error)(scope, receive, send)
                return
            keys = []
        try:
            actor = self._actor(Headers(scope=scope), keys, needed, path)
        except Refusal as refusal:
            await refusal.response(scope, receive, send)
            return
        if needed is not None:
            state = scope.setdefault("state", {})
            state["actor"] = actor
            act_as(Actor(actor, state.get("request_id")))
        await self._app(scope, receive, send)

    def _actor(
        self, headers: Headers, keys: list[KeyRecord], needed: KeyScope | None, path: str
    ) -> str:
        """Return who is acting. Raises Refusal if the request is not let in."""
        if not keys:
            refusal = cross_origin_refusal(headers, path, self._hosts)
            if refusal is not None:
                raise refusal
        if needed is None or (self._open_without_keys and not keys):
            return self._anonymous
        scheme, _, token = headers.get("authorization", "").partition(" ")
        is_bearer = scheme.lower() == "bearer"
        active = [key for key in keys if key.revoked_at is None]
        key = api_keys.matching_key(active, token.strip()) if is_bearer else None
        if key is None:
            detail = (
                "an active API key is needed, as Authorization: Bearer gallery_...;"
                " create one with `gallery keys create`"
            )
            reason = ', error="invalid_token"' if is_bearer else ""
            challenge = {"WWW-Authenticate": _CHALLENGE + reason}
            raise Refusal(HTTPStatus.UNAUTHORIZED, "key-needed", detail, challenge)
        if needed not in key.scopes and KeyScope.ADMIN not in key.scopes:
            detail = f"this needs a key with scope {needed}; this key has {', '.join(key.scopes)}"
            reason = f', error="insufficient_scope", scope="{needed}"'
            challenge = {"WWW-Authenticate": _CHALLENGE + reason}
            raise Refusal(HTTPStatus.FORBIDDEN, "scope-needed", detail, challenge)
        wait = self._buckets.setdefault(key.id, _TokenBucket(key.per_minute)).take()
        if wait:
            detail = f"over this key's limit of {key.per_minute} requests a minute; wait {wait} s"
            retry = {"Retry-After": str(wait)}
            raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, "too-often", detail, retry)
        return f"key {key.id}"

    async def _keys(self) -> list[KeyRecord]:
        """Return all keys, revoked ones too, at most a second old."""
        now = time.monotonic()
        if self._cached_keys is None or now - self._cached_keys[0] > _KEY_CACHE_SECONDS:
            self._cached_keys = now, await anyio.to_thread.run_sync(self._read_keys)
        return self._cached_keys[1]

    def _read_keys(self) -> list[KeyRecord]:
        with self._database.reading() as session:
            return api_keys.list_all(session)


class _TokenBucket:
    """A token per request; an empty bucket fills up within a minute."""

    def __init__(self, per_minute: int) -> None:
        self._capacity = float(per_minute)
        self._tokens = self._capacity
        self._updated = time.monotonic()
        self._lock = Lock()

    def take(self) -> int:
        """Take a token and return 0, or return the seconds until there is one."""
        with self._lock:
            now = time.monotonic()
            refill = (now - self._updated) * self._capacity / 60
            self._tokens = min(self._capacity, self._tokens + refill)
            self._updated = now
            if self._tokens >= 1:
                self._tokens -= 1
                return 0
            return math.ceil((1 - self._tokens) * 60 / self._capacity)
