"""Who may ask for what: keys, their scopes, their rates, and whose name the audit trail notes.

Without a key in force whoever reaches this machine's own address is let in. From the first key on
everything but the page itself and health needs one.
"""

from __future__ import annotations

import math
import time
from http import HTTPStatus
from threading import Lock

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gallery.api.problems import problem, problem_of
from gallery.errors import GalleryError
from gallery.store import keys
from gallery.store.audit import Actor, act_as
from gallery.store.database import Database
from gallery.store.keys import Scope as May
from gallery.store.records import KeyRecord

_OPEN = ("/", "/healthz", "/readyz", "/v1/openapi.json")
_ASKING = ("/v1/query", "/v1/compare", "/v1/calibration")
_KEEPING = ("/v1/identities", "/v1/faces", "/v1/merges")
_FRESH = 1.0  # seconds for which the keys in force are remembered
_ASK_SO = {"WWW-Authenticate": 'Bearer realm="gallery"'}


def opened_by(method: str, path: str) -> May | None:
    """The scope that a request needs; None: nobody is asked. What is not named needs "admin"."""
    if path in _OPEN or path.startswith("/page/"):
        return None
    if path in _ASKING:
        return May.QUERY
    if path.startswith(_KEEPING) and method != "DELETE":
        return May.ENROL
    return May.ADMIN


class Doors:
    """open_without_keys : let everyone in while no key is in force; else no one."""

    def __init__(
        self, app: ASGIApp, *, database: Database, open_without_keys: bool, anyone: str
    ) -> None:
        self._app = app
        self._database = database
        self._open = open_without_keys
        self._anyone = anyone
        self._keys: tuple[float, list[KeyRecord]] | None = None
        self._buckets: dict[str, _Bucket] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        needed = opened_by(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if needed is None:
            await self._app(scope, receive, send)
            return
        try:
            live = await self._live()
        except GalleryError as error:
            await problem_of(error)(scope, receive, send)
            return
        who = self._anyone
        if live or not self._open:
            scheme, _, text = Headers(scope=scope).get("authorization", "").partition(" ")
            key = keys.matching(live, text.strip()) if scheme.lower() == "bearer" else None
            refusal = self._refusal(key, needed)
            if refusal is not None:
                await problem(*refusal)(scope, receive, send)
                return
            assert key is not None
            who = f"key {key.id}"
        state = scope.setdefault("state", {})
        state["actor"] = who
        act_as(Actor(who, state.get("request_id")))
        await self._app(scope, receive, send)

    def _refusal(
        self, key: KeyRecord | None, needed: May
    ) -> tuple[HTTPStatus, str, str, dict[str, str]] | None:
        if key is None:
            said = (
                "this needs a key that is in force, as Authorization: Bearer gallery_...;"
                " `gallery keys create` makes one"
            )
            return HTTPStatus.UNAUTHORIZED, "key-needed", said, _ASK_SO
        if needed not in key.scopes and May.ADMIN not in key.scopes:
            said = f"this needs a key of the scope {needed}; this one has {', '.join(key.scopes)}"
            return HTTPStatus.FORBIDDEN, "scope-needed", said, {}
        bucket = self._buckets.setdefault(key.id, _Bucket(key.per_minute))
        wait = bucket.take()
        if wait:
            said = f"this key may ask {key.per_minute} times a minute; try again in {wait} s"
            return HTTPStatus.TOO_MANY_REQUESTS, "too-often", said, {"Retry-After": str(wait)}
        return None

    async def _live(self) -> list[KeyRecord]:
        now = time.monotonic()
        if self._keys is None or now - self._keys[0] > _FRESH:
            self._keys = now, await anyio.to_thread.run_sync(self._read)
        return self._keys[1]

    def _read(self) -> list[KeyRecord]:
        with self._database.reading() as session:
            return keys.live(session)


class _Bucket:
    """So many tokens, filled again within a minute."""

    def __init__(self, per_minute: int) -> None:
        self._most = float(per_minute)
        self._tokens = self._most
        self._at = time.monotonic()
        self._lock = Lock()

    def take(self) -> int:
        """0 when one was there, else the seconds until one is."""
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._most, self._tokens + (now - self._at) * self._most / 60)
            self._at = now
            if self._tokens >= 1:
                self._tokens -= 1
                return 0
            return math.ceil((1 - self._tokens) * 60 / self._most)
