"""Idempotency keys: a retried write is executed once, whatever happened to the first try."""

from __future__ import annotations

import io
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest

from gallery.api import app
from gallery.api.access_log import json_log
from gallery.gallery import Gallery
from gallery.types import Enrolment
from tests.api.conftest import Serve
from tests.api.requests import address, enrol, is_problem, wait_until

KEY = {"idempotency-key": "once"}


def test_form_with_a_new_boundary_is_the_same_request(client: httpx.Client, hopper: Path) -> None:
    first, again = (
        enrol(client, "Grace", hopper, headers=KEY),
        enrol(client, "Grace", hopper, headers=KEY),
    )
    assert first.request.headers["content-type"] != again.request.headers["content-type"]
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["idempotency-replayed"] == "true" and again.content == first.content
    assert is_problem(enrol(client, "Eileen", hopper, headers=KEY), 422, "key-used-before")
    as_json = client.post("/v1/identities", json={"name": "Grace"}, headers=KEY)
    assert is_problem(as_json, 422, "key-used-before")


def test_interrupted_upload_is_not_executed_and_does_not_use_up_its_key(
    client: httpx.Client, hopper: Path
) -> None:
    request = client.build_request(
        "POST",
        "/v1/identities/1/merge",
        headers=KEY,
        json={"others": [2]},
    )
    body = request.read()
    enrol(client, "Grace", hopper)
    head = f"POST {request.url.path} HTTP/1.1\r\nhost: 127.0.0.1\r\nidempotency-key: once\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body) + 9}\r\n\r\n"
    with socket.create_connection(address(client)) as half:
        half.sendall(head.encode() + body)  # valid JSON, but nine bytes short
        time.sleep(0.3)
    time.sleep(0.3)
    whole = client.send(request)
    assert "idempotency-replayed" not in whole.headers
    assert is_problem(whole, 404, "identity-not-found")


def test_write_that_outlived_its_request_is_not_started_again(
    serve: Serve, tmp_path: Path, hopper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resume, calls = threading.Event(), []
    real = Gallery.enroll

    def slow(self: Gallery, *args: object, **options: object) -> Enrolment:
        calls.append(args)
        assert resume.wait(30)
        return real(self, *args, **options)

    with serve(tmp_path / "home", api_seconds=1) as client:
        monkeypatch.setattr(Gallery, "enroll", slow)
        late = enrol(client, "Grace", hopper, headers=KEY)
        assert is_problem(late, 503, "service-unavailable") and "may still finish" in late.text
        assert is_problem(enrol(client, "Grace", hopper, headers=KEY), 409, "still-working")
        assert len(calls) == 1
        resume.set()
        wait_until(lambda: enrol(client, "Grace", hopper, headers=KEY).status_code != 409)
        response = enrol(client, "Grace", hopper, headers=KEY)
        assert response.json()["enrolments"][0]["outcome"] == "already"


def test_outcomes_so_far_are_returned_at_the_deadline(
    serve: Serve, tmp_path: Path, hopper: Path, collins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Gallery.enroll, []

    def slow(self: Gallery, *args: object, **options: object) -> Enrolment:
        calls.append(args)
        enrolment = real(self, *args, **options)
        time.sleep(0 if len(calls) == 1 else 2)
        return enrolment

    with serve(tmp_path / "home", api_seconds=1.5, workers=1) as client:
        enrol(client, "Eileen", collins)  # the first photo of a process is slow
        monkeypatch.setattr(Gallery, "enroll", slow)
        response = enrol(client, "Grace", hopper, hopper, hopper, headers=KEY)
        assert response.status_code == 201
        enrolments = response.json()["enrolments"]
        assert [e["outcome"] for e in enrolments] == ["enrolled", "error", "error"]
        assert "may still finish" in enrolments[1]["reason"]
        assert "timed out in the queue" in enrolments[2]["reason"]
        time.sleep(2.5)
        assert len(calls) == 2  # the third photo was not started afterwards
        monkeypatch.undo()
        retry = enrol(client, "Grace", hopper, hopper, hopper, headers=KEY).json()["enrolments"]
        assert [e["outcome"] for e in retry] == ["already"] * 3


def test_answers_are_dropped_when_any_process_erases_an_identity(
    client: httpx.Client, tmp_path: Path, hopper: Path, collins: Path
) -> None:
    assert enrol(client, "Grace", hopper, headers=KEY).status_code == 201
    client.delete("/v1/identities/99")
    assert enrol(client, "Grace", hopper, headers=KEY).headers["idempotency-replayed"] == "true"
    with Gallery.open(tmp_path / "home") as other:
        other.forget("Grace")
    assert (
        enrol(client, "Grace", hopper, headers=KEY).json()["enrolments"][0]["identity"]["id"] == 2
    )


def test_retried_erasure_gets_the_same_receipt(client: httpx.Client, hopper: Path) -> None:
    enrol(client, "Grace", hopper)
    first, again = (client.delete("/v1/identities/1", headers=KEY) for _ in range(2))
    assert again.json() == first.json() and first.json()["identity_id"] == 1
    assert again.headers["idempotency-replayed"] == "true"


def test_client_that_disconnects_is_logged_as_499(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = io.StringIO()
    monkeypatch.setattr(app, "json_log", lambda: json_log(log))
    with serve(tmp_path / "home") as client:
        with socket.create_connection(address(client)) as half:
            half.sendall(
                b"POST /v1/query HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: image/jpeg\r\n"
                b"content-length: 1000\r\n\r\nxxx"
            )
            time.sleep(0.3)
        wait_until(lambda: "/v1/query" in log.getvalue())
    assert '"status": 499' in log.getvalue() and "exception" not in log.getvalue()
