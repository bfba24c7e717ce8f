"""A client of a gallery server, with the methods and results of `Gallery`."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx

from gallery.dedupe.findings import GalleryFindings
from gallery.errors import (
    GalleryError,
    PhotoUnreadable,
    ServerRefused,
    ServerUnreachable,
    SettingInvalid,
)
from gallery.json_forms import from_json
from gallery.json_forms.from_json import Json
from gallery.json_forms.problem_types import PREFIX, error_of
from gallery.progress import Progress, no_progress
from gallery.store.records import FaceRecord, IdentityRecord, MergeRecord, MergeResult, Receipt
from gallery.types import Comparison, Decision, Enrolment, Several
from gallery.vision.photo_source import PhotoSource, content_in_memory, source_name

T = TypeVar("T")
_PAGE_SIZE = 1_000
_ENDED = ("done", "failed", "cancelled")
_POLL_INTERVAL = 0.5  # seconds
_MAX_TRIES = 4
_RETRY_STATUSES = (429, 503)
_FIRST_WAIT, _MAX_WAIT = 0.25, 30.0  # seconds; doubled each time, unless the server sets the wait
_STILL_WORKING = f"{PREFIX}still-working"


class Client:
    """A client of the server at `url`, to be closed or used in a `with` block.

    key : as printed by `gallery keys create`; None if the server needs no key.
    timeout : seconds for each try of a request. Keep it above the server's own limit, so that a
    slow server can report that itself.

    Requests that get no answer, or are to be sent again later, are retried a few times. A retried
    write is still executed only once.

    Methods raise the same errors as `Gallery`; ServerRefused for other refusals, such as a missing
    key; ServerUnreachable if there is no answer.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        timeout: float = 90.0,
    ) -> None:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Queries

    def query(
        self,
        photo: PhotoSource,
        *,
        several: Several | str = Several.REFUSE,
        taken: str | None = None,
    ) -> Decision:
        """Identify the one face in a photo. taken : see Gallery.enroll.

        Raises PhotoError or DateInvalid.

        >>> with Client(url) as client:
        ...     client.query("unknown.jpg").identity.name
        'Grace Hopper'
        """
        params, files, data = _several_params(several), [_file(photo)], _taken_field(taken)
        parse = from_json.decision
        return self._json("POST", "/v1/query", parse, params=params, data=data, files=files)

    def query_all(self, photo: PhotoSource, *, taken: str | None = None) -> list[Decision]:
        """Identify every face in a photo, the largest first. Raises PhotoError or DateInvalid."""
        parse = _list_of("answers", from_json.decision)
        params, files, data = {"all_faces": "true"}, [_file(photo)], _taken_field(taken)
        return self._json("POST", "/v1/query", parse, params=params, data=data, files=files)

    def compare(
        self, first: PhotoSource, second: PhotoSource, *, several: Several | str = Several.REFUSE
    ) -> Comparison:
        """Tell whether two photos show the same person. Raises PhotoError."""
        files = [_file(first, "first"), _file(second, "second")]
        params = _several_params(several)
        return self._json("POST", "/v1/compare", from_json.comparison, params=params, files=files)

    def calibration(self) -> dict[str, Any]:
        """Return the expected error rates, in numbers and in words (`said`)."""
        return self._json("GET", "/v1/calibration", dict)

    # Identities

    def enroll(
        self,
        name: str,
        *photos: PhotoSource,
        several: Several | str = Several.REFUSE,
        force: bool = False,
        distinct: bool = False,
        new: bool = False,
        strict: bool = False,
        taken: str | None = None,
    ) -> list[Enrolment]:
        """Enrol photos under a name, and return the outcome of each.

        force, distinct, new, strict, taken : see Gallery.enroll.
        Raises InvalidName, NameAmbiguous or DateInvalid.
        """
        flags = {"force": force, "distinct": distinct, "new": new, "strict": strict}
        params = _several_params(several) | {name: "true" for name, on in flags.items() if on}
        files = [_file(photo) for photo in photos]
        parse = _list_of("enrolments", from_json.enrolment)
        data = {"name": name} | _taken_field(taken)
        return self._json("POST", "/v1/identities", parse, params=params, data=data, files=files)

    def identities(self, search: str = "") -> Iterator[IdentityRecord]:
        """Yield the identities whose names contain `search`, by name, as they are needed.

        Case and accents are ignored.
        """
        params = {"search": search, "limit": str(_PAGE_SIZE)}
        while True:
            page, after = self._json("GET", "/v1/identities", _identity_page, params=params)
            yield from page
            if after is None:
                return
            params["after"] = after

    def identity(self, identity_id: int) -> tuple[IdentityRecord, list[FaceRecord]]:
        """Return an identity and its faces. Raises IdentityNotFound."""
        return self._json("GET", f"/v1/identities/{identity_id}", _identity_with_faces)

    def describe(
        self,
        identity_id: int,
        *,
        new_name: str | None = None,
        new: bool = False,
        external_id: str | None = None,
        details: dict[str, str] | None = None,
    ) -> IdentityRecord:
        """Change an identity; what is None stays as it is.

        new : see Gallery.rename.
        Raises IdentityNotFound, InvalidName, DetailsInvalid or IdentityExists.
        """
        changes = {"name": new_name, "external_id": external_id, "details": details}
        body = {field: value for field, value in changes.items() if value is not None}
        path = f"/v1/identities/{identity_id}"
        return self._json("PATCH", path, from_json.identity, params=_new_param(new), json=body)

    def expire_at(self, identity_id: int, when: str) -> IdentityRecord:
        """Set when to erase an identity: a date, a time, or days from now as `90d`; empty: never.

        Raises IdentityNotFound or SettingInvalid.
        """
        path = f"/v1/identities/{identity_id}/expiry"
        return self._json("PUT", path, from_json.identity, json={"expires_at": when})

    def merge(self, keep: int, others: Sequence[int]) -> MergeResult:
        """Merge other identities into one. Raises IdentityNotFound or MergeEmpty."""
        body = {"others": list(others)}
        return self._json("POST", f"/v1/identities/{keep}/merge", _merged, json=body)

    def merges(self) -> list[MergeRecord]:
        """Return the merges that can be undone, the newest first."""
        return self._json("GET", "/v1/merges", _list_of("merges", from_json.merge))

    def undo_merge(self, merge_id: int) -> list[IdentityRecord]:
        """Undo a merge, and return the identity that was kept and those restored.

        Raises MergeNotFound, MergeTooOld or IdentityExists.
        """
        parse = _list_of("identities", from_json.identity)
        return self._json("POST", f"/v1/merges/{merge_id}/undo", parse)

    def keep_distinct(self, first: int, second: int, *, distinct: bool = True) -> None:
        """Mark two identities as different people, or unmark them. Raises IdentityNotFound."""
        method = "PUT" if distinct else "DELETE"
        self._request(method, f"/v1/identities/{first}/distinct/{second}")

    def forget(self, identity_id: int) -> Receipt:
        """Erase an identity. This cannot be undone. Raises IdentityNotFound."""
        return self._json("DELETE", f"/v1/identities/{identity_id}", from_json.receipt)

    def move_face(self, face_id: int, to: int) -> None:
        """Move a face to another identity.

        Raises FaceNotFound, IdentityNotFound, LastFace or FaceAlreadyEnrolled.
        """
        self._request("PUT", f"/v1/faces/{face_id}/identity/{to}")

    def set_taken(self, face_id: int, taken: str | None) -> FaceRecord:
        """Set when the photo of a face was taken; None for unknown.

        Raises FaceNotFound or DateInvalid.
        """
        method, date = ("DELETE", "") if taken is None else ("PUT", f"/{quote(taken, safe='')}")
        return self._json(method, f"/v1/faces/{face_id}/taken{date}", from_json.face_record)

    def call_right(self, face_id: int, *, right: bool = True) -> None:
        """Mark a face as correctly labelled, or unmark it. Raises FaceNotFound."""
        self._request("PUT" if right else "DELETE", f"/v1/faces/{face_id}/right")

    def forget_face(self, face_id: int) -> Receipt:
        """Erase one of several faces of an identity. Raises FaceNotFound or LastFace."""
        return self._json("DELETE", f"/v1/faces/{face_id}", from_json.receipt)

    def thumbnail(self, face_id: int) -> bytes:
        """Return a JPEG of an enrolled face. Raises ThumbnailNotFound."""
        return self._request("GET", f"/v1/faces/{face_id}/thumbnail").content

    # Duplicates

    def dedupe(self, progress: Progress = no_progress) -> GalleryFindings:
        """Find duplicate identities and faces, and mislabelled faces.

        progress : called with the steps done and their total. An exception it raises, or Ctrl-C,
        cancels the job on the server.
        """
        job = self._json("POST", "/v1/dedupe", _job)
        while job.state not in _ENDED:
            try:
                progress(job.done, job.total)
                time.sleep(_POLL_INTERVAL)
            except BaseException:
                with contextlib.suppress(GalleryError):  # raise what stopped it, not this
                    self._request("POST", f"/v1/jobs/{job.id}/cancel")
                raise
            job = self._json("GET", f"/v1/jobs/{job.id}", _job)
        if job.report is None:
            reason = job.error or "by another client"
            raise ServerRefused(f"the dedupe job was {job.state}: {reason}")
        return job.report

    def _json(self, method: str, path: str, parse: Callable[[Json], T], **options: Any) -> T:
        """Return the parsed JSON of the answer. Raises ServerRefused if it cannot be parsed."""
        response = self._request(method, path, **options)
        try:
            return parse(response.json())
        except (ValueError, TypeError, KeyError) as error:
            raise ServerRefused(
                f"unexpected answer (status {response.status_code}); is {self._http.base_url} a"
                " gallery server of this version?"
            ) from error

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
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


@dataclass(frozen=True)
class _Job:
    """report : None unless the job is done."""

    id: str
    state: str
    done: int
    total: int
    report: GalleryFindings | None
    error: str | None


def _job(data: Json) -> _Job:
    report = from_json.report(data["result"]) if data["state"] == "done" else None
    return _Job(data["id"], data["state"], data["done"], data["total"], report, data["error"])


def _list_of(field: str, parse: Callable[[Json], T]) -> Callable[[Json], list[T]]:
    return lambda data: [parse(item) for item in data[field]]


def _identity_page(data: Json) -> tuple[list[IdentityRecord], str | None]:
    return _list_of("identities", from_json.identity)(data), data["next"]


def _identity_with_faces(data: Json) -> tuple[IdentityRecord, list[FaceRecord]]:
    return from_json.identity(data), _list_of("enrolled", from_json.face_record)(data)


def _merged(data: Json) -> MergeResult:
    return MergeResult(from_json.identity(data), data["merge_id"])


def _several_params(several: Several | str) -> dict[str, str]:
    rule = Several.of(several)
    if rule is Several.CENTRAL:
        raise SettingInvalid("the HTTP API does not support several = central; use largest")
    return {"largest": "true"} if rule is Several.LARGEST else {}


def _new_param(new: bool) -> dict[str, str]:
    return {"new": "true"} if new else {}


def _taken_field(taken: str | None) -> dict[str, str]:
    return {} if taken is None else {"taken": taken}


def _file(photo: PhotoSource, field: str = "photo") -> tuple[str, tuple[str, bytes]]:
    name = source_name(photo)
    if not isinstance(photo, str | os.PathLike):
        return field, (name, content_in_memory(photo))
    try:
        return field, (name, Path(photo).read_bytes())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise PhotoUnreadable(f"{name} cannot be read: {reason}") from error


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
