"""Who may ask for what: keys, their scopes, their rates, and whose name the audit trail notes.

While no key was ever made whoever reaches this machine's own address is let in, but no web page of
another address. From the first key on everything but the page itself and health needs one, also
after the last was revoked, until `gallery keys reset`.
"""

from __future__ import annotations

import math
import time
from http import HTTPStatus
from threading import Lock

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gallery.api.problems import Refusal, problem_of
from gallery.api.same_origin import refusal
from gallery.errors import GalleryError
from gallery.store import api_keys
from gallery.store.api_keys import Scope as May
from gallery.store.audit import Actor, act_as
from gallery.store.database import Database
from gallery.store.records import KeyRecord

_OPEN = ("/", "/guide", "/healthz", "/readyz", "/v1/openapi.json")
_ASKING = ("/v1/query", "/v1/compare", "/v1/calibration")
_KEEPING = ("/v1/identities", "/v1/faces", "/v1/merges")
_FRESH = 1.0  # seconds for which the keys in force are remembered
_REALM = 'Bearer realm="gallery"'


def opened_by(method: str, path: str) -> May | None:
    """The scope that a request needs; None: nobody is asked. What is not named needs "admin"."""
    if path in _OPEN or path.startswith(("/page/", "/guide/")):
        return None
    if path in _ASKING:
        return May.QUERY
    if path == "/metrics":
        return May.METRICS
    erasing = method == "DELETE" or path.endswith("/expiry")
    if path.startswith(_KEEPING) and not erasing:
        return May.ENROL
    return May.ADMIN


class Authentication:
    """hosts : names that this server answers to while there are no keys; empty: any.

    open_without_keys : let everyone in while there are none; else no one.
    anyone : whose name the audit trail notes then.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        database: Database,
        hosts: tuple[str, ...],
        open_without_keys: bool,
        anyone: str,
    ) -> None:
        self._app = app
        self._database = database
        self._hosts = hosts
        self._open = open_without_keys
        self._anyone = anyone
        self._keys: tuple[float, list[KeyRecord]] | None = None
        self._buckets: dict[str, _Bucket] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        needed = opened_by(scope["method"], scope["path"])
        try:
            made = await self._made()
        except GalleryError as error:
            if needed is not None:
                await problem_of(error)(scope, receive, send)
                return
            made = []
        headers = Headers(scope=scope)
        try:
            who = self._who(headers, made, needed, scope["path"])
        except Refusal as error:
            await error.answer(scope, receive, send)
            return
        if needed is not None:
            state = scope.setdefault("state", {})
            state["actor"] = who
            act_as(Actor(who, state.get("request_id")))
        await self._app(scope, receive, send)

    def _who(self, headers: Headers, made: list[KeyRecord], needed: May | None, path: str) -> str:
        """Raises Refusal for who is not let in."""
        if not made:
            elsewhere = refusal(headers, path, self._hosts)
            if elsewhere is not None:
                raise elsewhere
        if needed is None or (self._open and not made):
            return self._anyone
        scheme, _, text = headers.get("authorization", "").partition(" ")
        live = [key for key in made if key.revoked_at is None]
        key = api_keys.matching(live, text.strip()) if scheme.lower() == "bearer" else None
        if key is None:
            said = (
                "this needs a key that is in force, as Authorization: Bearer gallery_...;"
                " `gallery keys create` makes one"
            )
            wrong = ', error="invalid_token"' if scheme.lower() == "bearer" else ""
            ask_so = {"WWW-Authenticate": _REALM + wrong}
            raise Refusal(HTTPStatus.UNAUTHORIZED, "key-needed", said, ask_so)
        if needed not in key.scopes and May.ADMIN not in key.scopes:
            said = f"this needs a key of the scope {needed}; this one has {', '.join(key.scopes)}"
            ask_so = {"WWW-Authenticate": f'{_REALM}, error="insufficient_scope", scope="{needed}"'}
            raise Refusal(HTTPStatus.FORBIDDEN, "scope-needed", said, ask_so)
        wait = self._buckets.setdefault(key.id, _Bucket(key.per_minute)).take()
        if wait:
            said = f"this key may ask {key.per_minute} times a minute; try again in {wait} s"
            later = {"Retry-After": str(wait)}
            raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, "too-often", said, later)
        return f"key {key.id}"

    async def _made(self) -> list[KeyRecord]:
        now = time.monotonic()
        if self._keys is None or now - self._keys[0] > _FRESH:
            self._keys = now, await anyio.to_thread.run_sync(self._read)
        return self._keys[1]

    def _read(self) -> list[KeyRecord]:
        with self._database.reading() as session:
            return api_keys.list_all(session)


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
