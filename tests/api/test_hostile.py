"""What a hostile client sends is refused, at once, and harms no one else."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gallery.api import uploads
from tests.api.conftest import Serve
from tests.api.requests import enrol, is_problem
from tests.api.test_idempotency import address


@pytest.mark.parametrize(
    "body",
    [
        b'{"photo": ' + b"9" * 5_000 + b"}",
        b'{"photo": ' + b"[" * 100_000,
        b'{"photo": ["' + b'", "' * 300_000 + b'"]}',
    ],
)
def test_json_that_is_no_photo_is_a_problem_and_no_one_waits_for_it(
    client: httpx.Client, body: bytes
) -> None:
    kind = {"content-type": "application/json"}
    begun = time.perf_counter()
    assert is_problem(client.post("/v1/query", content=body, headers=kind), 400, "bad-request")
    assert time.perf_counter() - begun < 2


def test_no_photo_is_read_before_there_are_known_to_be_few_enough(
    monkeypatch: pytest.MonkeyPatch, client: httpx.Client
) -> None:
    decoded = []
    monkeypatch.setattr(uploads.base64, "b64decode", lambda *a, **k: decoded.append(1) or b"x")
    answer = client.post("/v1/identities", json={"name": "A", "photo": ["eA=="] * 101})
    assert is_problem(answer, 400, "bad-request") and "100 at most" in answer.text
    assert decoded == []


def test_one_field_twice_is_not_two_fields(client: httpx.Client, hopper: Path) -> None:
    twice = [("first", hopper.read_bytes()), ("first", hopper.read_bytes())]
    answer = client.post("/v1/compare", files=twice)
    assert is_problem(answer, 400, "bad-request") and "first" in answer.text


@pytest.mark.parametrize(
    "headers", [{"host": "[::1"}, {"origin": "http://["}, {"host": "evil.example"}]
)
def test_a_broken_host_or_origin_is_refused(client: httpx.Client, headers: dict[str, str]) -> None:
    answer = client.get("/healthz", headers=headers)
    assert answer.status_code in (403, 421) and is_problem(
        answer, answer.status_code, "another-origin" if "origin" in headers else "another-host"
    )


def test_a_picture_on_another_page_is_not_answered_and_a_link_to_the_page_is(
    client: httpx.Client,
) -> None:
    for site in ("cross-site", "same-site"):
        asked = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}
        assert is_problem(client.get("/v1/identities", headers=asked), 403, "another-origin")
        followed = {"sec-fetch-site": site, "sec-fetch-mode": "navigate"}
        assert client.get("/", headers=followed).status_code == 200
        assert client.get("/v1/merges", headers=followed).status_code == 403
    own = client.get("/v1/identities", headers={"sec-fetch-site": "same-origin"})
    assert own.status_code == 200
    assert own.headers["cross-origin-resource-policy"] == "same-origin"


def test_text_that_no_answer_could_have_is_refused(client: httpx.Client, hopper: Path) -> None:
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
        answer = client.patch("/v1/identities/1", content=body, headers=kind)
        assert is_problem(answer, 422, "details-invalid"), changes
    strange = client.patch("/v1/identities/1", content=b'{"\\ud800": 1}', headers=kind)
    assert is_problem(strange, 422, "invalid-request")
    assert client.get("/v1/identities").json()["identities"][0]["details"] == {}


def test_a_body_without_photos_is_small_and_too_much_of_it_is_said_as_that(
    client: httpx.Client,
) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 2**16

    kind = {"content-type": "application/json"}
    whole = client.patch("/v1/identities/1", content=b" " * (2**20 + 1), headers=kind)
    streamed = client.patch("/v1/identities/1", content=pieces(), headers=kind)
    for answer in (whole, streamed):
        assert is_problem(answer, 413, "request-too-large")


def test_a_body_that_comes_too_slowly_is_said_as_that(serve: Serve, tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(30):
            yield b" "
            time.sleep(0.1)

    with serve(tmp_path / "home", api_seconds=1) as client:
        kind = {"content-type": "application/json"}
        answer = client.patch("/v1/identities/1", content=pieces(), headers=kind)
        assert is_problem(answer, 408, "too-slow")


def test_half_a_header_and_an_answer_that_is_not_read_are_let_go_of(
    serve: Serve, tmp_path: Path
) -> None:
    ask = b"GET /v1/openapi.json HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    with serve(tmp_path / "home", api_seconds=1) as client:
        with (
            socket.create_connection(address(client)) as half,
            socket.create_connection(address(client)) as second,
            socket.socket() as deaf,
        ):
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(address(client))
            half.sendall(ask[:20])
            second.sendall(ask)
            second.settimeout(5)
            while second.recv(2**16)[-1:] != b"}":
                pass
            second.sendall(ask[:20])  # half a header of a second request
            for _ in range(2_000):  # far more than fits on the way
                deaf.sendall(ask)
            half.settimeout(5)
            assert half.recv(1) == b"" and second.recv(1) == b""
            time.sleep(1.5)
            with pytest.raises(OSError):
                for _ in range(100):
                    deaf.sendall(ask * 100)
                    time.sleep(0.05)
        begun = time.perf_counter()
    assert time.perf_counter() - begun < 4  # the server ends


def test_nothing_of_a_photo_is_written_to_the_disk(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    def never(self: object) -> None:
        raise AssertionError("an upload was written to the disk")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", never)
    answer = client.post("/v1/query", files={"photo": b"x" * 3 * 2**20})
    assert is_problem(answer, 422, "photo-undecodable")


def test_head_is_get_without_a_body(client: httpx.Client) -> None:
    for path in ("/", "/healthz", "/v1/identities", "/v1/calibration", "/page/page.js"):
        got, head = client.get(path), client.head(path)
        assert head.status_code == 200 and head.content == b""
        assert head.headers["content-length"] == got.headers["content-length"]
    assert client.head("/v1/identities/9").status_code == 404
