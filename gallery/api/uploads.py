"""Photos in a request: multipart fields, JSON with base64, or the raw body."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import anyio
from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from gallery.vision.photo_source import Upload

_MAX_FIELDS = 100
_MAX_INLINE_BYTES = 256 * 2**10  # larger JSON is parsed in a thread
_MAX_SHOWN = 10  # names of fields in a message
_UNNAMED = "(upload)"
_TEXT_FIELDS = ("name", "taken")
_DATA_URL = re.compile(r"data:[^,]{0,200};\s*base64\s*,", re.IGNORECASE)
_STANDARD_ALPHABET = bytes.maketrans(b"-_", b"+/")
_WHITESPACE = b" \t\r\n\f\v"


@dataclass
class Fields:
    """What a request brought.

    photos : the photos of each field that was asked for.
    texts : the text fields.
    names : of every field that came, also of those that were not asked for.
    """

    photos: dict[str, list[Upload]]
    texts: dict[str, str] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    def single(self, *fields: str) -> list[Upload]:
        """Return the one photo of each field. Raises HTTPException 400: none, several, or empty."""
        for name in fields:
            sizes = [len(photo.content) for photo in self.photos[name]]
            if len(sizes) != 1 or not sizes[0]:
                fault = "an empty one" if len(sizes) == 1 else str(len(sizes))
                detail = f"expected one photo in the field {name}, as a file, but got {fault}"
                raise HTTPException(HTTPStatus.BAD_REQUEST, f"{detail}; {self._came()}")
        return [self.photos[name][0] for name in fields]

    def named_photos(self) -> tuple[str, list[Upload]]:
        """Return the name and the photos to enrol. Raises HTTPException 400 if either is absent."""
        photos = self.photos["photo"]
        if not photos or "name" not in self.texts:
            detail = f"expected a name and at least one photo, as a file; {self._came()}"
            raise HTTPException(HTTPStatus.BAD_REQUEST, detail)
        return self.texts["name"], photos

    def _came(self) -> str:
        """Say which fields came, and which of them as text instead of a file."""
        shown = [
            f"{name[:40]!r} (text)" if name in self.texts else repr(name[:40])
            for name in dict.fromkeys(self.names)
        ]
        if not shown:
            return "no field came"
        more = f" and {len(shown) - _MAX_SHOWN} more" if len(shown) > _MAX_SHOWN else ""
        fields = "field" if len(shown) == 1 else "fields"
        return f"the request has the {fields} {', '.join(shown[:_MAX_SHOWN])}{more}"


async def read_fields(request: Request, *fields: str) -> Fields:
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
        photo = Upload(await request.body(), _UNNAMED)
        return Fields({name: [photo] if name == fields[0] else [] for name in fields}, {}, [])
    raise HTTPException(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        f"unsupported content type {media_type!r}; send multipart/form-data with"
        f" {' and '.join(fields)}, application/json with base64, or the photo itself as image/*",
    )


class _InMemoryParser(MultiPartParser):
    """Never writes an upload to disk; RequestLimits bounds its size."""

    spool_max_size = 2**62


async def _from_form(request: Request, fields: tuple[str, ...]) -> Fields:
    found = Fields({name: [] for name in fields})
    parser = _InMemoryParser(
        request.headers, request.stream(), max_files=_MAX_FIELDS, max_fields=_MAX_FIELDS
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:  # KeyError: no boundary
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"invalid multipart form: {error}") from error
    try:
        for name, value in form.multi_items():
            found.names.append(name)
            if isinstance(value, str):
                found.texts[name] = value
            elif name in fields:
                found.photos[name].append(Upload(await value.read(), value.filename or _UNNAMED))
    finally:
        await form.close()
    return found


def _from_json(content: bytes, fields: tuple[str, ...]) -> Fields:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of 5,000 digits
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"invalid JSON: {error}") from error
    if not isinstance(body, dict):
        raise HTTPException(HTTPStatus.BAD_REQUEST, "expected a JSON object")
    found = Fields({}, {}, list(body))
    for name in fields:
        values = body.pop(name, [])
        values = values if isinstance(values, list) else [values]
        if len(values) > _MAX_FIELDS:
            detail = f"{name} has {len(values):,} photos; send at most {_MAX_FIELDS} per request"
            raise HTTPException(HTTPStatus.BAD_REQUEST, detail)
        try:
            found.photos[name] = [Upload(_from_base64(value), _UNNAMED) for value in values]
        except ValueError as error:
            detail = f"{name} is not valid base64: {error}"
            raise HTTPException(HTTPStatus.BAD_REQUEST, detail) from error
    for name in _TEXT_FIELDS:
        value = body.get(name)
        if value is not None and not isinstance(value, str):
            example = "1998" if name == "taken" else "Grace Hopper"
            detail = f'{name} is {json.dumps(value)[:40]}, expected a text such as "{example}"'
            raise HTTPException(HTTPStatus.BAD_REQUEST, detail)
    found.texts = {name: value for name, value in body.items() if isinstance(value, str)}
    return found


def _from_base64(value: Any) -> bytes:
    """Decode base64 as browsers and phones write it. Raises ValueError.

    It may be a data: URL, be wrapped into lines, use the URL-safe alphabet, and lack its padding.
    """
    if not isinstance(value, str):
        raise ValueError(f"expected a text, got {json.dumps(value)[:40]}")
    text = value.lstrip()
    data_url = _DATA_URL.match(text)
    if data_url is None and text[:5].lower() == "data:":
        raise ValueError("it is a data: URL without ;base64")
    encoded = text[data_url.end() if data_url else 0 :].encode()
    digits = encoded.translate(_STANDARD_ALPHABET, delete=_WHITESPACE).rstrip(b"=")
    return base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
