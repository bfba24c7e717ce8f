"""A client of a gallery server, with the methods and results of `Gallery`."""

from __future__ import annotations

import contextlib
import operator
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

from gallery.client.former import formerly, formerly_of_several_photos
from gallery.client.requests import Requests, new_param, photo_file, several_params, taken_field
from gallery.dedupe.findings import GalleryFindings
from gallery.errors import (
    GalleryError,
    IdentityNotFound,
    NameAmbiguous,
    ServerRefused,
)
from gallery.json_forms import from_json
from gallery.json_forms.from_json import Json
from gallery.names import checked_name
from gallery.progress import Progress, no_progress
from gallery.store.records import FaceRecord, IdentityRecord, MergeRecord, MergeResult, Receipt
from gallery.types import Comparison, Decision, Enrolment, Several
from gallery.vision.photo_source import PhotoSource

T = TypeVar("T")
_PAGE_SIZE = 1_000
_ENDED = ("done", "failed", "cancelled")
_POLL_INTERVAL = 0.5  # seconds


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
        self._requests = Requests(url, key, timeout)

    def close(self) -> None:
        """Close the connections."""
        self._requests.close()

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
        params, files, data = several_params(several), [photo_file(photo)], taken_field(taken)
        parse = from_json.decision
        return self._requests.json(
            "POST", "/v1/query", parse, params=params, data=data, files=files
        )

    def query_all(self, photo: PhotoSource, *, taken: str | None = None) -> list[Decision]:
        """Identify every face in a photo, the largest first. Raises PhotoError or DateInvalid."""
        parse = _list_of("answers", from_json.decision)
        params, files, data = {"all_faces": "true"}, [photo_file(photo)], taken_field(taken)
        return self._requests.json(
            "POST", "/v1/query", parse, params=params, data=data, files=files
        )

    def compare(
        self, first: PhotoSource, second: PhotoSource, *, several: Several | str = Several.REFUSE
    ) -> Comparison:
        """Tell whether two photos show the same person. Raises PhotoError."""
        files = [photo_file(first, "first"), photo_file(second, "second")]
        params = several_params(several)
        return self._requests.json(
            "POST", "/v1/compare", from_json.comparison, params=params, files=files
        )

    def calibration(self) -> dict[str, Any]:
        """Return the expected error rates, in numbers and in words (`said`)."""
        return self._requests.json("GET", "/v1/calibration", dict)

    # Identities

    @formerly_of_several_photos
    def enroll(
        self,
        name: str,
        photo: PhotoSource,
        *,
        several: Several | str = Several.REFUSE,
        force: bool = False,
        distinct: bool = False,
        new: bool = False,
        strict: bool = False,
        taken: str | None = None,
    ) -> Enrolment:
        """Enrol a photo of a person. See Gallery.enroll for the options.

        Raises InvalidName, NameAmbiguous or DateInvalid.
        """
        (enrolment,) = self.enroll_photos(
            name,
            [photo],
            several=several,
            force=force,
            distinct=distinct,
            new=new,
            strict=strict,
            taken=taken,
        )
        return enrolment

    def enroll_photos(
        self,
        name: str,
        photos: Sequence[PhotoSource],
        *,
        several: Several | str = Several.REFUSE,
        force: bool = False,
        distinct: bool = False,
        new: bool = False,
        strict: bool = False,
        taken: str | None = None,
    ) -> list[Enrolment]:
        """Enrol photos of a person in one request, and return the outcome of each. As `enroll`."""
        flags = {"force": force, "distinct": distinct, "new": new, "strict": strict}
        params = several_params(several) | {name: "true" for name, on in flags.items() if on}
        files = [photo_file(photo) for photo in photos]
        parse = _list_of("enrolments", from_json.enrolment)
        data = {"name": name} | taken_field(taken)
        return self._requests.json(
            "POST", "/v1/identities", parse, params=params, data=data, files=files
        )

    def identities(self, search: str = "") -> list[IdentityRecord]:
        """List the identities whose names contain `search`, by name.

        Case and accents are ignored.
        """
        params = {"search": search, "limit": str(_PAGE_SIZE)}
        records: list[IdentityRecord] = []
        while True:
            page, after = self._requests.json(
                "GET", "/v1/identities", _identity_page, params=params
            )
            records += page
            if after is None:
                return records
            params["after"] = after

    def near(self, name: str) -> list[IdentityRecord]:
        """List the identities whose names are this one but for case, accents and spacing.

        Raises InvalidName.
        """
        params = {"near": name, "limit": str(_PAGE_SIZE)}
        return self._requests.json("GET", "/v1/identities", _identity_page, params=params)[0]

    @formerly("identity_id", now="name_or_id")
    def identity(self, name_or_id: str | int) -> tuple[IdentityRecord, list[FaceRecord]]:
        """Return an identity and its faces. Raises IdentityNotFound or NameAmbiguous.

        Names are taken as by Gallery.identity.
        """
        path = f"/v1/identities/{self._id_of(name_or_id)}"
        return self._requests.json("GET", path, _identity_with_faces)

    @formerly("identity_id", now="name_or_id")
    def describe(
        self,
        name_or_id: str | int,
        *,
        new_name: str | None = None,
        new: bool = False,
        external_id: str | None = None,
        details: dict[str, str] | None = None,
        expires: str | None = None,
    ) -> IdentityRecord:
        """Change an identity; what is None stays as it is. The expiry is a request of its own.

        new : see Gallery.rename.  expires : see `expire_at`.
        Raises IdentityNotFound, InvalidName, DetailsInvalid, IdentityExists or SettingInvalid.
        """
        identity_id = self._id_of(name_or_id)
        if expires is not None:
            self.expire_at(identity_id, expires)
        changes = {"name": new_name, "external_id": external_id, "details": details}
        body = {field: value for field, value in changes.items() if value is not None}
        path = f"/v1/identities/{identity_id}"
        return self._requests.json(
            "PATCH", path, from_json.identity, params=new_param(new), json=body
        )

    @formerly("identity_id", now="name_or_id")
    def expire_at(self, name_or_id: str | int, when: str) -> IdentityRecord:
        """Set when to erase an identity: a date, a time, or days from now as `90d`; empty: never.

        Raises IdentityNotFound or SettingInvalid.
        """
        path = f"/v1/identities/{self._id_of(name_or_id)}/expiry"
        return self._requests.json("PUT", path, from_json.identity, json={"expires_at": when})

    def merge(self, keep: str | int, others: Sequence[str | int]) -> MergeResult:
        """Merge other identities into one, by exact names or ids.

        Raises IdentityNotFound or MergeEmpty.
        """
        body = {"others": [self._id_of(other, exact=True) for other in others]}
        path = f"/v1/identities/{self._id_of(keep, exact=True)}/merge"
        return self._requests.json("POST", path, _merged, json=body)

    def merges(self, limit: int | None = None) -> list[MergeRecord]:
        """List the merges that can be undone, the newest first; all of them, or at most `limit`."""
        params = {} if limit is None else {"limit": str(limit)}
        parse = _list_of("merges", from_json.merge)
        return self._requests.json("GET", "/v1/merges", parse, params=params)

    def undo_merge(self, merge_id: int) -> list[IdentityRecord]:
        """Undo a merge, and return the identity that was kept and those restored.

        Raises MergeNotFound, MergeTooOld or IdentityExists.
        """
        parse = _list_of("identities", from_json.identity)
        return self._requests.json("POST", f"/v1/merges/{merge_id}/undo", parse)

    def keep_distinct(self, first: str | int, second: str | int, *, distinct: bool = True) -> None:
        """Mark two identities as different people, or unmark them. Raises IdentityNotFound."""
        method = "PUT" if distinct else "DELETE"
        path = f"/v1/identities/{self._id_of(first)}/distinct/{self._id_of(second)}"
        self._requests.send(method, path)

    @formerly("identity_id", now="name_or_id")
    def forget(self, name_or_id: str | int) -> Receipt:
        """Erase an identity, by exact name or id, with no undo. Raises IdentityNotFound."""
        path = f"/v1/identities/{self._id_of(name_or_id, exact=True)}"
        return self._requests.json("DELETE", path, from_json.receipt)

    def move_face(self, face_id: int, to: str | int) -> IdentityRecord:
        """Move a face to another identity, and return that one.

        Raises FaceNotFound, IdentityNotFound, LastFace or FaceAlreadyEnrolled.
        """
        path = f"/v1/faces/{face_id}/identity/{self._id_of(to)}"
        return self._requests.json("PUT", path, from_json.identity)

    def set_taken(self, face_id: int, taken: str | None) -> FaceRecord:
        """Set when the photo of a face was taken; None for unknown.

        Raises FaceNotFound or DateInvalid.
        """
        method, date = ("DELETE", "") if taken is None else ("PUT", f"/{quote(taken, safe='')}")
        return self._requests.json(
            method, f"/v1/faces/{face_id}/taken{date}", from_json.face_record
        )

    def call_right(self, face_id: int, *, right: bool = True) -> None:
        """Mark a face as correctly labelled, or unmark it. Raises FaceNotFound."""
        self._requests.send("PUT" if right else "DELETE", f"/v1/faces/{face_id}/right")

    def forget_face(self, face_id: int) -> Receipt:
        """Erase one of several faces of an identity. Raises FaceNotFound or LastFace."""
        return self._requests.json("DELETE", f"/v1/faces/{face_id}", from_json.receipt)

    def thumbnail(self, face_id: int) -> bytes:
        """Return a JPEG of an enrolled face. Raises ThumbnailNotFound."""
        return self._requests.send("GET", f"/v1/faces/{face_id}/thumbnail").content

    # Duplicates

    def dedupe(self, progress: Progress = no_progress) -> GalleryFindings:
        """Find duplicate identities and faces, and mislabelled faces.

        progress : called with the steps done and their total. An exception it raises, or Ctrl-C,
        cancels the job on the server.
        """
        job = self._requests.json("POST", "/v1/dedupe", _job)
        while job.state not in _ENDED:
            try:
                progress(job.done, job.total)
                time.sleep(_POLL_INTERVAL)
            except BaseException:
                with contextlib.suppress(GalleryError):  # raise what stopped it, not this
                    self._requests.send("POST", f"/v1/jobs/{job.id}/cancel")
                raise
            job = self._requests.json("GET", f"/v1/jobs/{job.id}", _job)
        if job.report is None:
            reason = job.error or "by another client"
            raise ServerRefused(f"the dedupe job was {job.state}: {reason}")
        return job.report

    def _id_of(self, name_or_id: str | int, *, exact: bool = False) -> int:
        """The id of an identity: by id, or for a string by name, else by id, else by a near name.

        exact : not by a near name.  Raises IdentityNotFound or NameAmbiguous.
        """
        if not isinstance(name_or_id, str):
            return operator.index(name_or_id)
        name = checked_name(name_or_id)
        near = self.near(name)
        named = [record for record in near if record.name == name]
        if not named and name_or_id.isdecimal():
            return int(name_or_id)
        found = named or ([] if exact else near)
        if len(found) > 1:
            names = " or ".join(repr(record.name) for record in found)
            raise NameAmbiguous(f"{name_or_id!r} may be {names}; give the exact name, or the id")
        if not found:
            raise IdentityNotFound(f"there is no identity {name_or_id!r}; `identities` lists them")
        return found[0].id


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
