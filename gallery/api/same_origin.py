"""Whether a web page elsewhere asks, while there are no keys and anyone on this machine may ask.

A page that reaches this machine by a name of its own is known by its Host, one that sends a form
by its Origin, and one that shows a picture from here, which has neither, by its Sec-Fetch-Site
(https://www.w3.org/TR/fetch-metadata/). With keys none of this is asked: no page elsewhere has one,
and a proxy may pass whatever Host it likes.
"""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from gallery.api.problems import Refusal

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ELSEWHERE = ("cross-site", "same-site")  # same-site: another port of this machine, too


def refusal(headers: Headers, path: str, hosts: tuple[str, ...]) -> Refusal | None:
    """hosts : names that the Host header may have; empty: any."""
    host = headers.get("host", "")
    name = _part(f"//{host}", "hostname")
    if hosts and name not in hosts:
        said = f"this server is not called {name!r}; ask it as {' or '.join(hosts)}"
        return Refusal(HTTPStatus.MISDIRECTED_REQUEST, "another-host", said)
    origin = headers.get("origin")
    if origin is not None and _part(origin, "netloc") != host:
        said = f"a page of {origin} may not ask this server"
        return Refusal(HTTPStatus.FORBIDDEN, "another-origin", said)
    followed = path == "/" and headers.get("sec-fetch-mode") == "navigate"  # a link to the page
    if headers.get("sec-fetch-site") in _ELSEWHERE and not followed:
        said = "a page of another address may not ask this server; open its own page, /"
        return Refusal(HTTPStatus.FORBIDDEN, "another-origin", said)
    return None


def _part(address: str, part: str) -> str | None:
    try:
        found: str | None = getattr(urlsplit(address), part)
    except ValueError:  # such as a bracket that is never closed
        return None
    return found
