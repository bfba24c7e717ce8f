"""Idempotency-Key: a write that is sent again because its answer was lost is not done again.

Answers are remembered in memory alone, for a day at most, and forgotten when anyone is erased, here
or by another process. After a restart a write that is sent again is judged anew: enrolling the same
photo again changes nothing.
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

from gallery.api.problems import problem, problem_of
from gallery.errors import GalleryError
from gallery.store import audit
from gallery.store.database import Database

_WRITES = ("POST", "PUT", "PATCH", "DELETE")
_READS = ("/v1/query", "/v1/compare")
_KEY = re.compile("[!-~]{1,200}")
_BOUNDARY = re.compile(r';\s*boundary=("[^"]*"|[^;]*)', re.IGNORECASE)
_MOST, _SECONDS = 1_000, 24 * 3600.0
_Name = tuple[str, str, str]  # who asked, for what, and the key


@dataclass
class _Answer:
    asked: str
    at: float
    messages: list[Message] = field(default_factory=list)
    complete: bool = False


class Idempotency:
    """Between the doors and the routes: a key is its actor's and its route's alone."""

    def __init__(self, app: ASGIApp, *, database: Database) -> None:
        self._app = app
        self._database = database
        self._answers: OrderedDict[_Name, _Answer] = OrderedDict()
        self._seen: int | None = None  # the newest entry of the audit trail, when last looked at

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope.get("method")
        if scope["type"] != "http" or method not in _WRITES or scope["path"] in _READS:
            await self._app(scope, receive, send)
            return
        key = Headers(scope=scope).get("idempotency-key")
        if key is None:
            await self._app(scope, receive, send)
        elif not _KEY.fullmatch(key):
            said = (
                f"an Idempotency-Key of {len(key)} characters; use 1 to 200, ASCII, without blanks"
            )
            await problem(HTTPStatus.BAD_REQUEST, "bad-request", said)(scope, receive, send)
        else:
            await self._once(key, scope, receive, send)
        if method == "DELETE":
            with suppress(GalleryError):  # the next one with a key looks again
                await self._forget_the_erased()

    async def _once(self, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _whole(receive)
        if body is None:
            return  # whoever asked is gone, and what was sent may be half of it
        asked = await anyio.to_thread.run_sync(_asked, scope, body)
        try:
            await self._forget_the_erased()
        except GalleryError as error:
            await problem_of(error)(scope, receive, send)
            return
        name = scope["state"].get("actor", ""), f"{scope['method']} {scope['path']}", key
        known = self._known(name)
        if known is not None:
            await self._again(known, asked)(scope, receive, send)
            return
        answer = self._answers[name] = _Answer(asked, time.monotonic())

        async def once() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def kept(message: Message) -> None:
            answer.messages.append(message)
            await send(message)

        try:
            await self._app(scope, once, kept)
        finally:
            late: asyncio.Future[object] | None = scope["state"].get("late")
            if _final(answer) and not scope["state"].get("partial"):
                answer.complete = True
            elif late is None or late.done():
                self._answers.pop(name, None)
            else:  # it may yet be done: until that is known it must not be begun again
                late.add_done_callback(lambda _: self._answers.pop(name, None))

    def _known(self, name: _Name) -> _Answer | None:
        oldest = time.monotonic() - _SECONDS
        for old in [n for n, answer in self._answers.items() if answer.complete]:
            if len(self._answers) < _MOST and self._answers[old].at > oldest:
                break
            del self._answers[old]
        return self._answers.get(name)

    def _again(self, known: _Answer, asked: str) -> ASGIApp:
        if known.asked != asked:
            said = "this Idempotency-Key was used for another request; take a new one"
            return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "key-used-before", said)
        if not known.complete:
            said = "the request with this Idempotency-Key is still being worked on"
            return problem(HTTPStatus.CONFLICT, "still-working", said, {"Retry-After": "1"})

        async def replay(_scope: Scope, _receive: Receive, send: Send) -> None:
            for message in known.messages:
                if message["type"] == "http.response.start":
                    message = {**message, "headers": list(message["headers"])}
                    MutableHeaders(scope=message)["idempotency-replayed"] = "true"
                await send(message)

        return replay

    async def _forget_the_erased(self) -> None:
        """What was answered may bear the name of who is gone now; an erasure's own bears none."""
        self._seen, erased = await anyio.to_thread.run_sync(self._look)
        if erased:
            for name in [n for n, answer in self._answers.items() if answer.complete]:
                if not name[1].startswith("DELETE "):
                    del self._answers[name]

    def _look(self) -> tuple[int, bool]:
        with self._database.reading() as session:
            return audit.erased_since(session, self._seen)


def _asked(scope: Scope, body: bytes) -> str:
    """A hash of what is asked; the boundary between a form's parts is another each time."""
    kind = Headers(scope=scope).get("content-type", "")
    boundary = _BOUNDARY.search(kind)
    if boundary and kind.lower().startswith("multipart/"):
        kind = kind.replace(boundary[0], "")
        body = body.replace(boundary[1].strip('" ').encode("latin-1") or b"\0", b"")
    parts = (scope["query_string"], kind.encode("latin-1"), body)
    return hashlib.sha256(b"\n".join(parts)).hexdigest()


def _final(answer: _Answer) -> bool:
    """Whether asking again would not be answered otherwise later."""
    start = answer.messages[0] if answer.messages else {"status": 500}
    whole = bool(answer.messages) and not answer.messages[-1].get("more_body", False)
    return whole and start["status"] < 500 and start["status"] != HTTPStatus.TOO_MANY_REQUESTS


async def _whole(receive: Receive) -> bytes | None:
    """The body; None when it was broken off."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)
