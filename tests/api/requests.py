"""Requests to a server, and checks of its answers, shared by the tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx

from gallery.demo.photos import alterations, altered


def enrol(
    client: httpx.Client, name: str, *photos: Path, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    files = [("photo", (photo.name, photo.read_bytes())) for photo in photos]
    return client.post("/v1/identities", data={"name": name}, files=files, headers=headers)


def force_enrol(client: httpx.Client, name: str, photo: Path, file_name: str) -> httpx.Response:
    """Enrol a photo under this file name, even if it matches another identity."""
    files = {"photo": (file_name, photo.read_bytes())}
    return client.post("/v1/identities?force=true", data={"name": name}, files=files)


def query(client: httpx.Client, photo: Path, **options: object) -> httpx.Response:
    return client.post("/v1/query", files={"photo": photo.read_bytes()}, params=options)


def enrol_mislabelled(client: httpx.Client, folder: Path, hopper: Path, collins: Path) -> None:
    """Enrol three altered photos each of Grace and Eileen, and wrong.jpg of Grace as Eileen."""
    for name, photo in (("Grace", hopper), ("Eileen", collins)):
        photos = [folder / f"{name} {i}.jpg" for i in range(3)]
        for file, alteration in zip(photos, alterations(), strict=False):
            file.write_bytes(altered(photo, alteration))
        enrol(client, name, *photos)
    force_enrol(client, "Eileen", hopper, "wrong.jpg")


def address(client: httpx.Client) -> tuple[str, int]:
    """The host and port of the client's server."""
    assert client.base_url.port is not None
    return client.base_url.host, client.base_url.port


def is_problem(response: httpx.Response, status: int, kind: str) -> bool:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    return bool(
        body["type"] == f"urn:face-gallery:{kind}"
        and body["status"] == status
        and body["title"]
        and body["detail"]
    )


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Poll until the condition holds; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.01)
