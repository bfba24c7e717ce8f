"""Photos out of a request: multipart fields, JSON with base64, or the raw body."""

from __future__ import annotations

import base64
import json
from http import HTTPStatus

import anyio
from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from gallery.vision.pipeline import Upload

_MOST_FIELDS = 100
_AT_ONCE = 256 * 2**10  # bytes; more is taken apart beside the event loop
Photos = dict[str, list[Upload]]


class _InMemory(MultiPartParser):
    """Nothing of a photo touches the disk; Guard has limited how much there is."""

    spool_max_size = 2**62


async def photos(request: Request, *fields: str) -> tuple[Photos, dict[str, str]]:
    """The photos in each of these fields, and the other fields of text.

    Raises HTTPException 400 or 415 for what is none of the three forms.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _of_form(request, fields)
    if kind == "application/json":
        body = await request.body()
        if len(body) <= _AT_ONCE:
            return _of_json(body, fields)
        return await anyio.to_thread.run_sync(_of_json, body, fields)
    if kind.startswith("image/") or kind == "application/octet-stream":
        found: Photos = {field: [] for field in fields}
        found[fields[0]].append(Upload(await request.body(), "(upload)"))
        return found, {}
    raise HTTPException(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        f"content type {kind!r}; send multipart/form-data with {' and '.join(fields)},"
        " application/json with base64, or the photo itself as image/*",
    )


async def _of_form(request: Request, fields: tuple[str, ...]) -> tuple[Photos, dict[str, str]]:
    found: Photos = {field: [] for field in fields}
    others: dict[str, str] = {}
    parser = _InMemory(
        request.headers, request.stream(), max_files=_MOST_FIELDS, max_fields=_MOST_FIELDS
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:  # KeyError: no boundary is named
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"no multipart form: {error}") from error
    try:
        for name, value in form.multi_items():
            if isinstance(value, str):
                others[name] = value
            elif name in fields:
                found[name].append(Upload(await value.read(), value.filename or "(upload)"))
    finally:
        await form.close()
    return found, others


def _of_json(content: bytes, fields: tuple[str, ...]) -> tuple[Photos, dict[str, str]]:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:  # ValueError: a number of 5,000 digits, too
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"no JSON: {error}") from error
    if not isinstance(body, dict):
        raise HTTPException(HTTPStatus.BAD_REQUEST, "expected a JSON object")
    found: Photos = {}
    for field in fields:
        values = body.pop(field, [])
        values = values if isinstance(values, list) else [values]
        if len(values) > _MOST_FIELDS:
            said = f"{field} has {len(values):,} photos; send {_MOST_FIELDS} at most at once"
            raise HTTPException(HTTPStatus.BAD_REQUEST, said)
        try:
            found[field] = [Upload(base64.b64decode(v, validate=True), "(upload)") for v in values]
        except (TypeError, ValueError) as error:
            said = f"{field} is not base64: {error}"
            raise HTTPException(HTTPStatus.BAD_REQUEST, said) from error
    return found, {k: v for k, v in body.items() if isinstance(v, str)}


def exactly(found: Photos, *fields: str) -> list[Upload]:
    """The one photo of each field. Raises HTTPException 400 for another number, or an empty one."""
    for field in fields:
        full = sum(bool(photo.content) for photo in found[field])
        if full != 1 or len(found[field]) != 1:
            said = f"{full} photos in the field {field}, expected 1, as a file"
            raise HTTPException(HTTPStatus.BAD_REQUEST, said)
    return [found[field][0] for field in fields]
