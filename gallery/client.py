"""A gallery that another process serves, asked over HTTP, with the same answers as `Gallery`."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import httpx

from gallery import errors, from_wire
from gallery.dedupe.reports import GalleryReport
from gallery.errors import (
    GalleryError,
    PhotoUnreadable,
    ServerRefused,
    ServerUnreachable,
    SettingInvalid,
)
from gallery.store.records import FaceRecord, IdentityRecord, Merged, MergeRecord, Receipt
from gallery.types import Comparison, Decision, Enrolment, Several

PhotoSource = str | Path | bytes
"""A file, or a file's bytes."""

_PAGE = 1_000
_KIND = "urn:face-gallery:"
_ENDED = ("done", "failed", "cancelled")
_POLL = 0.5


class Client:
    """Asks the server at `url`. Close it, or use it in a `with` block.

    key : as `gallery keys create` printed it; None where no key is needed.
    timeout : seconds for each request.
    What the server refuses is raised as the same error as `Gallery` would raise where it has one,
    else as ServerRefused; ServerUnreachable when it does not answer.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        timeout: float = 60.0,
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
        answer = self._ask("POST", "/v1/query", params=_taking(several), files=[_file(photo)])
        return from_wire.decision(answer)

    def query_all(self, photo: PhotoSource) -> list[Decision]:
        """Who is each face of this photo, the largest first? Raises PhotoError."""
        files = [_file(photo)]
        answer = self._ask("POST", "/v1/query", params={"all_faces": "true"}, files=files)
        return [from_wire.decision(one) for one in answer["answers"]]

    def compare(
        self, first: PhotoSource, second: PhotoSource, *, several: Several = Several.REFUSE
    ) -> Comparison:
        """Are two photos of the same person? Raises PhotoError."""
        files = [_file(first, "first"), _file(second, "second")]
        answer = self._ask("POST", "/v1/compare", params=_taking(several), files=files)
        return from_wire.comparison(answer)

    def calibration(self) -> dict[str, Any]:
        """The promise about strangers, in numbers and in words (`said`); see the description."""
        return self._ask("GET", "/v1/calibration")

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
        answer = self._ask(
            "POST", "/v1/identities", params=params, data={"name": name}, files=files
        )
        return [from_wire.enrolment(one) for one in answer["enrolments"]]

    def identities(self, search: str = "") -> Iterator[IdentityRecord]:
        """Everyone whose name has this part, by name."""
        offset = 0
        while True:
            params = {"search": search, "limit": _PAGE, "offset": offset}
            answer = self._ask("GET", "/v1/identities", params=params)
            yield from (from_wire.identity(one) for one in answer["identities"])
            offset += _PAGE
            if offset >= answer["total"]:
                return

    def identity(self, identity_id: int) -> tuple[IdentityRecord, list[FaceRecord]]:
        """One identity and its faces. Raises IdentityNotFound."""
        answer = self._ask("GET", f"/v1/identities/{identity_id}")
        enrolled = [from_wire.face_record(one) for one in answer["enrolled"]]
        return from_wire.identity(answer), enrolled

    def describe(
        self,
        identity_id: int,
        *,
        new_name: str | None = None,
        external_id: str | None = None,
        details: dict[str, str] | None = None,
        expires: str | None = None,
    ) -> IdentityRecord:
        """Set these. Raises IdentityNotFound, InvalidName, IdentityExists or SettingInvalid."""
        given = {
            "name": new_name,
            "external_id": external_id,
            "details": details,
            "expires_at": expires,
        }
        body = {name: value for name, value in given.items() if value is not None}
        return from_wire.identity(self._ask("PATCH", f"/v1/identities/{identity_id}", json=body))

    def merge(self, keep: int, others: Sequence[int]) -> Merged:
        """Give the faces of others to one identity. Raises IdentityNotFound or MergeEmpty."""
        body = {"others": list(others)}
        answer = self._ask("POST", f"/v1/identities/{keep}/merge", json=body)
        return Merged(from_wire.identity(answer), answer["merge_id"])

    def merges(self) -> list[MergeRecord]:
        """Every merge that can be undone, the newest first."""
        return [from_wire.merge(one) for one in self._ask("GET", "/v1/merges")["merges"]]

    def undo_merge(self, merge_id: int) -> list[IdentityRecord]:
        """Whom it is now. Raises MergeNotFound, MergeTooOld or IdentityExists."""
        answer = self._ask("POST", f"/v1/merges/{merge_id}/undo")
        return [from_wire.identity(one) for one in answer["identities"]]

    def keep_distinct(self, one: int, other: int, *, distinct: bool = True) -> None:
        """Remember that these are two people, or forget it. Raises IdentityNotFound."""
        method = "PUT" if distinct else "DELETE"
        self._ask(method, f"/v1/identities/{one}/distinct/{other}")

    def forget(self, identity_id: int) -> Receipt:
        """Erase a person; there is no undo. Raises IdentityNotFound."""
        return from_wire.receipt(self._ask("DELETE", f"/v1/identities/{identity_id}"))

    def forget_face(self, face_id: int) -> Receipt:
        """Erase one face of somebody who has others. Raises FaceNotFound or LastFace."""
        return from_wire.receipt(self._ask("DELETE", f"/v1/faces/{face_id}"))

    def thumbnail(self, face_id: int) -> bytes:
        """A JPEG of an enrolled face. Raises ThumbnailNotFound."""
        return self._answered("GET", f"/v1/faces/{face_id}/thumbnail").content

    # Cleaning

    def dedupe(
        self, progress: Callable[[int, int], None] = lambda _done, _total: None
    ) -> GalleryReport:
        """Who is enrolled twice. What `progress` raises cancels the work on the server."""
        job = self._ask("POST", "/v1/dedupe")
        try:
            while job["state"] not in _ENDED:
                progress(job["done"], job["total"])
                time.sleep(_POLL)
                job = self._ask("GET", f"/v1/jobs/{job['id']}")
        except BaseException:
            self._ask("POST", f"/v1/jobs/{job['id']}/cancel")
            raise
        if job["state"] != "done":
            raise ServerRefused(f"the work has {job['state']}: {job['error'] or 'by someone else'}")
        return from_wire.report(job["result"])

    def _ask(self, method: str, path: str, **sent: Any) -> dict[str, Any]:
        answer = self._answered(method, path, **sent)
        return dict(answer.json()) if answer.content else {}

    def _answered(self, method: str, path: str, **sent: Any) -> httpx.Response:
        # A write whose answer is lost may be sent again by whoever is between; it is done once.
        headers = {} if method == "GET" else {"idempotency-key": uuid4().hex}
        try:
            answer = self._http.request(method, path, headers=headers, **sent)
        except httpx.HTTPError as error:
            raise ServerUnreachable(
                f"{self._http.base_url} does not answer ({type(error).__name__}: {error}); is"
                " `gallery serve` running there?"
            ) from error
        if answer.is_success or answer.headers.get("content-type") == "application/json":
            return answer  # when every photo was refused, each says why
        raise _error(answer)


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
    try:
        told = answer.json()
        kind, said = str(told["type"]), str(told["detail"])
    except (ValueError, KeyError, TypeError):
        return ServerRefused(f"status {answer.status_code}, and no problem document")
    name = "".join(word.capitalize() for word in kind.removeprefix(_KIND).split("-"))
    found = getattr(errors, name, None) if re.fullmatch("[A-Za-z]+", name) else None
    if isinstance(found, type) and issubclass(found, GalleryError):
        return found(said)
    return ServerRefused(f"{told.get('title', kind)} ({answer.status_code}): {said}")
