"""Idempotency-Key: a write that is sent again because its answer was lost is not done again.

Answers are remembered in memory alone, for a day at most, and forgotten when anyone is erased.
After a restart a write that is sent again is judged anew: enrolling the same photo again changes
nothing.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gallery.api.problems import problem

_WRITES = ("POST", "PUT", "PATCH", "DELETE")
_READS = ("/v1/query", "/v1/compare")
_KEY = re.compile("[!-~]{1,200}")
_MOST, _SECONDS = 1_000, 24 * 3600.0
_Name = tuple[str, str, str]  # who asked, for what, and the key


@dataclass
class _Answer:
    asked: str
    at: float
    messages: list[Message] = field(default_factory=list)
    complete: bool = False


class Repeats:
    """Between the doors and the routes: a key is its actor's and its route's alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._answers: OrderedDict[_Name, _Answer] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope.get("method")
        if scope["type"] != "http" or method not in _WRITES or scope["path"] in _READS:
            await self._app(scope, receive, send)
            return
        key = Headers(scope=scope).get("idempotency-key")
        if key is None:
            await self._app(scope, receive, send)
            self._erased(method)
            return
        if not _KEY.fullmatch(key):
            said = (
                f"an Idempotency-Key of {len(key)} characters; use 1 to 200, ASCII, without blanks"
            )
            await problem(HTTPStatus.BAD_REQUEST, "bad-request", said)(scope, receive, send)
            return
        body = await _whole(receive)
        asked = hashlib.sha256(scope["query_string"] + b"\n" + body).hexdigest()
        name = scope.get("state", {}).get("actor", ""), f"{method} {scope['path']}", key
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
            answer.complete = _final(answer)
            self._erased(method, but=name)
        finally:
            if not answer.complete:
                self._answers.pop(name, None)

    def _known(self, name: _Name) -> _Answer | None:
        oldest = time.monotonic() - _SECONDS
        for old, answer in list(self._answers.items()):
            if len(self._answers) < _MOST and answer.at > oldest:
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

    def _erased(self, method: str, but: _Name | None = None) -> None:
        """What was answered may bear the name of who is gone now."""
        if method == "DELETE":
            kept = [n for n, a in self._answers.items() if n == but or not a.complete]
            self._answers = OrderedDict((name, self._answers[name]) for name in kept)


def _final(answer: _Answer) -> bool:
    """Whether asking again would not be answered otherwise later."""
    start = answer.messages[0] if answer.messages else {"status": 500}
    whole = bool(answer.messages) and not answer.messages[-1].get("more_body", False)
    return whole and start["status"] < 500 and start["status"] != HTTPStatus.TOO_MANY_REQUESTS


async def _whole(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)
