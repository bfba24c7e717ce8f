"""Served below a path of a host, with or without a proxy that takes the path off."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from gallery.client import Client
from gallery.errors import SettingInvalid
from gallery.gallery import Gallery
from gallery.store import api_keys
from gallery.store.api_keys import Scope
from tests.api.conftest import Serve
from tests.api.requests import enrol, is_problem

PREFIX = "/faces"
_LINK = re.compile(r'(?:src|href)="([^"#]+)')


@pytest.fixture
def below(serve: Serve, tmp_path: Path) -> Iterator[httpx.Client]:
    with serve(tmp_path / "home", root_path=PREFIX) as client:
        yield client


def test_every_link_of_the_page_and_guide_stays_below(below: httpx.Client) -> None:
    assert below.get(PREFIX).headers["location"] == f"{PREFIX}/"
    to_read, read = [f"{PREFIX}/"], set()
    while to_read:
        address = to_read.pop()
        if address in read:
            continue
        read.add(address)
        page = below.get(address)
        assert page.status_code == 200, address
        if page.headers["content-type"].startswith("text/html"):
            links = (urljoin(address, link) for link in _LINK.findall(page.text))
            to_read += [link for link in links if not link.startswith("http")]
    assert len(read) > 12 and all(address.startswith(f"{PREFIX}/") for address in read)
    script = below.get(f"{PREFIX}/page/http.js").text
    assert "import.meta.url" in script


def test_program_uses_the_server_below(below: httpx.Client, hopper: Path) -> None:
    enrol(below, "Grace", hopper)  # by the path without the prefix, as behind a proxy
    with Client(f"{below.base_url}{PREFIX}") as client:
        assert [record.name for record in client.identities()] == ["Grace"]
        assert client.query(hopper).identity is not None
    started = below.post(f"{PREFIX}/v1/dedupe")
    location = started.headers["location"]
    assert location.startswith(f"{PREFIX}/v1/jobs/") and below.get(location).status_code == 200
    description = below.get(f"{PREFIX}/v1/openapi.json").json()
    assert description["servers"] == [{"url": PREFIX}]
    assert is_problem(below.get(f"{PREFIX}s/v1/identities"), 404, "not-found")
    assert below.get(f"{PREFIX}/guide/").headers["location"].endswith(f"{PREFIX}/guide")


def test_a_key_is_needed_below_too(serve: Serve, tmp_path: Path) -> None:
    with Gallery.open(tmp_path / "home") as gallery, gallery.database.writing() as session:
        api_keys.create(session, "desk", [Scope.QUERY], per_minute=60)
    with serve(tmp_path / "home", root_path=PREFIX) as client:
        for path in (
            "/v1/identities",
            f"{PREFIX}/v1/identities",
            f"{PREFIX}{PREFIX}/v1/identities",
        ):
            assert client.get(path).status_code in (401, 404), path
        assert is_problem(client.get(f"{PREFIX}/v1/identities"), 401, "key-needed")
        assert client.get(f"{PREFIX}/").status_code == 200


@pytest.mark.parametrize(
    ("forwarded", "seen"),
    [
        ("/faces", "/faces"),
        ("/a/b-c/", "/a/b-c"),
        ("//evil.example", ""),
        ("https://x", ""),
        ("", ""),
    ],
)
def test_prefix_that_a_proxy_sends(client: httpx.Client, forwarded: str, seen: str) -> None:
    started = client.post("/v1/dedupe", headers={"x-forwarded-prefix": forwarded})
    assert re.fullmatch(rf"{seen}/v1/jobs/[0-9a-f]+", started.headers["location"])


@pytest.mark.parametrize("path", ["faces", "/faces/", "//", "/a b", "https://host/faces"])
def test_odd_root_path_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(SettingInvalid, match="ROOT_PATH"):
        Gallery.open(tmp_path / "home", root_path=path)
