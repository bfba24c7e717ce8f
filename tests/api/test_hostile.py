"""Hostile requests are refused quickly and do not affect others."""

from __future__ import annotations

import json
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gallery.api import uploads
from tests.api.conftest import Serve
from tests.api.requests import address, enrol, is_problem


@pytest.mark.parametrize(
    "body",
    [
        b'{"photo": ' + b"9" * 5_000 + b"}",
        b'{"photo": ' + b"[" * 100_000,
        b'{"photo": ["' + b'", "' * 300_000 + b'"]}',
    ],
)
def test_malformed_json_is_refused_quickly(client: httpx.Client, body: bytes) -> None:
    kind = {"content-type": "application/json"}
    start = time.perf_counter()
    assert is_problem(client.post("/v1/query", content=body, headers=kind), 400, "bad-request")
    assert time.perf_counter() - start < 2


def test_photos_are_counted_before_they_are_decoded(
    monkeypatch: pytest.MonkeyPatch, client: httpx.Client
) -> None:
    decoded = []
    monkeypatch.setattr(uploads.base64, "b64decode", lambda *a, **k: decoded.append(1) or b"x")
    response = client.post("/v1/identities", json={"name": "A", "photo": ["eA=="] * 101})
    assert is_problem(response, 400, "bad-request") and "at most 100" in response.text
    assert decoded == []


def test_repeated_field_does_not_replace_a_missing_one(client: httpx.Client, hopper: Path) -> None:
    twice = [("first", hopper.read_bytes()), ("first", hopper.read_bytes())]
    response = client.post("/v1/compare", files=twice)
    assert is_problem(response, 400, "bad-request") and "first" in response.text


@pytest.mark.parametrize(
    "headers", [{"host": "[::1"}, {"origin": "http://["}, {"host": "evil.example"}]
)
def test_invalid_host_or_origin_is_refused(client: httpx.Client, headers: dict[str, str]) -> None:
    status, kind = (403, "another-origin") if "origin" in headers else (421, "another-host")
    assert is_problem(client.get("/healthz", headers=headers), status, kind)


def test_other_sites_may_link_to_the_page_but_embed_nothing(
    client: httpx.Client,
) -> None:
    for site in ("cross-site", "same-site"):
        embedded = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}
        assert is_problem(client.get("/v1/identities", headers=embedded), 403, "another-origin")
        followed = {"sec-fetch-site": site, "sec-fetch-mode": "navigate"}
        assert client.get("/", headers=followed).status_code == 200
        assert client.get("/v1/merges", headers=followed).status_code == 403
    own = client.get("/v1/identities", headers={"sec-fetch-site": "same-origin"})
    assert own.status_code == 200
    assert own.headers["cross-origin-resource-policy"] == "same-origin"


def test_invalid_text_is_refused(client: httpx.Client, hopper: Path) -> None:
    enrol(client, "Grace", hopper)
    kind = {"content-type": "application/json"}
    for changes in (
        {"details": {"note": "\ud800"}},
        {"details": {"\ud800": "x"}},
        {"details": {"note": "a\0b"}},
        {"external_id": "\ud800"},
        {"external_id": "x" * 201},
        {"details": {"note": "x" * 2_001}},
        {"details": {str(n): "x" for n in range(101)}},
    ):
        body = json.dumps(changes).encode()
        response = client.patch("/v1/identities/1", content=body, headers=kind)
        assert is_problem(response, 422, "details-invalid"), changes
    unknown = client.patch("/v1/identities/1", content=b'{"\\ud800": 1}', headers=kind)
    assert is_problem(unknown, 422, "invalid-request")
    assert client.get("/v1/identities").json()["identities"][0]["details"] == {}


def test_body_without_photos_is_limited_to_a_megabyte(
    client: httpx.Client,
) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 2**16

    kind = {"content-type": "application/json"}
    whole = client.patch("/v1/identities/1", content=b" " * (2**20 + 1), headers=kind)
    streamed = client.patch("/v1/identities/1", content=chunks(), headers=kind)
    for response in (whole, streamed):
        assert is_problem(response, 413, "request-too-large")


def test_slow_body_gets_408(serve: Serve, tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(30):
            yield b" "
            time.sleep(0.1)

    with serve(tmp_path / "home", api_seconds=1) as client:
        kind = {"content-type": "application/json"}
        response = client.patch("/v1/identities/1", content=chunks(), headers=kind)
        assert is_problem(response, 408, "too-slow")


def test_connections_with_half_a_header_or_an_unread_answer_are_closed(
    serve: Serve, tmp_path: Path
) -> None:
    request = b"GET /v1/openapi.json HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    with serve(tmp_path / "home", api_seconds=1) as client:
        with (
            socket.create_connection(address(client)) as half,
            socket.create_connection(address(client)) as second,
            socket.socket() as reader,
        ):
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect(address(client))
            half.sendall(request[:20])
            second.sendall(request)
            second.settimeout(5)
            while second.recv(2**16)[-1:] != b"}":
                pass
            second.sendall(request[:20])  # half a header of a second request
            for _ in range(2_000):  # more answers than the buffers hold
                reader.sendall(request)
            half.settimeout(5)
            assert half.recv(1) == b"" and second.recv(1) == b""
            time.sleep(1.5)
            with pytest.raises(OSError):
                for _ in range(100):
                    reader.sendall(request * 100)
                    time.sleep(0.05)
        start = time.perf_counter()
    assert time.perf_counter() - start < 4  # the server shuts down


def test_uploads_are_not_written_to_disk(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object) -> None:
        raise AssertionError("an upload was written to disk")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", fail)
    response = client.post("/v1/query", files={"photo": b"x" * 3 * 2**20})
    assert is_problem(response, 422, "photo-undecodable")


def test_head_is_get_without_the_body(client: httpx.Client) -> None:
    for path in ("/", "/healthz", "/v1/identities", "/v1/calibration", "/page/page.js"):
        get, head = client.get(path), client.head(path)
        assert head.status_code == 200 and head.content == b""
        assert head.headers["content-length"] == get.headers["content-length"]
    assert client.head("/v1/identities/9").status_code == 404
