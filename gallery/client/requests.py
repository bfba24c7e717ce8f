"""The client's requests: retried where that is safe, and errors as the server means them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx

from gallery.errors import (
    GalleryError,
    PhotoUnreadable,
    ServerRefused,
    ServerUnreachable,
    SettingInvalid,
)
from gallery.json_forms.from_json import Json
from gallery.json_forms.problem_types import PREFIX, error_of
from gallery.types import Several
from gallery.vision.photo_source import PhotoSource, content_in_memory, source_name

T = TypeVar("T")
_MAX_TRIES = 4
_RETRY_STATUSES = (429, 503)
_FIRST_WAIT, _MAX_WAIT = 0.25, 30.0  # seconds; doubled each time, unless the server sets the wait
_STILL_WORKING = f"{PREFIX}still-working"


class Requests:
    """Sends requests to one server, see gallery.client.Client."""

    def __init__(self, url: str, key: str | None, timeout: float) -> None:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout)

    def close(self) -> None:
        self._http.close()

    def json(self, method: str, path: str, parse: Callable[[Json], T], **options: Any) -> T:
        """Return the parsed JSON of the answer. Raises ServerRefused if it cannot be parsed."""
        response = self.send(method, path, **options)
        try:
            return parse(response.json())
        except (ValueError, TypeError, KeyError) as error:
            raise ServerRefused(
                f"unexpected answer (status {response.status_code}); is {self._http.base_url} a"
                " gallery server of this version?"
            ) from error

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        response = self._request_with_retries(method, path, **options)
        # If every photo was refused, the answer is a 409 with each photo's reason.
        is_enrolment = response.status_code == 409 and "enrolments" in _json_object(response)
        if response.is_success or is_enrolment:
            return response
        raise _error(response)

    def _request_with_retries(self, method: str, path: str, **options: Any) -> httpx.Response:
        """All tries have the same Idempotency-Key, so that a write is executed once."""
        headers = {} if method == "GET" else {"idempotency-key": uuid4().hex}
        for number in range(1, _MAX_TRIES + 1):
            wait = _FIRST_WAIT * 2 ** (number - 1)
            try:
                response = self._http.request(method, path, headers=headers, **options)
            except httpx.HTTPError as error:
                if number == _MAX_TRIES or isinstance(error, httpx.UnsupportedProtocol):
                    raise ServerUnreachable(
                        f"no answer from {self._http.base_url} ({type(error).__name__}: {error});"
                        " is `gallery serve` running there?"
                    ) from error
            else:
                is_running = _json_object(response).get("type") == _STILL_WORKING
                may_retry = response.status_code in _RETRY_STATUSES or is_running
                if number == _MAX_TRIES or not may_retry:
                    return response
                retry_after = response.headers.get("retry-after", "")
                wait = float(retry_after) if retry_after.isdecimal() else wait
            time.sleep(min(wait, _MAX_WAIT))
        raise AssertionError("the last try returns or raises")


def _json_object(response: httpx.Response) -> dict[str, Any]:
    """Return the JSON object in the response; empty if there is none."""
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _error(response: httpx.Response) -> GalleryError:
    """Return the error that the server reports: the same class as there, or ServerRefused."""
    body = _json_object(response)
    problem_type, detail = str(body.get("type")), body.get("detail")
    if detail is None:
        return ServerRefused(f"status {response.status_code} without a problem document")
    error_class = error_of(problem_type)
    if error_class is not None:
        return error_class(str(detail))
    title = body.get("title", problem_type)
    return ServerRefused(f"{title} ({response.status_code}): {detail}")


def several_params(several: Several | str) -> dict[str, str]:
    rule = Several.of(several)
    if rule is Several.CENTRAL:
        raise SettingInvalid("the HTTP API does not support several = central; use largest")
    return {"largest": "true"} if rule is Several.LARGEST else {}


def new_param(new: bool) -> dict[str, str]:
    return {"new": "true"} if new else {}


def taken_field(taken: str | None) -> dict[str, str]:
    return {} if taken is None else {"taken": taken}


def photo_file(photo: PhotoSource, field: str = "photo") -> tuple[str, tuple[str, bytes]]:
    name = source_name(photo)
    if not isinstance(photo, str | os.PathLike):
        return field, (name, content_in_memory(photo))
    try:
        return field, (name, Path(photo).read_bytes())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise PhotoUnreadable(f"{name} cannot be read: {reason}") from error
