"""A gallery that another process serves, asked over HTTP, with the same answers as `Gallery`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
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
from gallery.store.records import FaceRecord, IdentityRecord, Merged, MergeRecord, Receipt
from gallery.types import Comparison, Decision, Enrolment, Several

T = TypeVar("T")
PhotoSource = str | Path | bytes
"""A file, or a file's bytes."""

_PAGE = 1_000
_ENDED = ("done", "failed", "cancelled")
_POLL = 0.5
_TIMES = 4  # tries of a request that was not answered, or is to be sent again later
_LATER = (429, 503)
_WAIT, _LONGEST_WAIT = 0.25, 30.0  # seconds between two tries, doubled, unless the server says when
_STILL_WORKING = f"{PREFIX}still-working"


class Client:
    """Asks the server at `url`. Close it, or use it in a `with` block.

    key : as `gallery keys create` printed it; None where no key is needed.
    timeout : seconds for each try of a request; longer than the server's own limit, so that a
    server that is slow says so itself. What is not answered, or is to be sent again later, is sent
    again a few times; a write is done once all the same.
    What the server refuses is raised as the same error as `Gallery` would raise where it has one,
    else as ServerRefused; ServerUnreachable when it does not answer.
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
        """Let go of the connections."""
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

    # Asking

    def query(self, photo: PhotoSource, *, several: Several = Several.REFUSE) -> Decision:
        """Who is the one face of this photo? Raises PhotoError."""
        params, files = _taking(several), [_file(photo)]
        return self._ask("POST", "/v1/query", from_json.decision, params=params, files=files)

    def query_all(self, photo: PhotoSource) -> list[Decision]:
        """Who is each face of this photo, the largest first? Raises PhotoError."""
        read = _each("answers", from_json.decision)
        params, files = {"all_faces": "true"}, [_file(photo)]
        return self._ask("POST", "/v1/query", read, params=params, files=files)

    def compare(
        self, first: PhotoSource, second: PhotoSource, *, several: Several = Several.REFUSE
    ) -> Comparison:
        """Are two photos of the same person? Raises PhotoError."""
        files = [_file(first, "first"), _file(second, "second")]
        params = _taking(several)
        return self._ask("POST", "/v1/compare", from_json.comparison, params=params, files=files)

    def calibration(self) -> dict[str, Any]:
        """The promise about strangers, in numbers and in words (`said`); see the description."""
        return self._ask("GET", "/v1/calibration", dict)

    # Keeping

    def enroll(
        self,
        name: str,
        *photos: PhotoSource,
        several: Several = Several.REFUSE,
        force: bool = False,
    ) -> list[Enrolment]:
        """What became of each photo. Raises InvalidName."""
        params = _taking(several) | ({"force": "true"} if force else {})
        files = [_file(photo) for photo in photos]
        read = _each("enrolments", from_json.enrolment)
        named = {"name": name}
        return self._ask("POST", "/v1/identities", read, params=params, data=named, files=files)

    def identities(self, search: str = "") -> Iterator[IdentityRecord]:
        """Everyone whose name has this part, by name."""
        offset = 0
        while True:
            params = {"search": search, "limit": _PAGE, "offset": offset}
            total, page = self._ask("GET", "/v1/identities", _page, params=params)
            yield from page
            offset += _PAGE
            if offset >= total:
                return

    def identity(self, identity_id: int) -> tuple[IdentityRecord, list[FaceRecord]]:
        """One identity and its faces. Raises IdentityNotFound."""
        return self._ask("GET", f"/v1/identities/{identity_id}", _with_faces)

    def describe(
        self,
        identity_id: int,
        *,
        new_name: str | None = None,
        external_id: str | None = None,
        details: dict[str, str] | None = None,
    ) -> IdentityRecord:
        """Set these. Raises IdentityNotFound, InvalidName or IdentityExists."""
        given = {"name": new_name, "external_id": external_id, "details": details}
        body = {name: value for name, value in given.items() if value is not None}
        path = f"/v1/identities/{identity_id}"
        return self._ask("PATCH", path, from_json.identity, json=body)

    def expire_at(self, identity_id: int, when: str) -> IdentityRecord:
        """Erase a person from then on, see gallery.moments; empty: never.

        Raises IdentityNotFound or SettingInvalid.
        """
        path = f"/v1/identities/{identity_id}/expiry"
        return self._ask("PUT", path, from_json.identity, json={"expires_at": when})

    def merge(self, keep: int, others: Sequence[int]) -> Merged:
        """Give the faces of others to one identity. Raises IdentityNotFound or MergeEmpty."""
        body = {"others": list(others)}
        return self._ask("POST", f"/v1/identities/{keep}/merge", _merged, json=body)

    def merges(self) -> list[MergeRecord]:
        """Every merge that can be undone, the newest first."""
        return self._ask("GET", "/v1/merges", _each("merges", from_json.merge))

    def undo_merge(self, merge_id: int) -> list[IdentityRecord]:
        """Whom it is now. Raises MergeNotFound, MergeTooOld or IdentityExists."""
        read = _each("identities", from_json.identity)
        return self._ask("POST", f"/v1/merges/{merge_id}/undo", read)

    def keep_distinct(self, one: int, other: int, *, distinct: bool = True) -> None:
        """Remember that these are two people, or forget it. Raises IdentityNotFound."""
        method = "PUT" if distinct else "DELETE"
        self._answered(method, f"/v1/identities/{one}/distinct/{other}")

    def forget(self, identity_id: int) -> Receipt:
        """Erase a person; there is no undo. Raises IdentityNotFound."""
        return self._ask("DELETE", f"/v1/identities/{identity_id}", from_json.receipt)

    def move_face(self, face_id: int, to: int) -> None:
        """Put a face under another identity, by id."""
        self._answered("PUT", f"/v1/faces/{face_id}/identity/{to}")

    def call_right(self, face_id: int, *, right: bool = True) -> None:
        """Remember that a face is under the right name; or forget it."""
        self._answered("PUT" if right else "DELETE", f"/v1/faces/{face_id}/right")

    def forget_face(self, face_id: int) -> Receipt:
        """Erase one face of somebody who has others. Raises FaceNotFound or LastFace."""
        return self._ask("DELETE", f"/v1/faces/{face_id}", from_json.receipt)

    def thumbnail(self, face_id: int) -> bytes:
        """A JPEG of an enrolled face. Raises ThumbnailNotFound."""
        return self._answered("GET", f"/v1/faces/{face_id}/thumbnail").content

    # Cleaning

    def dedupe(
        self, progress: Callable[[int, int], None] = lambda _done, _total: None
    ) -> GalleryFindings:
        """Who is enrolled twice. What `progress` raises, or Ctrl-C, cancels it there."""
        job = self._ask("POST", "/v1/dedupe", _job)
        while job.state not in _ENDED:
            try:
                progress(job.done, job.total)
                time.sleep(_POLL)
            except BaseException:
                with contextlib.suppress(GalleryError):  # what stopped it is to be told, not this
                    self._answered("POST", f"/v1/jobs/{job.id}/cancel")
                raise
            job = self._ask("GET", f"/v1/jobs/{job.id}", _job)
        if job.report is None:
            raise ServerRefused(f"the work has {job.state}: {job.error or 'by someone else'}")
        return job.report

    def _ask(self, method: str, path: str, read: Callable[[Json], T], **sent: Any) -> T:
        """What `read` makes of the answer. Raises ServerRefused when that is no gallery's."""
        answer = self._answered(method, path, **sent)
        try:
            return read(answer.json())
        except (ValueError, TypeError, KeyError) as error:
            raise ServerRefused(
                f"status {answer.status_code}, and not what a gallery answers; is"
                f" {self._http.base_url} one, of this version?"
            ) from error

    def _answered(self, method: str, path: str, **sent: Any) -> httpx.Response:
        answer = self._patiently(method, path, **sent)
        if answer.is_success or (answer.status_code == 409 and "enrolments" in _told(answer)):
            return answer  # when every photo was refused, each says why
        raise _error(answer)

    def _patiently(self, method: str, path: str, **sent: Any) -> httpx.Response:
        """Asked again while that may help; with one key, so that a write is done once."""
        headers = {} if method == "GET" else {"idempotency-key": uuid4().hex}
        for tried in range(1, _TIMES + 1):
            wait = _WAIT * 2 ** (tried - 1)
            try:
                answer = self._http.request(method, path, headers=headers, **sent)
            except httpx.HTTPError as error:
                if tried == _TIMES or isinstance(error, httpx.UnsupportedProtocol):
                    raise ServerUnreachable(
                        f"{self._http.base_url} does not answer ({type(error).__name__}: {error});"
                        " is `gallery serve` running there?"
                    ) from error
            else:
                working = _told(answer).get("type") == _STILL_WORKING
                if tried == _TIMES or not (answer.status_code in _LATER or working):
                    return answer
                later = answer.headers.get("retry-after", "")
                wait = float(later) if later.isdecimal() else wait
            time.sleep(min(wait, _LONGEST_WAIT))
        raise AssertionError("the last try returns or raises")


def _told(answer: httpx.Response) -> dict[str, Any]:
    """The JSON object that it is, if it is one."""
    try:
        told = answer.json()
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


@dataclass(frozen=True)
class _Job:
    """report : None unless it is done."""

    id: str
    state: str
    done: int
    total: int
    report: GalleryFindings | None
    error: str | None


def _job(told: Json) -> _Job:
    report = from_json.report(told["result"]) if told["state"] == "done" else None
    return _Job(told["id"], told["state"], told["done"], told["total"], report, told["error"])


def _each(field: str, read: Callable[[Json], T]) -> Callable[[Json], list[T]]:
    return lambda told: [read(one) for one in told[field]]


def _page(told: Json) -> tuple[int, list[IdentityRecord]]:
    return int(told["total"]), _each("identities", from_json.identity)(told)


def _with_faces(told: Json) -> tuple[IdentityRecord, list[FaceRecord]]:
    return from_json.identity(told), _each("enrolled", from_json.face_record)(told)


def _merged(told: Json) -> Merged:
    return Merged(from_json.identity(told), told["merge_id"])


def _taking(several: Several) -> dict[str, str]:
    if several is Several.CENTRAL:
        raise SettingInvalid("several = central is not known to the HTTP API; use largest")
    return {"largest": "true"} if several is Several.LARGEST else {}


def _file(photo: PhotoSource, field: str = "photo") -> tuple[str, tuple[str, bytes]]:
    if isinstance(photo, bytes):
        return field, ("(bytes)", photo)
    try:
        return field, (str(photo), Path(photo).read_bytes())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise PhotoUnreadable(f"{photo} cannot be read: {reason}") from error


def _error(answer: httpx.Response) -> GalleryError:
    """The error that the server had, when it is one of ours."""
    told = _told(answer)
    kind, said = str(told.get("type")), told.get("detail")
    if said is None:
        return ServerRefused(f"status {answer.status_code}, and no problem document")
    found = error_of(kind)
    if found is not None:
        return found(str(said))
    return ServerRefused(f"{told.get('title', kind)} ({answer.status_code}): {said}")
