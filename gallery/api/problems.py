"""Errors as problem documents (RFC 9457), never as tracebacks."""

from __future__ import annotations

import re
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gallery.errors import (
    DateInvalid,
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
    NameAmbiguous,
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
    (DateInvalid, HTTPStatus.UNPROCESSABLE_ENTITY),
    (SettingInvalid, HTTPStatus.UNPROCESSABLE_ENTITY),
    (IdentityNotFound, HTTPStatus.NOT_FOUND),
    (FaceNotFound, HTTPStatus.NOT_FOUND),
    (LastFace, HTTPStatus.CONFLICT),
    (FaceAlreadyEnrolled, HTTPStatus.CONFLICT),
    (ErasureIncomplete, HTTPStatus.INTERNAL_SERVER_ERROR),
    (ThumbnailNotFound, HTTPStatus.NOT_FOUND),
    (MergeNotFound, HTTPStatus.NOT_FOUND),
    (JobNotFound, HTTPStatus.NOT_FOUND),
    (NameAmbiguous, HTTPStatus.CONFLICT),
    (IdentityExists, HTTPStatus.CONFLICT),
    (MergeTooOld, HTTPStatus.CONFLICT),
    (MergeEmpty, HTTPStatus.UNPROCESSABLE_ENTITY),
    (HomeError, HTTPStatus.SERVICE_UNAVAILABLE),
    (GalleryError, HTTPStatus.INTERNAL_SERVER_ERROR),
)
"""The first match counts."""

_HTTP_KINDS = {
    HTTPStatus.BAD_REQUEST: "bad-request",
    HTTPStatus.NOT_FOUND: "not-found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method-not-allowed",
    HTTPStatus.PRECONDITION_FAILED: "precondition-failed",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported-media-type",
}
"""For the framework's own errors; the phrases of HTTPStatus differ between Python versions."""

_FOLDERS = re.compile(r"(?<![\w.:/])/(?:[^/\n:;,]+/)+")


def problem(
    status: int, kind: str, detail: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    """Return a problem document.

    kind : the type without its prefix, in kebab-case; the title is derived from it.
    """
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
    """A request that is refused; `response` is its problem document. Arguments as for `problem`."""

    def __init__(
        self, status: int, kind: str, detail: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, headers)
        self.response = problem(status, kind, detail, headers)


def without_folders(message: str) -> str:
    """Return a message without the server's folders; the names of files stay."""
    return _FOLDERS.sub("", message)


def problem_of(error: GalleryError) -> JSONResponse:
    """Return the problem document of a known error. A 5xx does not name the server's folders."""
    status = next(s for known, s in _STATUS if isinstance(error, known))
    kind = PROBLEM_TYPES[type(error)]
    retry = {"Retry-After": "1"} if status is HTTPStatus.SERVICE_UNAVAILABLE else None
    detail = str(error) if status < 500 else without_folders(str(error))
    return problem(status, kind, detail, retry)


def internal_error(error: Exception) -> JSONResponse:
    """Return the problem document of an unexpected error."""
    detail = f"internal error ({type(error).__name__}); this is a bug, please report it"
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "mistake-in-the-program", detail)


def add_error_handlers(app: FastAPI) -> None:
    """Make the app answer every error with a problem document."""

    @app.exception_handler(GalleryError)
    def _gallery_error(_: Request, error: GalleryError) -> JSONResponse:
        return problem_of(error)

    @app.exception_handler(RequestValidationError)
    def _invalid_request(_: Request, error: RequestValidationError) -> JSONResponse:
        detail = "; ".join(
            f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors()
        )
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", detail)

    @app.exception_handler(HTTPException)
    def _http_error(request: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error, Refusal):
            return error.response
        status = HTTPStatus(error.status_code)
        detail, headers = str(error.detail), dict(error.headers or {})
        if detail == status.phrase:  # the framework gave no detail
            detail = f"{request.method} {request.url.path} does not exist; see /v1/openapi.json"
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            route = getattr(request.scope.get("route"), "path", "")
            operations = app.openapi()["paths"].get(route, {})
            headers["allow"] = ", ".join(method.upper() for method in operations) or "GET"
        return problem(status, _HTTP_KINDS.get(status, f"status-{status.value}"), detail, headers)
