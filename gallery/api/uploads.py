"""Photos in a request: multipart fields, JSON with base64, or the raw body."""

from __future__ import annotations

import base64
import json
from http import HTTPStatus

import anyio
from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from gallery.vision.pipeline import Upload

_MAX_FIELDS = 100
_MAX_INLINE_BYTES = 256 * 2**10  # larger JSON is parsed in a thread
_UNNAMED = "(upload)"
Photos = dict[str, list[Upload]]
"""The photos of each field."""


class _InMemoryParser(MultiPartParser):
    """Never writes an upload to disk; RequestLimits bounds its size."""

    spool_max_size = 2**62


async def read_photos(request: Request, *fields: str) -> tuple[Photos, dict[str, str]]:
    """Return the photos of these fields, and the text fields.

    Raises HTTPException 400 or 415.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        return await _from_form(request, fields)
    if media_type == "application/json":
        body = await request.body()
        if len(body) <= _MAX_INLINE_BYTES:
            return _from_json(body, fields)
        return await anyio.to_thread.run_sync(_from_json, body, fields)
    if media_type.startswith("image/") or media_type == "application/octet-stream":
        photos: Photos = {field: [] for field in fields}
        photos[fields[0]].append(Upload(await request.body(), _UNNAMED))
        return photos, {}
    raise HTTPException(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        f"unsupported content type {media_type!r}; send multipart/form-data with"
        f" {' and '.join(fields)}, application/json with base64, or the photo itself as image/*",
    )


async def _from_form(request: Request, fields: tuple[str, ...]) -> tuple[Photos, dict[str, str]]:
    photos: Photos = {field: [] for field in fields}
    texts: dict[str, str] = {}
    parser = _InMemoryParser(
        request.headers, request.stream(), max_files=_MAX_FIELDS, max_fields=_MAX_FIELDS
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:  # KeyError: no boundary
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"invalid multipart form: {error}") from error
    try:
        for name, value in form.multi_items():
            if isinstance(value, str):
                texts[name] = value
            elif name in fields:
                photos[name].append(Upload(await value.read(), value.filename or _UNNAMED))
    finally:
        await form.close()
    return photos, texts


def _from_json(content: bytes, fields: tuple[str, ...]) -> tuple[Photos, dict[str, str]]:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of 5,000 digits
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"invalid JSON: {error}") from error
    if not isinstance(body, dict):
        raise HTTPException(HTTPStatus.BAD_REQUEST, "expected a JSON object")
    photos: Photos = {}
    for field in fields:
        values = body.pop(field, [])
        values = values if isinstance(values, list) else [values]
        if len(values) > _MAX_FIELDS:
            detail = f"{field} has {len(values):,} photos; send at most {_MAX_FIELDS} per request"
            raise HTTPException(HTTPStatus.BAD_REQUEST, detail)
        try:
            photos[field] = [Upload(base64.b64decode(v, validate=True), _UNNAMED) for v in values]
        except (TypeError, ValueError) as error:
            detail = f"{field} is not valid base64: {error}"
            raise HTTPException(HTTPStatus.BAD_REQUEST, detail) from error
    taken = body.get("taken")
    if taken is not None and not isinstance(taken, str):
        detail = f'taken is {json.dumps(taken)[:40]}, expected a text such as "1998"'
        raise HTTPException(HTTPStatus.BAD_REQUEST, detail)
    return photos, {name: value for name, value in body.items() if isinstance(value, str)}


def single_photos(photos: Photos, *fields: str) -> list[Upload]:
    """Return the one photo of each field. Raises HTTPException 400 if none, several, or empty."""
    for field in fields:
        sizes = [len(photo.content) for photo in photos[field]]
        if len(sizes) != 1 or not sizes[0]:
            fault = "an empty one" if len(sizes) == 1 else str(len(sizes))
            detail = f"expected one photo in the field {field}, as a file, but got {fault}"
            raise HTTPException(HTTPStatus.BAD_REQUEST, detail)
    return [photos[field][0] for field in fields]
