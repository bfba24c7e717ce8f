"""Refusal of requests from other web pages, while there are no keys.

A page that reached this machine under a name of its own (DNS rebinding) shows in the Host header, a
page that sends a form in Origin, and a page that embeds a picture, which sends neither, in
Sec-Fetch-Site (https://www.w3.org/TR/fetch-metadata/). Once there are keys this is not checked: no
other page has one, and a proxy may pass any Host.
"""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from gallery.api.problems import Refusal

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_OTHER_SITES = ("cross-site", "same-site")  # same-site includes other ports of this machine


def cross_origin_refusal(headers: Headers, path: str, hosts: tuple[str, ...]) -> Refusal | None:
    """Return the refusal of a cross-origin request, or None.

    hosts : accepted names in the Host header; empty accepts any.
    """
    host = headers.get("host", "")
    name = _url_part(f"//{host}", "hostname")
    if hosts and name not in hosts:
        detail = f"the host {name!r} is not accepted; use {' or '.join(hosts)}"
        return Refusal(HTTPStatus.MISDIRECTED_REQUEST, "another-host", detail)
    origin = headers.get("origin")
    if origin is not None and _url_part(origin, "netloc") != host:
        detail = f"cross-origin requests are not allowed, and this one is from {origin}"
        return Refusal(HTTPStatus.FORBIDDEN, "another-origin", detail)
    is_link_to_page = path == "/" and headers.get("sec-fetch-mode") == "navigate"
    if headers.get("sec-fetch-site") in _OTHER_SITES and not is_link_to_page:
        detail = "cross-origin requests are not allowed; open this server's own page, /"
        return Refusal(HTTPStatus.FORBIDDEN, "another-origin", detail)
    return None


def _url_part(url: str, part: str) -> str | None:
    try:
        value: str | None = getattr(urlsplit(url), part)
    except ValueError:  # e.g. an unclosed bracket
        return None
    return value
