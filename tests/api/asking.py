"""What the tests ask a server."""

from __future__ import annotations

from pathlib import Path

import httpx


def enrol(client: httpx.Client, name: str, *photos: Path) -> httpx.Response:
    files = [("photo", (photo.name, photo.read_bytes())) for photo in photos]
    return client.post("/v1/identities", data={"name": name}, files=files)


def query(client: httpx.Client, photo: Path, **options: object) -> httpx.Response:
    return client.post("/v1/query", files={"photo": photo.read_bytes()}, params=options)


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
