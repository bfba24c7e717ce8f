"""Query parameters that a route does not have: refused, so that a misspelt one is not ignored."""

from __future__ import annotations

from difflib import get_close_matches
from http import HTTPStatus

from fastapi import Request

from gallery.api.problems import Refusal


async def refuse_unknown_parameters(request: Request) -> None:
    """Raise Refusal 422 for a query parameter that the request's route does not have.

    Pages for people are exempt: browsers and mail programs add parameters of their own to links.
    """
    route = request.scope["route"]
    if not route.include_in_schema:
        return
    known = [parameter.alias for parameter in route.dependant.query_params]
    unknown = next((name for name in request.query_params if name not in known), None)
    if unknown is None:
        return
    close = get_close_matches(unknown, known, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    takes = f"takes {', '.join(known)}" if known else "takes none"
    detail = f"unknown query parameter {unknown[:60]!r}; {hint}this request {takes}"
    raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", detail)
