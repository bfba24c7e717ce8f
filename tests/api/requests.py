"""What the tests ask a server."""

from __future__ import annotations

from pathlib import Path

import httpx

from gallery.demo.photos import alterations, altered


def enrol(client: httpx.Client, name: str, *photos: Path) -> httpx.Response:
    files = [("photo", (photo.name, photo.read_bytes())) for photo in photos]
    return client.post("/v1/identities", data={"name": name}, files=files)


def query(client: httpx.Client, photo: Path, **options: object) -> httpx.Response:
    return client.post("/v1/query", files={"photo": photo.read_bytes()}, params=options)


def misfile(client: httpx.Client, folder: Path, hopper: Path, collins: Path) -> None:
    """Three altered photos of Grace, three of Eileen, and wrong.jpg of Grace under Eileen."""
    for name, photo in (("Grace", hopper), ("Eileen", collins)):
        photos = [folder / f"{name} {i}.jpg" for i in range(3)]
        for file, alteration in zip(photos, alterations(), strict=False):
            file.write_bytes(altered(photo, alteration))
        enrol(client, name, *photos)
    client.post(
        "/v1/identities?force=true",
        data={"name": "Eileen"},
        files={"photo": ("wrong.jpg", hopper.read_bytes())},
    )


def is_problem(answer: httpx.Response, status: int, kind: str) -> bool:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    return bool(
        body["type"] == f"urn:face-gallery:{kind}"
        and body["status"] == status
        and body["title"]
        and body["detail"]
    )
