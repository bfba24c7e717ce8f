"""Photos out of a request: multipart fields, JSON with base64, or the raw body."""

from __future__ import annotations

import base64
import binascii
from http import HTTPStatus
from json import JSONDecodeError

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException

from gallery.seeing import Upload

_MOST_FIELDS = 100


async def photos(request: Request, *fields: str) -> tuple[list[Upload], dict[str, str]]:
    """The photos in these fields, in their order, and the other fields of text.

    Raises HTTPException 400 or 415 for what is none of the three forms.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _of_form(request, fields)
    if kind == "application/json":
        return await _of_json(request, fields)
    if kind.startswith("image/") or kind == "application/octet-stream":
        return [Upload(await request.body(), "(upload)")], {}
    raise HTTPException(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        f"content type {kind!r}; send multipart/form-data with {' and '.join(fields)},"
        " application/json with base64, or the photo itself as image/*",
    )


async def _of_form(
    request: Request, fields: tuple[str, ...]
) -> tuple[list[Upload], dict[str, str]]:
    found: list[Upload] = []
    others: dict[str, str] = {}
    try:
        async with request.form(max_files=_MOST_FIELDS, max_fields=_MOST_FIELDS) as form:
            for name, value in sorted(
                form.multi_items(), key=lambda x: fields.index(x[0]) if x[0] in fields else -1
            ):
                if isinstance(value, UploadFile):
                    if name in fields:
                        found.append(Upload(await value.read(), value.filename or "(upload)"))
                else:
                    others[name] = value
    except MultiPartException as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"no multipart form: {error}") from error
    return found, others


async def _of_json(
    request: Request, fields: tuple[str, ...]
) -> tuple[list[Upload], dict[str, str]]:
    try:
        body = await request.json()
    except (JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"no JSON: {error}") from error
    if not isinstance(body, dict):
        raise HTTPException(HTTPStatus.BAD_REQUEST, "expected a JSON object")
    found: list[Upload] = []
    for field in fields:
        values = body.pop(field, [])
        for value in values if isinstance(values, list) else [values]:
            try:
                found.append(Upload(base64.b64decode(value, validate=True), "(upload)"))
            except (binascii.Error, TypeError, ValueError) as error:
                said = f"{field} is not base64: {error}"
                raise HTTPException(HTTPStatus.BAD_REQUEST, said) from error
    return found, {k: v for k, v in body.items() if isinstance(v, str)}


def exactly(found: list[Upload], count: int, fields: str) -> list[Upload]:
    """Raises HTTPException 400 for another number of photos, or an empty one."""
    if len(found) != count or not all(one.content for one in found):
        full = sum(bool(one.content) for one in found)
        raise HTTPException(
            HTTPStatus.BAD_REQUEST, f"{full} photos, expected {count}: {fields}, as files"
        )
    return found
