"""Idempotency-Key: a write that is sent again is not executed again but gets the first answer.

Answers are kept in memory for a day at most, and dropped when an identity is erased, by this
process or another. After a restart a retried write is executed afresh; enrolling the same photo
twice changes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gallery.api.path_prefix import route_path
from gallery.api.problems import problem, problem_of
from gallery.errors import GalleryError
from gallery.store import audit
from gallery.store.database import Database

_WRITES = ("POST", "PUT", "PATCH", "DELETE")
_READ_ONLY_PATHS = ("/v1/query", "/v1/compare")
_VALID_KEY = re.compile("[!-~]{1,200}")
_BOUNDARY = re.compile(r';\s*boundary=("[^"]*"|[^;]*)', re.IGNORECASE)
_MAX_ANSWERS, _MAX_AGE = 1_000, 24 * 3600.0  # seconds
_Slot = tuple[str, str, str]  # actor, method and path, key


def is_repeatable_write(method: str, path: str) -> bool:
    """Whether a request accepts an Idempotency-Key."""
    return method in _WRITES and path not in _READ_ONLY_PATHS


@dataclass
class _Answer:
    fingerprint: str
    started: float
    messages: list[Message] = field(default_factory=list)
    is_complete: bool = False


class Idempotency:
    """Middleware inside authentication: a key counts per actor, method and path."""

    def __init__(self, app: ASGIApp, *, database: Database) -> None:
        self._app = app
        self._database = database
        self._answers: OrderedDict[_Slot, _Answer] = OrderedDict()
        self._newest_entry: int | None = None  # of the audit trail, when last read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_repeatable_write(scope["method"], route_path(scope)):
            await self._app(scope, receive, send)
            return
        key = Headers(scope=scope).get("idempotency-key")
        if key is None:
            await self._app(scope, receive, send)
        elif not _VALID_KEY.fullmatch(key):
            detail = (
                f"invalid Idempotency-Key ({len(key)} characters); use 1 to 200 ASCII characters"
                " without spaces"
            )
            await problem(HTTPStatus.BAD_REQUEST, "bad-request", detail)(scope, receive, send)
        else:
            await self._execute_once(key, scope, receive, send)
        if scope["method"] == "DELETE":
            with suppress(GalleryError):  # the next request with a key tries again
                await self._drop_after_erasures()

    async def _execute_once(self, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read_body(receive)
        if body is None:
            return  # the client is gone, and the body may be incomplete
        fingerprint = await anyio.to_thread.run_sync(_fingerprint, scope, body)
        try:
            await self._drop_after_erasures()
        except GalleryError as error:
            await problem_of(error)(scope, receive, send)
            return
        slot = scope["state"].get("actor", ""), f"{scope['method']} {scope['path']}", key
        earlier = self._earlier_answer(slot)
        if earlier is not None:
            await _repeated(earlier, fingerprint)(scope, receive, send)
            return
        answer = self._answers[slot] = _Answer(fingerprint, time.monotonic())

        async def receive_body() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def record_and_send(message: Message) -> None:
            answer.messages.append(message)
            await send(message)

        try:
            await self._app(scope, receive_body, record_and_send)
        finally:
            running: asyncio.Future[object] | None = scope["state"].get("running")
            if _is_final(answer) and not scope["state"].get("is_partial"):
                answer.is_complete = True
            elif running is None or running.done():
                self._answers.pop(slot, None)
            else:  # the work outlived its request: do not start it again before it ends
                running.add_done_callback(lambda _: self._answers.pop(slot, None))

    def _earlier_answer(self, slot: _Slot) -> _Answer | None:
        oldest = time.monotonic() - _MAX_AGE
        for old in [s for s, answer in self._answers.items() if answer.is_complete]:
            if len(self._answers) < _MAX_ANSWERS and self._answers[old].started > oldest:
                break
            del self._answers[old]
        return self._answers.get(slot)

    async def _drop_after_erasures(self) -> None:
        """Drop answers if an identity was erased, since they may name it; receipts name no one."""
        self._newest_entry, has_erasure = await anyio.to_thread.run_sync(self._read_audit)
        if has_erasure:
            for slot in [s for s, answer in self._answers.items() if answer.is_complete]:
                if not slot[1].startswith("DELETE "):
                    del self._answers[slot]

    def _read_audit(self) -> tuple[int, bool]:
        with self._database.reading() as session:
            return audit.erasure_since(session, self._newest_entry)


def _repeated(answer: _Answer, fingerprint: str) -> ASGIApp:
    if answer.fingerprint != fingerprint:
        detail = "this Idempotency-Key was used for a different request; use a new key"
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "key-used-before", detail)
    if not answer.is_complete:
        detail = "the first request with this Idempotency-Key is still running"
        return problem(HTTPStatus.CONFLICT, "still-working", detail, {"Retry-After": "1"})

    async def replay(_scope: Scope, _receive: Receive, send: Send) -> None:
        for message in answer.messages:
            if message["type"] == "http.response.start":
                message = {**message, "headers": list(message["headers"])}
                MutableHeaders(scope=message)["idempotency-replayed"] = "true"
            await send(message)

    return replay


def _fingerprint(scope: Scope, body: bytes) -> str:
    """Return a hash of the request, without a form's boundary, which differs with each try."""
    content_type = Headers(scope=scope).get("content-type", "")
    boundary = _BOUNDARY.search(content_type)
    if boundary and content_type.lower().startswith("multipart/"):
        content_type = content_type.replace(boundary[0], "")
        body = body.replace(boundary[1].strip('" ').encode("latin-1") or b"\0", b"")
    parts = (scope["query_string"], content_type.encode("latin-1"), body)
    return hashlib.sha256(b"\n".join(parts)).hexdigest()


def _is_final(answer: _Answer) -> bool:
    """Whether a retry would get the same answer: whole, and neither 5xx nor 429."""
    start = answer.messages[0] if answer.messages else {"status": 500}
    is_whole = bool(answer.messages) and not answer.messages[-1].get("more_body", False)
    return is_whole and start["status"] < 500 and start["status"] != HTTPStatus.TOO_MANY_REQUESTS


async def _read_body(receive: Receive) -> bytes | None:
    """Return the body, or None if the client disconnected."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)
