"""Every error as a problem document (RFC 9457), never a traceback."""

from __future__ import annotations

import re
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gallery.errors import (
    DetailsInvalid,
    ErasureIncomplete,
    FaceAlreadyEnrolled,
    FaceNotFound,
    GalleryError,
    HomeError,
    IdentityExists,
    IdentityNotFound,
    InvalidName,
    JobNotFound,
    LastFace,
    MergeEmpty,
    MergeNotFound,
    MergeTooOld,
    PhotoError,
    PhotoTooLarge,
    SettingInvalid,
    ThumbnailNotFound,
)
from gallery.json_forms.problem_types import PREFIX, PROBLEM_TYPES
from gallery.names import printable

_STATUS: tuple[tuple[type[GalleryError], HTTPStatus], ...] = (
    (PhotoTooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (PhotoError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (InvalidName, HTTPStatus.UNPROCESSABLE_ENTITY),
    (DetailsInvalid, HTTPStatus.UNPROCESSABLE_ENTITY),
    (SettingInvalid, HTTPStatus.UNPROCESSABLE_ENTITY),
    (IdentityNotFound, HTTPStatus.NOT_FOUND),
    (FaceNotFound, HTTPStatus.NOT_FOUND),
    (LastFace, HTTPStatus.CONFLICT),
    (FaceAlreadyEnrolled, HTTPStatus.CONFLICT),
    (ErasureIncomplete, HTTPStatus.INTERNAL_SERVER_ERROR),
    (ThumbnailNotFound, HTTPStatus.NOT_FOUND),
    (MergeNotFound, HTTPStatus.NOT_FOUND),
    (JobNotFound, HTTPStatus.NOT_FOUND),
    (IdentityExists, HTTPStatus.CONFLICT),
    (MergeTooOld, HTTPStatus.CONFLICT),
    (MergeEmpty, HTTPStatus.UNPROCESSABLE_ENTITY),
    (HomeError, HTTPStatus.SERVICE_UNAVAILABLE),
    (GalleryError, HTTPStatus.INTERNAL_SERVER_ERROR),
)
"""The first that fits."""


_KINDS = {
    HTTPStatus.BAD_REQUEST: "bad-request",
    HTTPStatus.NOT_FOUND: "not-found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method-not-allowed",
    HTTPStatus.PRECONDITION_FAILED: "precondition-failed",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported-media-type",
}
"""Of what the framework refuses. Written out: its phrases differ between versions of Python."""

_FOLDERS = re.compile(r"(?<![\w.:/])/(?:[^/\n:;,]+/)+")


def problem(
    status: int, kind: str, detail: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    """kind : a few words with hyphens; the title is made of it."""
    return JSONResponse(
        {
            "type": f"{PREFIX}{kind}",
            "title": kind.replace("-", " ").capitalize(),
            "status": status,
            "detail": printable(detail),
        },
        status,
        headers,
        media_type="application/problem+json",
    )


class Refusal(HTTPException):
    """A request that is refused before, or instead of, its work. kind : as `problem` has it."""

    def __init__(
        self, status: int, kind: str, detail: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, headers)
        self.answer = problem(status, kind, detail, headers)


def problem_of(error: GalleryError) -> JSONResponse:
    """The document for one of ours. Where it lies on the server's disk is nobody else's affair."""
    status = next(s for known, s in _STATUS if isinstance(error, known))
    kind = PROBLEM_TYPES[type(error)]
    later = {"Retry-After": "1"} if status is HTTPStatus.SERVICE_UNAVAILABLE else None
    said = str(error) if status < 500 else _FOLDERS.sub("", str(error))
    return problem(status, kind, said, later)


def handle_errors(app: FastAPI) -> None:
    """Let the app answer every error so."""

    @app.exception_handler(GalleryError)
    def _known(_: Request, error: GalleryError) -> JSONResponse:
        return problem_of(error)

    @app.exception_handler(RequestValidationError)
    def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        said = "; ".join(
            f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors()
        )
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", said)

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error, Refusal):
            return error.answer
        status = HTTPStatus(error.status_code)
        said, headers = str(error.detail), dict(error.headers or {})
        if said == status.phrase:  # the framework's own words
            said = f"{request.method} {request.url.path}: see /v1/openapi.json for what there is"
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            there = app.openapi()["paths"].get(getattr(request.scope.get("route"), "path", ""), {})
            headers["allow"] = ", ".join(method.upper() for method in there) or "GET"
        return problem(status, _KINDS.get(status, f"status-{status.value}"), said, headers)


def mistake(error: Exception) -> JSONResponse:
    """The document for what nobody foresaw."""
    said = f"this is a mistake in the program, please report it: {type(error).__name__}"
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "mistake-in-the-program", said)
